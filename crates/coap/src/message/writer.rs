//! Writing a message in one pass, without allocation when the buffer has room.

use alloc::vec::Vec;

use super::Kind;
use crate::code::Code;
use crate::option::wire::{self, EXTENDED_MAX, PAYLOAD_MARKER};
use crate::option::{Number, Options};
use crate::stream::framing;

/// Appends one message to a buffer.
///
/// Options have to be written in ascending order of their numbers, and before the payload; breaking that is the
/// caller's mistake, caught in debug builds; what came out of order is left out otherwise.
/// [`OptionBuf`](crate::option::OptionBuf) sorts where the order is not known. The message is complete when the writer
/// is dropped.
///
/// ```
/// use tercet_coap::{Code, Kind, Writer, option::Number};
///
/// let mut bytes = Vec::new();
/// Writer::datagram(&mut bytes, Kind::Confirmable, 0x7D34, Code::GET, b"t").option(Number::URI_PATH, b"temperature");
/// assert_eq!(bytes, b"\x41\x01\x7D\x34t\xBBtemperature");
/// ```
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    /// Number of the last option.
    last: u16,
    has_payload: bool,
    /// Where the frame begins on a stream, whose length is only known in the end.
    frame: Option<usize>,
}

impl<'b> Writer<'b> {
    /// Begins a datagram (RFC 7252 §3). Of a token above 65,804 bytes only that much is written.
    #[inline]
    pub fn datagram(out: &'b mut Vec<u8>, kind: Kind, id: u16, code: Code, token: &[u8]) -> Self {
        let (nibble, extension, used) = wire::nibble(token.len());
        let [high, low] = id.to_be_bytes();
        out.extend_from_slice(&[0x40 | kind.bits() << 4 | nibble, code.0, high, low]);
        Self::with_token(out, &extension, used, token)
    }

    /// Begins a frame of a TCP or TLS connection (RFC 8323 §3.2).
    pub fn stream(out: &'b mut Vec<u8>, code: Code, token: &[u8]) -> Self {
        let frame = out.len();
        let mut writer = Self::websocket(out, code, token);
        writer.frame = Some(frame);
        writer
    }

    /// Begins the payload of a WebSocket message, whose length the WebSocket tells (RFC 8323 §4.2).
    pub fn websocket(out: &'b mut Vec<u8>, code: Code, token: &[u8]) -> Self {
        let (nibble, extension, used) = wire::nibble(token.len());
        out.extend_from_slice(&[nibble, code.0]);
        Self::with_token(out, &extension, used, token)
    }

    #[inline]
    fn with_token(out: &'b mut Vec<u8>, extension: &[u8; 2], used: usize, token: &[u8]) -> Self {
        debug_assert!(token.len() <= EXTENDED_MAX, "a token that no message can carry");
        out.extend_from_slice(extension.get(..used).unwrap_or_default());
        out.extend_from_slice(token.get(..EXTENDED_MAX).unwrap_or(token));
        Self { out, last: 0, has_payload: false, frame: None }
    }

    /// Writes an option.
    #[inline]
    pub fn option(&mut self, number: Number, value: &[u8]) -> &mut Self {
        let in_order = number.0 >= self.last && !self.has_payload;
        debug_assert!(in_order, "{number} after option {} or the payload", self.last);
        if in_order {
            wire::push_option(self.out, number.0 - self.last, value);
            self.last = number.0;
        }
        self
    }

    /// Writes an option whose value is an integer, in as few bytes as it needs.
    #[inline]
    pub fn uint(&mut self, number: Number, value: u32) -> &mut Self {
        let (bytes, from) = wire::uint_bytes(value);
        self.option(number, bytes.get(from..).unwrap_or_default())
    }

    /// Writes an option whose value is text.
    #[inline]
    pub fn text(&mut self, number: Number, value: &str) -> &mut Self {
        self.option(number, value.as_bytes())
    }

    /// Writes options of another message.
    pub fn options(&mut self, options: Options<'_>) -> &mut Self {
        if self.last == 0 && !self.has_payload {
            self.out.extend_from_slice(options.as_bytes());
            self.last = options.iter().last().map_or(0, |(number, _)| number.0);
        } else {
            for (number, value) in options {
                self.option(number, value);
            }
        }
        self
    }

    /// Writes the payload; nothing when it is empty. More payload appends.
    #[inline]
    pub fn payload(&mut self, payload: &[u8]) -> &mut Self {
        if !payload.is_empty() {
            if !self.has_payload {
                self.out.push(PAYLOAD_MARKER);
                self.has_payload = true;
            }
            self.out.extend_from_slice(payload);
        }
        self
    }

    /// Ends the message. Dropping the writer does the same.
    pub fn finish(self) {}
}

impl Drop for Writer<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(frame) = self.frame {
            framing::patch_length(self.out, frame);
        }
    }
}
