//! Reading frames of a TCP or TLS connection and messages of a WebSocket.

use thiserror::Error;

use super::framing;
use crate::code::{Code, CodeKind};
use crate::datagram::decode_message;
use crate::limits::Limits;
use crate::message::{FormatError, Message};
use crate::option::wire;

/// Why a connection cannot go on. It is answered with an Abort and the text as its diagnostic payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The frame is larger than what was announced as acceptable.
    #[error("message larger than Max-Message-Size")]
    TooLarge,
    /// The frame is not a message.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Reads the frame at the front of `bytes`: the message, and how many bytes it took. `Ok(None)` while it is incomplete;
/// one that will be too large is an error as soon as its length is known.
///
/// An Empty message is to be ignored by who receives it (RFC 8323 §3.4).
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<(Message<'a>, usize)>, Error> {
    let Some((length, extension)) = framing::read_length(bytes) else { return Ok(None) };
    let token_length = bytes.first().map_or(0, |first| first & 0x0F);
    if !wire::is_token_length(token_length, limits) {
        return Err(FormatError::TokenLength.into());
    }
    // First byte, extension and code; what follows is the token, options and payload.
    let header = 2 + extension;
    if length > limits.message as u64 {
        return Err(Error::TooLarge);
    }
    let Some(after_code) = bytes.get(header..) else { return Ok(None) };
    let Some((token, after)) = wire::extended(token_length, after_code) else { return Ok(None) };
    let body = token as usize + after_code.len() - after.len() + length as usize;
    let total = header + body;
    if total > limits.message {
        return Err(Error::TooLarge);
    }
    let (Some(&code), Some(body)) = (bytes.get(header - 1), after_code.get(..body)) else { return Ok(None) };
    Ok(Some((message(code, token_length, body, limits)?, total)))
}

/// Reads the message that is the whole payload of a WebSocket message. Its length nibble has to be 0 (RFC 8323 §4.2).
pub fn decode_websocket<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Message<'a>, Error> {
    if bytes.len() > limits.message {
        return Err(Error::TooLarge);
    }
    let Some((&[first, code], rest)) = bytes.split_first_chunk::<2>() else {
        return Err(FormatError::Truncated.into());
    };
    if first >> 4 != 0 {
        return Err(FormatError::FrameLength.into());
    }
    message(code, first & 0x0F, rest, limits)
}

fn message<'a>(code: u8, token_length: u8, body: &'a [u8], limits: &Limits) -> Result<Message<'a>, Error> {
    // RFC 8323 §3.4: Empty messages can be sent and are ignored; their content does not matter.
    if Code(code).is_empty() {
        return Ok(Message::new(Code::EMPTY));
    }
    let message = decode_message(Code(code), token_length, body, limits)?;
    match message.code.kind() {
        CodeKind::Reserved => Err(FormatError::ReservedCode.into()),
        _ => Ok(message),
    }
}
