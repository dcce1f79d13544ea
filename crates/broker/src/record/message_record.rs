//! The record of a message: what queue entries and retained values refer to.
//!
//! ```text
//! CRC32C of the rest, u32 little endian | vhost | publisher | arrived, UTC ms | flags u8 | encoding u8, with the highest bit if dead-lettered
//! | expires, UTC ms, if flagged | topic | exchange, if flagged | author's client identifier and user, if flagged | properties | payload
//! ```
//! Integers are LEB128; topic, author and properties come behind their length, the payload takes the rest. The
//! checksum is the record's own, as it is read back without the batch around it, and moved without being decoded.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tercet_log::record::{RecordHeader, Records, write_record};

use crate::body::Stored;
use crate::hosts::VhostId;
use crate::message::{Author, Message, Payload, PropertyEncoding, Qos, kept_properties};
use crate::record::fields::{Fields, Malformed, put_bytes, put_number};
use crate::record::{RecordKind, codec};
use crate::session::SessionId;

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 1 << 2;
const SHARED: u8 = 1 << 3;
const AUTHOR: u8 = 1 << 4;
const AUTHOR_USER: u8 = 1 << 5;
const EXPIRES: u8 = 1 << 6;
const EXCHANGE: u8 = 1 << 7;

/// In the byte of the encoding: keys follow that recipients must not see.
const BLIND_COPIES: u8 = 1 << 6;
/// In the byte of the encoding: the broker has dead-lettered the message.
const DEAD_LETTERED: u8 = 1 << 7;

/// Appends a message's record, frame included.
pub fn write(out: &mut Vec<u8>, vhost: VhostId, message: &Message) {
    let kind = RecordKind::Message;
    let header = RecordHeader { kind: kind as u8, version: kind.version(), must_understand: true };
    out.reserve(message.topic.len() + message.payload.len() + message.properties.len() + 64);
    write_record(out, header, |out| {
        let start = out.len();
        out.extend_from_slice(&[0; CHECKSUM]);
        write_fields(out, vhost, message);
        let crc = crc32c::crc32c(out.get(start + CHECKSUM..).unwrap_or_default());
        if let Some(field) = out.get_mut(start..start + CHECKSUM) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
    });
}

fn write_fields(out: &mut Vec<u8>, vhost: VhostId, message: &Message) {
    put_number(out, vhost.0);
    put_number(out, message.publisher.0);
    put_number(out, message.ingress_ms);
    let mut flags = message.qos as u8;
    let user = message.author.as_ref().and_then(|author| author.user.as_ref());
    let set = [
        (RETAIN, message.retain),
        (SHARED, message.shared),
        (AUTHOR, message.author.is_some()),
        (AUTHOR_USER, user.is_some()),
        (EXPIRES, message.expires_at_ms.is_some()),
        (EXCHANGE, message.exchange.is_some()),
    ];
    for (flag, on) in set {
        flags |= if on { flag } else { 0 };
    }
    let died = if message.dead_lettered { DEAD_LETTERED } else { 0 };
    let blind = if message.blind_copies.is_some() { BLIND_COPIES } else { 0 };
    out.extend_from_slice(&[flags, message.encoding as u8 | died | blind]);
    if let Some(at) = message.expires_at_ms {
        put_number(out, at.get());
    }
    put_bytes(out, message.topic.as_bytes());
    if let Some(exchange) = &message.exchange {
        put_bytes(out, exchange.as_bytes());
    }
    if let Some(author) = &message.author {
        put_bytes(out, author.client_id.as_bytes());
        user.iter().for_each(|user| put_bytes(out, user.as_bytes()));
    }
    if let Some(keys) = &message.blind_copies {
        put_bytes(out, keys);
    }
    put_bytes(out, &message.properties);
    out.extend_from_slice(&message.payload);
}

/// The publisher of the message with this record body: all that recovery wants to know of it.
///
/// # Errors
/// The body is malformed. Its checksum is not looked at.
pub(crate) fn publisher(body: &[u8]) -> Result<(VhostId, SessionId), Malformed> {
    let mut fields = Fields::new(body);
    fields.take(CHECKSUM)?;
    Ok((codec::vhost(&mut fields)?, SessionId(codec::count(&mut fields)?)))
}

/// Reads a message from its whole record, frame included, as `stored` names it.
///
/// # Errors
/// The bytes are not the record of a message, or are not as they were written.
pub fn read(bytes: &[u8], stored: &Stored) -> Result<Message, Malformed> {
    let mut message = read_body(body(bytes)?)?;
    message.shared = stored.shared;
    message.stored = Mutex::new(Some(*stored));
    Ok(message)
}

