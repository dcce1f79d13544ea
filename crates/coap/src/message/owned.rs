//! Messages of one's own.

use alloc::vec::Vec;

use super::{Kind, Message, Token, Writer};
use crate::code::Code;
use crate::option::{Number, OptionBuf};

/// A message that owns what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedMessage {
    /// Method, response code or signal.
    pub code: Code,
    /// The token.
    pub token: Token,
    /// The options, always in order.
    pub options: OptionBuf,
    /// The payload; empty for none.
    pub payload: Vec<u8>,
}

impl OwnedMessage {
    /// A message with nothing but a code.
    pub fn new(code: Code) -> Self {
        Self { code, token: Token::empty(), options: OptionBuf::new(), payload: Vec::new() }
    }

    /// A copy of a message.
    pub fn from_message(message: &Message<'_>) -> Self {
        Self {
            code: message.code,
            token: Token::of_message(message.token),
            options: OptionBuf::from_options(message.options),
            payload: message.payload.to_vec(),
        }
    }

    /// A view of it.
    pub fn as_message(&self) -> Message<'_> {
        Message {
            code: self.code,
            token: self.token.as_bytes(),
            options: self.options.as_options(),
            payload: &self.payload,
        }
    }

    /// Adds an option, after those of the same number.
    pub fn add(&mut self, number: Number, value: &[u8]) -> &mut Self {
        self.options.add(number, value);
        self
    }

    /// Puts one option in the place of all of its number.
    pub fn set(&mut self, number: Number, value: &[u8]) -> &mut Self {
        self.options.set(number, value);
        self
    }

    /// Puts one option, whose value is an integer, in the place of all of its number.
    pub fn set_uint(&mut self, number: Number, value: u32) -> &mut Self {
        self.options.set_uint(number, value);
        self
    }

    /// Removes all options of a number.
    pub fn remove(&mut self, number: Number) -> &mut Self {
        self.options.remove(number);
        self
    }

    /// Appends the message as a datagram.
    pub fn encode_datagram(&self, kind: Kind, id: u16, out: &mut Vec<u8>) {
        self.write_to(Writer::datagram(out, kind, id, self.code, self.token.as_bytes()));
    }

    /// Appends the message as a frame of a TCP or TLS connection.
    pub fn encode_stream(&self, out: &mut Vec<u8>) {
        self.write_to(Writer::stream(out, self.code, self.token.as_bytes()));
    }

    /// Appends the message as the payload of a WebSocket message.
    pub fn encode_websocket(&self, out: &mut Vec<u8>) {
        self.write_to(Writer::websocket(out, self.code, self.token.as_bytes()));
    }

    fn write_to(&self, mut writer: Writer<'_>) {
        writer.options(self.options.as_options()).payload(&self.payload);
    }
}
