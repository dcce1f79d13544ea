//! Frame headers: opcodes, lengths, mask keys (RFC 6455 §5.2).

use super::error::ProtocolError;

/// Longest frame header: two bytes, eight of extended length, four of mask key.
pub const MAX_HEADER: usize = 14;
/// Longest payload of a control frame (§5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const LENGTH_U16: u8 = 126;
const LENGTH_U64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Continues the message begun before.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Closes the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or is sent unasked as a sign of life.
    Pong,
}

impl Opcode {
    fn parse(nibble: u8) -> Result<Self, ProtocolError> {
        match nibble {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xA => Ok(Self::Pong),
            unknown => Err(ProtocolError::UnknownOpcode(unknown)),
        }
    }

    fn to_wire(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// True for close, ping and pong.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Last frame of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key its payload is masked with, if it is.
    pub mask: Option<[u8; 4]>,
    /// Payload length in bytes.
    pub length: u64,
}

impl FrameHeader {
    /// Parses the header at the start of `bytes`; gives it with its own length, or `None` when bytes are missing.
    ///
    /// Checks what every frame must satisfy: reserved bits, opcode, shortest length form, control frames whole and
    /// short. An error is reported as soon as the bytes that prove it are there.
    ///
    /// # Errors
    /// [`ProtocolError`] for a header that no peer may send.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::parse(first & OPCODE)?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let short = second & LENGTH;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlTooLong);
        }
        let Some((length, rest)) = parse_length(short, rest)? else { return Ok(None) };
        let (mask, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        };
        Ok(Some((Self { fin, opcode, mask, length }, bytes.len() - rest.len())))
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> HeaderBytes {
        let mut out = HeaderBytes { bytes: [0; MAX_HEADER], length: 0 };
        out.push(&[if self.fin { FIN } else { 0 } | self.opcode.to_wire()]);
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(short), _) if short < LENGTH_U16 => out.push(&[masked | short]),
            (_, Ok(length)) => {
                out.push(&[masked | LENGTH_U16]);
                out.push(&length.to_be_bytes());
            }
            _ => {
                out.push(&[masked | LENGTH_U64]);
                out.push(&self.length.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            out.push(&key);
        }
        out
    }
}

fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (length, shortest, rest) = match short {
        LENGTH_U16 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), u64::from(LENGTH_U16), rest)
        }
        LENGTH_U64 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), u64::from(u16::MAX) + 1, rest)
        }
        length => (u64::from(length), 0, rest),
    };
    // §5.2: the top bit must be clear, and the minimal number of bytes must be used.
    if length < shortest || length > u64::MAX >> 1 {
        return Err(ProtocolError::MalformedLength);
    }
    Ok(Some((length, rest)))
}

/// An encoded frame header, 2 to [`MAX_HEADER`] bytes; dereferences to them.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl HeaderBytes {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }
}

impl std::ops::Deref for HeaderBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_headers_are_refused_as_soon_as_they_show() {
        let cases: &[(&[u8], ProtocolError)] = &[
            (&[0xC2], ProtocolError::ReservedBits),
            (&[0xA2], ProtocolError::ReservedBits),
            (&[0x92], ProtocolError::ReservedBits),
            (&[0x83], ProtocolError::UnknownOpcode(0x3)),
            (&[0x87], ProtocolError::UnknownOpcode(0x7)),
            (&[0x8B], ProtocolError::UnknownOpcode(0xB)),
            (&[0x8F], ProtocolError::UnknownOpcode(0xF)),
            (&[0x08], ProtocolError::FragmentedControl),
            (&[0x09], ProtocolError::FragmentedControl),
            (&[0x0A], ProtocolError::FragmentedControl),
            (&[0x88, 0xFE], ProtocolError::ControlTooLong),
            (&[0x89, 0xFF], ProtocolError::ControlTooLong),
            (&[0x82, 0x7E, 0x00, 0x7D], ProtocolError::MalformedLength),
            (&[0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], ProtocolError::MalformedLength),
            (&[0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], ProtocolError::MalformedLength),
            (&[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], ProtocolError::MalformedLength),
        ];
        for (bytes, expected) in cases {
            assert_eq!(FrameHeader::parse(bytes), Err(*expected), "{bytes:02X?}");
            assert_eq!(FrameHeader::parse(&bytes[..bytes.len() - 1]), Ok(None), "{bytes:02X?}");
        }
    }

    fn headers() -> impl Strategy<Value = FrameHeader> {
        let data = (
            any::<bool>(),
            prop_oneof![Just(Opcode::Continuation), Just(Opcode::Text), Just(Opcode::Binary)],
            any::<Option<[u8; 4]>>(),
            prop_oneof![0..200u64, 65_000..66_000u64, 0..=u64::MAX >> 1],
        );
        let control = (
            Just(true),
            prop_oneof![Just(Opcode::Close), Just(Opcode::Ping), Just(Opcode::Pong)],
            any::<Option<[u8; 4]>>(),
            0..=125u64,
        );
        prop_oneof![data, control].prop_map(|(fin, opcode, mask, length)| FrameHeader {
            fin,
            opcode,
            mask,
            length,
        })
    }

    proptest! {
        #[test]
        fn headers_survive_the_wire_and_every_prefix_is_incomplete(header in headers(), tail: Vec<u8>) {
            let encoded = header.encode();
            for end in 0..encoded.len() {
                prop_assert_eq!(FrameHeader::parse(&encoded[..end]), Ok(None));
            }
            let wire = [&encoded[..], &tail[..]].concat();
            prop_assert_eq!(FrameHeader::parse(&wire), Ok(Some((header, encoded.len()))));
        }

        #[test]
        fn whatever_parses_is_in_its_only_form(bytes: [u8; MAX_HEADER]) {
            if let Ok(Some((header, length))) = FrameHeader::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..length]);
            }
        }
    }
}