/// The same for one of many that are read from one buffer: a payload of some size stays in it, and what the message has in
/// common with the one before is shared with that.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_shared(record: &Bytes, stored: &Stored, last: &mut Parts) -> Result<Message, Malformed> {
    let payload = |bytes: &[u8]| match bytes.len() <= Payload::INLINE {
        true => Payload::copy_from(bytes),
        false => Payload::Shared(record.slice_ref(bytes)),
    };
    let mut message = parse(body(record)?, last, payload)?;
    message.shared = stored.shared;
    message.stored = Mutex::new(Some(*stored));
    Ok(message)
}

/// What messages of one queue often have in common: the parts of the one that was read last.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    topic: Option<Arc<str>>,
    exchange: Option<Arc<str>>,
    properties: Bytes,
}

impl Parts {
    fn topic(&mut self, topic: &str) -> Arc<str> {
        text(&mut self.topic, topic)
    }

    fn exchange(&mut self, exchange: &str) -> Arc<str> {
        text(&mut self.exchange, exchange)
    }

    fn properties(&mut self, properties: &[u8]) -> Bytes {
        if *self.properties != *properties {
            self.properties = kept_properties(properties);
        }
        self.properties.clone()
    }
}

fn text(last: &mut Option<Arc<str>>, text: &str) -> Arc<str> {
    match last {
        Some(last) if **last == *text => Arc::clone(last),
        _ => Arc::clone(last.insert(Arc::from(text))),
    }
}

/// The body of the record of a message, of which these are the bytes.
fn body(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let record = Records::new(bytes).next().ok_or(Malformed::Truncated)?.map_err(|_| Malformed::Truncated)?;
    if record.header.kind != RecordKind::Message as u8
        || record.header.version != RecordKind::Message.version()
    {
        return Err(Malformed::NoMeaning("the kind"));
    }
    if record.encoded_len() != bytes.len() {
        return Err(Malformed::TrailingBytes);
    }
    Ok(record.body)
}

/// Whether the bytes are the whole record of a message, with the checksum it was written with.
pub(crate) fn is_intact(bytes: &[u8]) -> bool {
    match Records::new(bytes).next() {
        Some(Ok(record)) => {
            record.header.kind == RecordKind::Message as u8
                && record.encoded_len() == bytes.len()
                && checked(record.body).is_ok()
        }
        _ => false,
    }
}

fn checked(body: &[u8]) -> Result<&[u8], Malformed> {
    let (crc, rest) = body.split_first_chunk::<CHECKSUM>().ok_or(Malformed::Truncated)?;
    if crc32c::crc32c(rest) == u32::from_le_bytes(*crc) { Ok(rest) } else { Err(Malformed::Checksum) }
}

/// Reads a message from the body of its record.
///
/// # Errors
/// The body is malformed or its checksum is wrong.
pub fn read_body(body: &[u8]) -> Result<Message, Malformed> {
    parse(body, &mut Parts::default(), Payload::copy_from)
}

fn parse(
    body: &[u8],
    last: &mut Parts,
    payload: impl FnOnce(&[u8]) -> Payload,
) -> Result<Message, Malformed> {
    let mut fields = Fields::new(checked(body)?);
    let _vhost = codec::vhost(&mut fields)?;
    let publisher = SessionId(codec::count(&mut fields)?);
    let ingress_ms = fields.number()?;
    let flags = fields.byte()?;
    let encoded = fields.byte()?;
    let encoding = PropertyEncoding::from_number(encoded & !(DEAD_LETTERED | BLIND_COPIES))
        .ok_or(Malformed::NoMeaning("the encoding"))?;
    let is = |flag: u8| flags & flag != 0;
    let expires_at_ms = match is(EXPIRES) {
        true => Some(NonZeroU64::new(fields.number()?).ok_or(Malformed::NoMeaning("the expiry"))?),
        false => None,
    };
    let topic = last.topic(fields.text()?);
    let exchange = if is(EXCHANGE) { Some(last.exchange(fields.text()?)) } else { None };
    let author = match is(AUTHOR) {
        true => {
            let client_id = Arc::from(fields.text()?);
            let user = if is(AUTHOR_USER) { Some(Arc::from(fields.text()?)) } else { None };
            Some(Arc::new(Author { user, client_id }))
        }
        false => None,
    };
    let blind_copies = if encoded & BLIND_COPIES != 0 { Some(Arc::from(fields.bytes()?)) } else { None };
    let properties = last.properties(fields.bytes()?);
    Ok(Message {
        topic,
        exchange,
        payload: payload(fields.rest()),
        properties,
        encoding,
        qos: Qos::from_number(flags & QOS).ok_or(Malformed::NoMeaning("the QoS"))?,
        retain: is(RETAIN),
        publisher,
        author,
        ingress_ms,
        expires_at_ms,
        dead_lettered: encoded & DEAD_LETTERED != 0,
        blind_copies,
        shared: is(SHARED),
        stored: Mutex::new(None),
    })
}
