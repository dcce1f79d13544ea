//! Exact-topic routing from connection to connection.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::engine::{Handler, LinkId, Outboxes};
use crate::mqtt::wire::{self, Frame, Version, WireError, kind};

/// Who listens to what.
#[derive(Debug, Default)]
pub(super) struct Router {
    topics: HashMap<Box<[u8]>, Vec<Subscriber>, BuildHasherDefault<Fnv>>,
    links: Vec<Link>,
}

#[derive(Debug, Clone, Copy)]
struct Subscriber {
    link: LinkId,
    qos: u8,
}

#[derive(Debug, Default)]
struct Link {
    next_packet_id: u16,
}

impl Router {
    fn packet(&mut self, link: LinkId, frame: &Frame<'_>, out: &mut Outboxes) -> Result<(), WireError> {
        match frame.kind() {
            kind::PUBLISH => return self.publish(link, frame, out),
            kind::PUBREC => answer(out, link, kind::PUBREL, frame)?,
            kind::PUBREL => answer(out, link, kind::PUBCOMP, frame)?,
            kind::PUBACK | kind::PUBCOMP | kind::DISCONNECT => {}
            kind::CONNECT => out.buffer(link).extend_from_slice(&[0x20, 2, 0, 0]),
            kind::PINGREQ => out.buffer(link).extend_from_slice(&[0xD0, 0]),
            kind::SUBSCRIBE => return self.subscribe(link, frame, out),
            other => return Err(WireError::Unexpected(other)),
        }
        Ok(())
    }

    #[inline]
    fn publish(&mut self, link: LinkId, frame: &Frame<'_>, out: &mut Outboxes) -> Result<(), WireError> {
        let publish = wire::publish(frame, Version::V311)?;
        match publish.qos {
            0 => {}
            1 => out.buffer(link).extend_from_slice(&wire::acknowledge(kind::PUBACK, publish.packet_id)),
            _ => out.buffer(link).extend_from_slice(&wire::acknowledge(kind::PUBREC, publish.packet_id)),
        }
        let Some(subscribers) = self.topics.get(publish.topic) else { return Ok(()) };
        for subscriber in subscribers {
            let qos = subscriber.qos.min(publish.qos);
            let buffer = out.buffer(subscriber.link);
            let id_len = if qos > 0 { 2 } else { 0 };
            let length = 2 + publish.topic.len() + id_len + publish.payload.len();
            wire::header(buffer, kind::PUBLISH << 4 | qos << 1, length);
            buffer.extend_from_slice(&frame.body[..2 + publish.topic.len()]);
            if qos > 0 {
                let id = &mut self.links[subscriber.link.index()].next_packet_id;
                *id = id.checked_add(1).unwrap_or(1);
                buffer.extend_from_slice(&id.to_be_bytes());
            }
            buffer.extend_from_slice(publish.payload);
        }
        Ok(())
    }

    fn subscribe(&mut self, link: LinkId, frame: &Frame<'_>, out: &mut Outboxes) -> Result<(), WireError> {
        let short = WireError::Truncated(kind::SUBSCRIBE);
        let Some((id, mut rest)) = frame.body.split_first_chunk::<2>() else { return Err(short) };
        let mut suback = id.to_vec();
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let (Some(topic), Some(&qos)) = (after.get(..len), after.get(len)) else { return Err(short) };
            self.topics.entry(topic.into()).or_default().push(Subscriber { link, qos: qos & 3 });
            suback.push(qos & 3);
            rest = &after[len + 1..];
        }
        out.buffer(link).extend_from_slice(&wire::packet(kind::SUBACK << 4, &suback));
        Ok(())
    }
}

impl Handler for Router {
    fn opened(&mut self, link: LinkId, _out: &mut Outboxes) {
        self.links.resize_with(link.index() + 1, Link::default);
    }

    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String> {
        let mut at = 0;
        while let Some(frame) = wire::frame(&bytes[at..]).map_err(|error| error.to_string())? {
            self.packet(link, &frame, out).map_err(|error| error.to_string())?;
            at += frame.total;
        }
        Ok(at)
    }

    fn closed(&mut self, link: LinkId, _reason: &str, _out: &mut Outboxes) {
        for subscribers in self.topics.values_mut() {
            subscribers.retain(|subscriber| subscriber.link != link);
        }
    }

    fn turn_end(&mut self, _out: &mut Outboxes) {}
}

#[inline]
fn answer(out: &mut Outboxes, link: LinkId, kind: u8, frame: &Frame<'_>) -> Result<(), WireError> {
    out.buffer(link).extend_from_slice(&wire::acknowledge(kind, frame.packet_id()?));
    Ok(())
}

/// FNV-1a: fast on short topics; its weakness against chosen keys does not matter here.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
