//! Methods and messages into frames of the output.

use bytes::Bytes;
use tercet_amqp::content::{BodyFrames, ContentHeader, Properties as WireProperties};
use tercet_amqp::field::Value;
use tercet_amqp::{FRAME_END, Method};
use tercet_broker::consumer::QueueDelivery;
use tercet_broker::message::{Properties, PropertyEncoding, SHARE_ABOVE};

/// Room for the frames of a message besides properties and payload, unless its names are long.
const METHOD_ROOM: usize = 192;

/// A message to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    /// The method in front of it.
    pub(super) method: Method<'a>,
    /// Its properties, in any encoding.
    pub(super) properties: Properties<'a>,
    /// The payload.
    pub(super) payload: &'a [u8],
    /// The same, if it can be shared.
    pub(super) shared: Option<&'a Bytes>,
    /// What the broker adds to the headers.
    pub(super) added: Added,
}

/// Header fields that the broker adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// `x-delivery-count`.
    pub(super) delivery_count: Option<u32>,
    /// `x-stream-offset`.
    pub(super) stream_offset: Option<u64>,
}

impl<'a> Content<'a> {
    /// About how many bytes it takes in the output, what can be shared aside.
    pub(super) fn room(&self) -> usize {
        let payload = if self.is_shared() { 0 } else { self.payload.len() };
        payload + self.properties.bytes.len() + METHOD_ROOM
    }

    fn is_shared(&self) -> bool {
        self.shared.is_some_and(|bytes| bytes.len() > SHARE_ABOVE && bytes.len() == self.payload.len())
    }

    /// A delivery behind `method`.
    pub(super) fn of_delivery(method: impl Into<Method<'a>>, delivery: &QueueDelivery<'a>) -> Self {
        Self {
            method: method.into(),
            properties: delivery.properties,
            payload: delivery.payload,
            shared: delivery.message.and_then(|message| message.payload.shared()),
            added: Added { delivery_count: delivery.delivery_count, stream_offset: delivery.stream_offset },
        }
    }
}

/// Appends a method of ours. It can fail only for strings longer than any that came in.
pub(super) fn put(method: &Method<'_>, channel: u16, out: &mut Vec<u8>) {
    if let Err(error) = method.write(channel, out) {
        tracing::error!(%error, method = method.info().name, "cannot encode an answer");
    }
}

/// Appends a message. A large payload is not copied but noted in `shared` with the offset where it belongs. Returns the bytes
/// that were noted there.
pub(super) fn write(
    channel: u16,
    content: &Content<'_>,
    frame_max: u32,
    out: &mut Vec<u8>,
    shared: &mut Vec<(usize, Bytes)>,
) -> usize {
    // One look at the room for the usual message: method, header and body with their frames.
    out.reserve(content.room());
    put(&content.method, channel, out);
    write_header(channel, content, out);
    let mut noted = 0;
    let large = content.shared.filter(|_| content.is_shared());
    let mut offset = 0;
    for (head, part) in BodyFrames::new(channel, content.payload, frame_max) {
        out.extend_from_slice(&head);
        match large {
            Some(bytes) => {
                shared.push((out.len(), bytes.slice(offset..offset + part.len())));
                noted += part.len();
            }
            None => out.extend_from_slice(part),
        }
        offset += part.len();
        out.push(FRAME_END);
    }
    noted
}

