//! A PUBLISH encoded once; each message costs a copy and a few patched bytes.

use super::wire::{self, Qos, Version, kind};
use crate::engine::{MIN_PAYLOAD, Stamp};

/// A ready-made PUBLISH packet.
#[derive(Debug, Clone)]
pub struct PublishTemplate {
    bytes: Vec<u8>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl PublishTemplate {
    /// Encodes a PUBLISH to `topic` with `size` bytes of payload (at least [`MIN_PAYLOAD`]).
    pub fn new(version: Version, topic: &str, qos: Qos, retain: bool, size: usize) -> Self {
        let size = size.max(MIN_PAYLOAD);
        let mut body = Vec::with_capacity(topic.len() + size + 5);
        wire::string(&mut body, topic.as_bytes());
        let id_in_body = (qos != Qos::AtMostOnce).then_some(body.len());
        if id_in_body.is_some() {
            body.extend_from_slice(&[0, 0]);
        }
        if version == Version::V5 {
            body.push(0);
        }
        body.resize(body.len() + size, b'.');
        let bytes = wire::packet(kind::PUBLISH << 4 | (qos as u8) << 1 | u8::from(retain), &body);
        let header = bytes.len() - body.len();
        PublishTemplate {
            packet_id_at: id_in_body.map(|at| at + header),
            payload_at: bytes.len() - size,
            bytes,
        }
    }

    /// Appends one message to `out`.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, packet_id: u16, stamp: &Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[start..];
        if let Some(at) = self.packet_id_at {
            packet[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        stamp.write(&mut packet[self.payload_at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_message_parses_as_what_was_meant() {
        let stamp = Stamp { run: 1, stream: 2, seq: 3, sent_at: 4 };
        for version in [Version::V311, Version::V5] {
            for (qos, retain) in
                [(Qos::AtMostOnce, false), (Qos::AtLeastOnce, true), (Qos::ExactlyOnce, false)]
            {
                for size in [1, 64, 16_384] {
                    let template = PublishTemplate::new(version, "a/b", qos, retain, size);
                    let mut out = b"before".to_vec();
                    template.write(&mut out, 77, &stamp);
                    let frame = wire::frame(&out[6..]).unwrap().unwrap();
                    assert_eq!(frame.total, out.len() - 6);
                    assert_eq!(frame.first & 1, u8::from(retain));
                    let publish = wire::publish(&frame, version).unwrap();
                    assert_eq!((publish.topic, publish.qos), (&b"a/b"[..], qos as u8));
                    assert_eq!(publish.packet_id, if qos == Qos::AtMostOnce { 0 } else { 77 });
                    assert_eq!(publish.payload.len(), size.max(MIN_PAYLOAD));
                    assert_eq!(Stamp::read(publish.payload), Some(stamp));
                }
            }
        }
    }
}
