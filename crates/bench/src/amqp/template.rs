//! A message's three frames, encoded once and patched for each message.

use super::wire::{self, FRAME_MAX, kind, method};
use crate::engine::{MIN_PAYLOAD, Stamp};

/// A whole basic.publish: method, content header and body in one frame each.
#[derive(Debug, Clone)]
pub struct PublishTemplate {
    bytes: Vec<u8>,
    body_at: usize,
    body_end: usize,
}

/// The largest body that fits one frame, in bytes.
const MAX_BODY: usize = FRAME_MAX as usize - 8;

impl PublishTemplate {
    /// Encodes a message of `size` bytes to `exchange` with routing key `key`.
    ///
    /// The body has at least [`MIN_PAYLOAD`] bytes, and at most what one frame holds (131,064). A message has
    /// no properties, but for the delivery mode of a persistent one.
    pub fn new(channel: u16, exchange: &str, key: &str, persistent: bool, size: usize) -> Self {
        let size = size.clamp(MIN_PAYLOAD, MAX_BODY);
        let mut bytes = Vec::with_capacity(size + exchange.len() + key.len() + 64);
        let begin = |bytes: &mut Vec<u8>, kind: u8| {
            let start = bytes.len();
            bytes.push(kind);
            bytes.extend_from_slice(&channel.to_be_bytes());
            bytes.extend_from_slice(&[0; 4]);
            start
        };
        let start = begin(&mut bytes, kind::METHOD);
        bytes.extend_from_slice(&method::BASIC_PUBLISH.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        wire::short_string(&mut bytes, exchange);
        wire::short_string(&mut bytes, key);
        bytes.push(0);
        wire::end_frame(&mut bytes, start);

        let start = begin(&mut bytes, kind::HEADER);
        bytes.extend_from_slice(&wire::BASIC.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&(size as u64).to_be_bytes());
        if persistent {
            bytes.extend_from_slice(&wire::FLAG_DELIVERY_MODE.to_be_bytes());
            bytes.push(2);
        } else {
            bytes.extend_from_slice(&[0, 0]);
        }
        wire::end_frame(&mut bytes, start);

        let start = begin(&mut bytes, kind::BODY);
        let body_at = bytes.len();
        let body_end = body_at + size;
        bytes.resize(body_end, b'.');
        wire::end_frame(&mut bytes, start);
        PublishTemplate { bytes, body_at, body_end }
    }

    /// Appends one message to `out`.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, stamp: &Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        stamp.write(&mut out[start + self.body_at..start + self.body_end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::wire::Fields;

    #[test]
    fn a_written_message_parses_as_what_was_meant() {
        let stamp = Stamp { run: 1, stream: 2, seq: 3, sent_at: 4 };
        for (persistent, properties) in [(false, &b"\0\0"[..]), (true, &b"\x10\0\x02"[..])] {
            for size in [1, 16, 64, 16_384, usize::MAX] {
                let template = PublishTemplate::new(5, "ex", "a.b", persistent, size);
                let mut out = b"before".to_vec();
                template.write(&mut out, &stamp);
                let mut rest = &out[6..];
                let mut next = || {
                    let frame = wire::frame(rest).unwrap().unwrap();
                    rest = &rest[frame.total..];
                    frame
                };
                let (publish, header, body) = (next(), next(), next());
                assert!(rest.is_empty());
                assert_eq!([publish.kind, header.kind, body.kind], [kind::METHOD, kind::HEADER, kind::BODY]);
                assert_eq!([publish.channel, header.channel, body.channel], [5; 3]);
                assert_eq!(publish.payload, b"\0\x3c\0\x28\0\0\x02ex\x03a.b\0");
                let size = size.clamp(MIN_PAYLOAD, MAX_BODY);
                assert_eq!(wire::body_size(Fields(header.payload)), Ok(size as u64));
                assert_eq!(&header.payload[12..], properties);
                assert_eq!((body.payload.len(), Stamp::read(body.payload)), (size, Some(stamp)));
            }
        }
    }
}