fn write_header(channel: u16, content: &Content<'_>, out: &mut Vec<u8>) {
    let size = content.payload.len() as u64;
    let properties = match content.properties.encoding {
        PropertyEncoding::Amqp => WireProperties::from_bytes(content.properties.bytes).unwrap_or_default(),
        PropertyEncoding::None | PropertyEncoding::Mqtt5 | PropertyEncoding::Coap => {
            WireProperties::default()
        }
    };
    let (mut counted, mut placed) = (Vec::new(), Vec::new());
    let mut properties = properties;
    if let Some(count) = content.added.delivery_count
        && let Ok(more) =
            properties.with_header("x-delivery-count", Some(Value::I64(count.into())), &mut counted)
    {
        properties = more;
    }
    let offset = content.added.stream_offset.map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
    if let Some(offset) = offset
        && let Ok(more) = properties.with_header("x-stream-offset", Some(Value::I64(offset)), &mut placed)
    {
        properties = more;
    }
    if let Err(error) = ContentHeader::basic(size, properties).write(channel, out) {
        tracing::error!(%error, "cannot encode a content header");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::content::BasicProperties;
    use tercet_amqp::method::basic::Return;
    use tercet_amqp::{Limits, Payload, decode};

    fn content<'a>(payload: &'a [u8], shared: Option<&'a Bytes>) -> Content<'a> {
        Content {
            method: Return::default().into(),
            properties: Properties::NONE,
            payload,
            shared,
            added: Added::default(),
        }
    }

    /// The stream as it goes out, with what is shared in its place.
    fn written(content: &Content<'_>, frame_max: u32) -> (Vec<u8>, usize) {
        let (mut out, mut shared) = (b"before".to_vec(), Vec::new());
        let noted = write(7, content, frame_max, &mut out, &mut shared);
        let mut stream = Vec::new();
        let mut taken = 0;
        for (offset, bytes) in &shared {
            stream.extend_from_slice(&out[taken..*offset]);
            stream.extend_from_slice(bytes);
            taken = *offset;
        }
        stream.extend_from_slice(&out[taken..]);
        assert_eq!(shared.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), noted);
        (stream.split_off(6), noted)
    }

    #[test]
    fn shared_and_copied_payloads_are_the_same_bytes_on_the_wire() {
        for len in [0, 1, SHARE_ABOVE, SHARE_ABOVE + 1, 20_000] {
            let payload: Bytes = (0..len).map(|n| n as u8).collect::<Vec<_>>().into();
            for frame_max in [0, 4096, 131_072] {
                let (copied, none) = written(&content(&payload, None), frame_max);
                let (spliced, noted) = written(&content(&payload, Some(&payload)), frame_max);
                assert_eq!(copied, spliced, "{len} in frames of {frame_max}");
                assert_eq!((none, noted > 0), (0, len > SHARE_ABOVE));
                let limits = Limits { frame_max, ..Limits::default() };
                let (mut rest, mut body) = (&copied[..], Vec::new());
                while let Some((frame, used)) = decode(rest, &limits).expect("well-formed") {
                    assert_eq!(frame.channel, 7);
                    if let Payload::Body(part) = frame.payload {
                        body.extend_from_slice(part);
                    }
                    rest = &rest[used..];
                }
                assert!(rest.is_empty() && body == payload);
            }
        }
    }

    #[test]
    fn what_the_broker_adds_comes_behind_the_headers_of_the_publisher() {
        let mut list = Vec::new();
        let wanted = BasicProperties { content_type: Some("text/plain"), ..Default::default() };
        let mut bytes = Vec::new();
        wanted.encode(&mut list).unwrap().write(&mut bytes);
        let mut content = content(b"x", None);
        content.properties = Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes };
        content.added = Added { delivery_count: Some(3), stream_offset: Some(9) };
        let (stream, _) = written(&content, 0);
        let (_, used) = decode(&stream, &Limits::default()).unwrap().unwrap();
        let (frame, _) = decode(&stream[used..], &Limits::default()).unwrap().unwrap();
        let Payload::Header(header) = frame.payload else { panic!("{frame:?}") };
        let headers = header.properties.headers().unwrap().unwrap();
        assert_eq!(header.properties.content_type(), Ok(Some("text/plain")));
        assert_eq!(headers.get("x-delivery-count"), Some(Value::I64(3)));
        assert_eq!(headers.get("x-stream-offset"), Some(Value::I64(9)));
    }
}
