//! The ClientHello (RFC 6347 §4.2.1), as far as the cookie needs it.

use super::record::{ContentType, Handshake, Record, write_clear, write_handshake};

/// The suite of pre-shared keys, `TLS_PSK_WITH_AES_128_CCM_8` (RFC 6655).
const PSK_AES128_CCM_8: [u8; 2] = [0xc0, 0xa8];
/// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, `..._AES_256_GCM_SHA384` and `..._CHACHA20_POLY1305_SHA256`.
const ECDHE_ECDSA: [[u8; 2]; 3] = [[0xc0, 0x2b], [0xc0, 0x2c], [0xcc, 0xa9]];
/// A client that was sent back with a cookie more often than this does not get further.
const MOST_ROUNDS: u16 = 3;

/// How client and server are to prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    PreSharedKey,
    Certificate,
}

/// A ClientHello that fills one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientHello<'a> {
    /// Sequence number of its record.
    pub(super) record_sequence: [u8; 6],
    /// Sequence number of the message: how often the client was sent back with a cookie.
    pub(super) message_sequence: u16,
    /// Version, random and session id.
    before_cookie: &'a [u8],
    pub(super) random: &'a [u8; 32],
    pub(super) cookie: &'a [u8],
    /// Suites, compression methods and extensions.
    after_cookie: &'a [u8],
    suites: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Whether a datagram begins with a ClientHello, or with a piece of one.
    pub(super) fn begins(datagram: &[u8]) -> bool {
        Record::split(datagram)
            .and_then(|(record, _)| record.handshakes().next())
            .is_some_and(|handshake| handshake.kind == Handshake::CLIENT_HELLO)
    }

    /// Reads a datagram that is one whole ClientHello; `None` for everything else.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (record, []) = Record::split(datagram)? else { return None };
        if record.content_type != ContentType::Handshake || record.epoch != 0 {
            return None;
        }
        let mut handshakes = record.handshakes();
        let hello = handshakes.next()?;
        let whole = hello.offset == 0 && hello.body.len() == hello.length;
        if hello.kind != Handshake::CLIENT_HELLO
            || !whole
            || hello.sequence > MOST_ROUNDS
            || handshakes.next().is_some()
        {
            return None;
        }
        let (_version, rest) = hello.body.split_first_chunk::<2>()?;
        let (random, rest) = rest.split_first_chunk::<32>()?;
        let (session_id, rest) = vector(rest)?;
        if session_id.len() > 32 {
            return None;
        }
        let before_cookie = hello.body.get(..hello.body.len() - rest.len())?;
        let (cookie, after_cookie) = vector(rest)?;
        let (length, rest) = after_cookie.split_first_chunk::<2>()?;
        let suites = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        Some(Self {
            record_sequence: record.sequence,
            message_sequence: hello.sequence,
            before_cookie,
            random,
            cookie,
            after_cookie,
            suites,
        })
    }

    /// What the cookie is bound to besides the address: version, random, session id, suites. (Extensions follow the
    /// suites; clients may pad them anew.)
    pub(super) fn parameters(&self) -> [&'a [u8]; 2] {
        [self.before_cookie, self.suites]
    }

    /// The proof of the first suite in the client's order that `accepts` says yes to.
    pub(super) fn proof(&self, accepts: impl Fn(Proof) -> bool) -> Option<Proof> {
        self.suites.chunks_exact(2).find_map(|suite| {
            let proof = match suite {
                _ if suite == PSK_AES128_CCM_8 => Proof::PreSharedKey,
                _ if ECDHE_ECDSA.iter().any(|known| known == suite) => Proof::Certificate,
                _ => return None,
            };
            accepts(proof).then_some(proof)
        })
    }

    /// The same ClientHello as it was before the cookie was known, as message number `sequence`.
    pub(super) fn without_cookie(&self, sequence: u16) -> Vec<u8> {
        let mut message = Vec::new();
        let parts = [self.before_cookie, &[0], self.after_cookie];
        write_handshake(&mut message, Handshake::CLIENT_HELLO, sequence, &parts);
        let mut record = Vec::with_capacity(message.len() + 13);
        let number = sequence.to_be_bytes();
        write_clear(&mut record, 22, 0xfefd, [0, 0, 0, 0, number[0], number[1]], &message);
        record
    }
}

/// A run of bytes with a length of one byte before it.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}
