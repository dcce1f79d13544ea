//! Datagrams: the format of RFC 7252 §3, as UDP and DTLS carry it.

use crate::code::CodeKind;
use crate::limits::Limits;
use crate::message::{Datagram, FormatError, Kind, Malformed, Message};
use crate::option::{Options, wire};

/// Size of the header.
const HEADER: usize = 4;

/// Reads a datagram. Allocates nothing; what comes out has been checked completely, and [`Malformed::reaction`] tells
/// how to answer what does not.
///
/// An Empty Confirmable message, a ping, is well-formed (RFC 7252 §4.3); who receives it answers with a Reset.
#[inline]
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Datagram<'a>, Malformed> {
    let silence = |what| Malformed { kind: None, id: None, what };
    let Some((&[first, code, high, low], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(silence(FormatError::Truncated));
    };
    // RFC 7252 §3: messages of an unknown version are silently ignored.
    if first >> 6 != 1 {
        return Err(silence(FormatError::Version));
    }
    let kind = Kind::from_bits(first >> 4);
    let id = u16::from_be_bytes([high, low]);
    let token_length = first & 0x0F;
    // RFC 7252 §3, even where extended tokens are read: see `Limits::token`.
    if matches!(token_length, 9..=12) {
        return Err(Malformed { kind: Some(kind), id: Some(id), what: FormatError::TokenLength });
    }
    match decode_message(crate::Code(code), token_length, rest, limits)
        .and_then(|message| checked(kind, message))
    {
        Ok(message) => Ok(Datagram { kind, id, message }),
        Err(what) => Err(Malformed { kind: Some(kind), id: Some(id), what }),
    }
}

/// The message, if its code goes with the kind of the datagram.
#[inline]
fn checked(kind: Kind, message: Message<'_>) -> Result<Message<'_>, FormatError> {
    use {CodeKind as C, Kind as K};
    match (message.code.kind(), kind) {
        (C::Request, K::Confirmable | K::NonConfirmable)
        | (C::Response, K::Confirmable | K::NonConfirmable | K::Acknowledgement)
        | (C::Empty, K::Confirmable | K::Acknowledgement | K::Reset) => Ok(message),
        (C::Reserved | C::Signal, _) => Err(FormatError::ReservedCode),
        _ => Err(FormatError::KindAndCode),
    }
}

/// The message behind the header of a datagram or frame, whose token length has this nibble.
#[inline]
pub(crate) fn decode_message<'a>(
    code: crate::Code,
    token_length: u8,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Message<'a>, FormatError> {
    if code.is_empty() {
        return if token_length == 0 && bytes.is_empty() {
            Ok(Message::new(code))
        } else {
            Err(FormatError::NotEmpty)
        };
    }
    if !wire::is_token_length(token_length, limits) {
        return Err(FormatError::TokenLength);
    }
    let (length, rest) = wire::extended(token_length, bytes).ok_or(FormatError::Truncated)?;
    let (token, rest) = rest.split_at_checked(length as usize).ok_or(FormatError::Truncated)?;
    let (options, payload) = Options::split(rest)?;
    if options.as_bytes().len() > limits.options {
        return Err(FormatError::OptionsTooLong);
    }
    match payload {
        Some([]) => Err(FormatError::EmptyPayload),
        payload => Ok(Message { code, token, options, payload: payload.unwrap_or_default() }),
    }
}
