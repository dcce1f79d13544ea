//! The clear part of records and handshake messages (RFC 6347 §4.1, §4.2.2), as far as datagrams are sorted by it.

/// Length of a record's header.
pub(super) const RECORD_HEADER: usize = 13;
/// Length of a handshake message's header.
pub(super) const HANDSHAKE_HEADER: usize = 12;
/// Handshake messages longer than this are dropped: a certificate of a device is a tenth of it.
const LONGEST_HANDSHAKE: usize = 16 * 1024;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
}

/// The header of a record, and what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) content_type: ContentType,
    pub(super) epoch: u16,
    pub(super) sequence: [u8; 6],
    pub(super) fragment: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the first record of a datagram; gives it and the rest.
    pub(super) fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = datagram.split_first_chunk::<RECORD_HEADER>()?;
        let &[kind, 0xfe, 0xff | 0xfd, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] = header else { return None };
        let content_type = match kind {
            20 => ContentType::ChangeCipherSpec,
            21 => ContentType::Alert,
            22 => ContentType::Handshake,
            23 => ContentType::ApplicationData,
            _ => return None,
        };
        let (fragment, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        let epoch = u16::from_be_bytes([e0, e1]);
        Some((Self { content_type, epoch, sequence: [s0, s1, s2, s3, s4, s5], fragment }, rest))
    }

    /// The handshake messages, or pieces of them, in a record of epoch 0.
    pub(super) fn handshakes(self) -> impl Iterator<Item = Handshake<'a>> {
        let clear = self.epoch == 0 && self.content_type == ContentType::Handshake;
        let mut rest = if clear { self.fragment } else { &[] };
        std::iter::from_fn(move || {
            let (handshake, after) = Handshake::split(rest)?;
            rest = after;
            Some(handshake)
        })
    }
}

/// A handshake message, or a piece of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handshake<'a> {
    pub(super) kind: u8,
    pub(super) length: usize,
    pub(super) sequence: u16,
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
}

impl<'a> Handshake<'a> {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const CERTIFICATE_REQUEST: u8 = 13;

    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<HANDSHAKE_HEADER>()?;
        let &[kind, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = header;
        let (body, rest) = rest.split_at_checked(length_of([f0, f1, f2]))?;
        let handshake = Self {
            kind,
            length: length_of([l0, l1, l2]),
            sequence: u16::from_be_bytes([s0, s1]),
            offset: length_of([o0, o1, o2]),
            body,
        };
        Some((handshake, rest))
    }
}

fn length_of([high, middle, low]: [u8; 3]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

/// Whether a datagram announces a handshake message longer than any we take.
pub(super) fn is_oversized(mut datagram: &[u8]) -> bool {
    while let Some((record, rest)) = Record::split(datagram) {
        if record.handshakes().any(|handshake| handshake.length > LONGEST_HANDSHAKE) {
            return true;
        }
        datagram = rest;
    }
    false
}

/// Whether a datagram holds the first piece of a handshake message of this kind.
pub(super) fn holds(mut datagram: &[u8], kind: u8) -> bool {
    while let Some((record, rest)) = Record::split(datagram) {
        if record.handshakes().any(|handshake| handshake.kind == kind) {
            return true;
        }
        datagram = rest;
    }
    false
}

/// Appends a record of epoch 0.
pub(super) fn write_clear(
    out: &mut Vec<u8>,
    content_type: u8,
    version: u16,
    sequence: [u8; 6],
    fragment: &[u8],
) {
    out.push(content_type);
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&sequence);
    out.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
    out.extend_from_slice(fragment);
}

/// Appends a whole handshake message.
pub(super) fn write_handshake(out: &mut Vec<u8>, kind: u8, sequence: u16, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = &(length as u32).to_be_bytes()[1..];
    out.push(kind);
    out.extend_from_slice(length);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0]);
    out.extend_from_slice(length);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A fatal alert in the clear, for a peer that has no keys yet. Its sequence number is far from those of the
/// handshake, so that it is not taken for a repetition of one of its records.
pub(super) fn clear_alert(description: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_HEADER + 2);
    write_clear(&mut out, 21, 0xfefd, [0, 0, 0, 0, 1, 0], &[2, description]);
    out
}
