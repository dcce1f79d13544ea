//! Just enough AMQP 0-9-1 to load a server: requests are encoded whole, parsing borrows.

/// What a client sends first (AMQP 0-9-1 §4.2.2).
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The largest frame that we offer, as most client libraries and RabbitMQ do.
pub const FRAME_MAX: u32 = 131_072;

/// Frame types (§4.2.3).
pub mod kind {
    #![allow(missing_docs)]
    pub const METHOD: u8 = 1;
    pub const HEADER: u8 = 2;
    pub const BODY: u8 = 3;
    pub const HEARTBEAT: u8 = 8;
}

/// Methods: the class in the high half, the method in the low one.
pub mod method {
    #![allow(missing_docs)]
    pub const CONNECTION_START: u32 = id(10, 10);
    pub const CONNECTION_START_OK: u32 = id(10, 11);
    pub const CONNECTION_TUNE: u32 = id(10, 30);
    pub const CONNECTION_TUNE_OK: u32 = id(10, 31);
    pub const CONNECTION_OPEN: u32 = id(10, 40);
    pub const CONNECTION_OPEN_OK: u32 = id(10, 41);
    pub const CONNECTION_CLOSE: u32 = id(10, 50);
    pub const CONNECTION_CLOSE_OK: u32 = id(10, 51);
    pub const CONNECTION_BLOCKED: u32 = id(10, 60);
    pub const CONNECTION_UNBLOCKED: u32 = id(10, 61);
    pub const CHANNEL_OPEN: u32 = id(20, 10);
    pub const CHANNEL_OPEN_OK: u32 = id(20, 11);
    pub const CHANNEL_CLOSE: u32 = id(20, 40);
    pub const CHANNEL_CLOSE_OK: u32 = id(20, 41);
    pub const EXCHANGE_DECLARE: u32 = id(40, 10);
    pub const EXCHANGE_DECLARE_OK: u32 = id(40, 11);
    pub const QUEUE_DECLARE: u32 = id(50, 10);
    pub const QUEUE_DECLARE_OK: u32 = id(50, 11);
    pub const QUEUE_BIND: u32 = id(50, 20);
    pub const QUEUE_BIND_OK: u32 = id(50, 21);
    pub const QUEUE_DELETE: u32 = id(50, 40);
    pub const QUEUE_DELETE_OK: u32 = id(50, 41);
    pub const BASIC_QOS: u32 = id(60, 10);
    pub const BASIC_QOS_OK: u32 = id(60, 11);
    pub const BASIC_CONSUME: u32 = id(60, 20);
    pub const BASIC_CONSUME_OK: u32 = id(60, 21);
    pub const BASIC_PUBLISH: u32 = id(60, 40);
    pub const BASIC_RETURN: u32 = id(60, 50);
    pub const BASIC_DELIVER: u32 = id(60, 60);
    pub const BASIC_ACK: u32 = id(60, 80);
    pub const BASIC_NACK: u32 = id(60, 120);
    pub const CONFIRM_SELECT: u32 = id(85, 10);
    pub const CONFIRM_SELECT_OK: u32 = id(85, 11);

    const fn id(class: u16, method: u16) -> u32 {
        (class as u32) << 16 | method as u32
    }
}

/// The class of messages.
pub const BASIC: u16 = 60;
/// The property flag of `delivery-mode` (§4.2.6.1).
pub const FLAG_DELIVERY_MODE: u16 = 1 << 12;

const FRAME_END: u8 = 0xCE;
const HEADER: usize = 7;

/// Bytes that are not the AMQP we speak.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// A frame does not end with the frame-end octet (§4.2.3).
    #[error("a frame of type {0} ends without frame-end")]
    FrameEnd(u8),
    /// A frame is larger than agreed.
    #[error("a frame of {0} bytes")]
    TooLarge(u32),
    /// A frame ended before its fields did.
    #[error("a frame is too short for its fields")]
    Truncated,
    /// A frame or method that has no place here.
    #[error("unexpected {0}")]
    Unexpected(String),
}

/// One frame in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type, one of [`kind`].
    pub kind: u8,
    /// Channel number.
    pub channel: u16,
    /// What is between header and end.
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub total: usize,
}

/// Splits the first frame off `bytes`; `None` when it is not complete.
///
/// # Errors
/// When it is larger than [`FRAME_MAX`] or does not end as it must.
#[inline]
pub fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some((&[kind, c1, c0, s3, s2, s1, s0], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([s3, s2, s1, s0]);
    if size > FRAME_MAX {
        return Err(WireError::TooLarge(size));
    }
    let size = size as usize;
    let Some(&end) = rest.get(size) else { return Ok(None) };
    if end != FRAME_END {
        return Err(WireError::FrameEnd(kind));
    }
    let channel = u16::from_be_bytes([c1, c0]);
    Ok(Some(Frame { kind, channel, payload: &rest[..size], total: HEADER + size + 1 }))
}

/// Reads the fields of a payload one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// An octet, or a group of bits.
    ///
    /// # Errors
    /// When there is none; so for all fields.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.take::<1>().map(|[octet]| octet)
    }

    /// A short integer.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_be_bytes)
    }

    /// A long integer; also a method's class and number.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_be_bytes)
    }

    /// A long long integer.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_be_bytes)
    }

    /// A short string.
    ///
    /// # Errors
    /// When it is not complete.
    #[inline]
    pub fn short_string(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(text)
    }
}

/// What a basic.deliver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deliver {
    /// Delivery tag.
    pub tag: u64,
    /// Whether the message was delivered before.
    pub redelivered: bool,
}

/// Reads the arguments of basic.deliver.
///
/// # Errors
/// When they are too short.
#[inline]
pub fn deliver(mut fields: Fields<'_>) -> Result<Deliver, WireError> {
    fields.short_string()?;
    let tag = fields.u64()?;
    let redelivered = fields.u8()? & 1 != 0;
    fields.short_string()?;
    fields.short_string()?;
    Ok(Deliver { tag, redelivered })
}

/// Reads the body size of a content header.
///
/// # Errors
/// When it is too short.
#[inline]
pub fn body_size(mut fields: Fields<'_>) -> Result<u64, WireError> {
    fields.u32()?;
    fields.u64()
}

/// Reads the code and text of connection.close or channel.close, for people.
pub fn close_reason(mut fields: Fields<'_>) -> String {
    let code = fields.u16().unwrap_or(0);
    let text = fields.short_string().unwrap_or_default();
    format!("{code} {}", String::from_utf8_lossy(text))
}

/// An encoded method and what answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The whole frame.
    pub bytes: Vec<u8>,
    /// The answer, one of [`method`].
    pub answer: u32,
}

/// Appends one field after the other to a method frame.
#[derive(Debug)]
struct Writer(Vec<u8>);

impl Writer {
    fn method(channel: u16, id: u32) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind::METHOD);
        bytes.extend_from_slice(&channel.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&id.to_be_bytes());
        Writer(bytes)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn short_string(mut self, text: &str) -> Self {
        short_string(&mut self.0, text);
        self
    }

    fn long_string(self, text: &[u8]) -> Self {
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.bytes(&len.to_be_bytes()).bytes(text)
    }

    fn empty_table(self) -> Self {
        self.bytes(&[0; 4])
    }

    fn end(self) -> Vec<u8> {
        let mut bytes = self.0;
        end_frame(&mut bytes, 0);
        bytes
    }

    fn answered_by(self, answer: u32) -> Request {
        Request { bytes: self.end(), answer }
    }
}

/// Completes the frame that begins at `start`: its size and its end.
pub(super) fn end_frame(bytes: &mut Vec<u8>, start: usize) {
    let size = u32::try_from(bytes.len() - start - HEADER).unwrap_or(u32::MAX);
    bytes[start + 3..start + HEADER].copy_from_slice(&size.to_be_bytes());
    bytes.push(FRAME_END);
}

/// A string of up to 255 bytes behind its length; more is cut off.
pub(super) fn short_string(bytes: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text);
}

/// connection.start-ok: PLAIN, with the capabilities that client libraries announce.
pub fn start_ok(user: &str, password: &str) -> Vec<u8> {
    let mut capabilities = Vec::new();
    for name in [
        "publisher_confirms",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "exchange_exchange_bindings",
    ] {
        short_string(&mut capabilities, name);
        capabilities.extend_from_slice(b"t\x01");
    }
    let mut properties = Vec::new();
    short_string(&mut properties, "product");
    properties.push(b'S');
    properties.extend_from_slice(&12u32.to_be_bytes());
    properties.extend_from_slice(b"tercet-bench");
    short_string(&mut properties, "capabilities");
    properties.push(b'F');
    properties.extend_from_slice(&u32::try_from(capabilities.len()).unwrap_or(0).to_be_bytes());
    properties.extend_from_slice(&capabilities);
    let response = format!("\0{user}\0{password}");
    Writer::method(0, method::CONNECTION_START_OK)
        .long_string(&properties)
        .short_string("PLAIN")
        .long_string(response.as_bytes())
        .short_string("en_US")
        .end()
}

/// connection.tune-ok; a heartbeat of 0 seconds is none.
pub fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    Writer::method(0, method::CONNECTION_TUNE_OK)
        .bytes(&channel_max.to_be_bytes())
        .bytes(&frame_max.to_be_bytes())
        .bytes(&heartbeat.to_be_bytes())
        .end()
}

/// connection.open.
pub fn connection_open(vhost: &str) -> Request {
    let writer = Writer::method(0, method::CONNECTION_OPEN).short_string(vhost);
    writer.bytes(&[0, 0]).answered_by(method::CONNECTION_OPEN_OK)
}

/// connection.close of somebody content.
pub fn connection_close() -> Request {
    close(0, method::CONNECTION_CLOSE).answered_by(method::CONNECTION_CLOSE_OK)
}

/// connection.close-ok.
pub fn connection_close_ok() -> Vec<u8> {
    Writer::method(0, method::CONNECTION_CLOSE_OK).end()
}

/// channel.open.
pub fn channel_open(channel: u16) -> Request {
    Writer::method(channel, method::CHANNEL_OPEN).bytes(&[0]).answered_by(method::CHANNEL_OPEN_OK)
}

/// channel.close of somebody content.
pub fn channel_close(channel: u16) -> Request {
    close(channel, method::CHANNEL_CLOSE).answered_by(method::CHANNEL_CLOSE_OK)
}

fn close(channel: u16, id: u32) -> Writer {
    Writer::method(channel, id).bytes(&200u16.to_be_bytes()).short_string("done").bytes(&[0; 4])
}

/// exchange.declare of one that is neither internal nor deleted by itself.
pub fn exchange_declare(channel: u16, name: &str, kind: &str, durable: bool) -> Request {
    Writer::method(channel, method::EXCHANGE_DECLARE)
        .bytes(&[0, 0])
        .short_string(name)
        .short_string(kind)
        .bytes(&[u8::from(durable) << 1])
        .empty_table()
        .answered_by(method::EXCHANGE_DECLARE_OK)
}

/// What a queue.declare asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueFlags {
    /// Only look whether it is there.
    pub passive: bool,
    /// It outlives the server.
    pub durable: bool,
}

/// queue.declare, neither exclusive nor deleted by itself.
pub fn queue_declare(channel: u16, name: &str, flags: QueueFlags) -> Request {
    Writer::method(channel, method::QUEUE_DECLARE)
        .bytes(&[0, 0])
        .short_string(name)
        .bytes(&[u8::from(flags.passive) | u8::from(flags.durable) << 1])
        .empty_table()
        .answered_by(method::QUEUE_DECLARE_OK)
}

/// Reads the number of ready messages from queue.declare-ok.
///
/// # Errors
/// When it is too short.
pub fn message_count(mut fields: Fields<'_>) -> Result<u32, WireError> {
    fields.short_string()?;
    fields.u32()
}

/// queue.bind.
pub fn queue_bind(channel: u16, queue: &str, exchange: &str, key: &str) -> Request {
    Writer::method(channel, method::QUEUE_BIND)
        .bytes(&[0, 0])
        .short_string(queue)
        .short_string(exchange)
        .short_string(key)
        .bytes(&[0])
        .empty_table()
        .answered_by(method::QUEUE_BIND_OK)
}

/// queue.delete, whatever is in it.
pub fn queue_delete(channel: u16, name: &str) -> Request {
    let writer = Writer::method(channel, method::QUEUE_DELETE).bytes(&[0, 0]).short_string(name);
    writer.bytes(&[0]).answered_by(method::QUEUE_DELETE_OK)
}

/// basic.qos for each consumer.
pub fn basic_qos(channel: u16, prefetch: u16) -> Request {
    let writer = Writer::method(channel, method::BASIC_QOS).bytes(&[0; 4]);
    writer.bytes(&prefetch.to_be_bytes()).bytes(&[0]).answered_by(method::BASIC_QOS_OK)
}

/// basic.consume; the server names the consumer.
pub fn basic_consume(channel: u16, queue: &str, no_ack: bool) -> Request {
    Writer::method(channel, method::BASIC_CONSUME)
        .bytes(&[0, 0])
        .short_string(queue)
        .short_string("")
        .bytes(&[u8::from(no_ack) << 1])
        .empty_table()
        .answered_by(method::BASIC_CONSUME_OK)
}

/// confirm.select.
pub fn confirm_select(channel: u16) -> Request {
    Writer::method(channel, method::CONFIRM_SELECT).bytes(&[0]).answered_by(method::CONFIRM_SELECT_OK)
}

/// basic.ack of the message `tag`, or of everything up to it.
#[inline]
pub fn ack(channel: u16, tag: u64, multiple: bool) -> [u8; 21] {
    let bits = u8::from(multiple);
    let [c1, c0] = channel.to_be_bytes();
    let [t7, t6, t5, t4, t3, t2, t1, t0] = tag.to_be_bytes();
    [kind::METHOD, c1, c0, 0, 0, 0, 13, 0, 60, 0, 80, t7, t6, t5, t4, t3, t2, t1, t0, bits, FRAME_END]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_bytes_of_the_specification() {
        let durable = QueueFlags { durable: true, ..QueueFlags::default() };
        let cases: &[(Vec<u8>, &[u8])] = &[
            (channel_open(1).bytes, b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xCE"),
            (
                queue_declare(258, "q", durable).bytes,
                b"\x01\x01\x02\0\0\0\x0d\0\x32\0\x0a\0\0\x01q\x02\0\0\0\0\xCE",
            ),
            (
                queue_bind(1, "q", "x", "k").bytes,
                b"\x01\0\x01\0\0\0\x11\0\x32\0\x14\0\0\x01q\x01x\x01k\0\0\0\0\0\xCE",
            ),
            (basic_qos(1, 200).bytes, b"\x01\0\x01\0\0\0\x0b\0\x3c\0\x0a\0\0\0\0\0\xc8\0\xCE"),
            (
                basic_consume(1, "q", true).bytes,
                b"\x01\0\x01\0\0\0\x0e\0\x3c\0\x14\0\0\x01q\0\x02\0\0\0\0\xCE",
            ),
            (confirm_select(1).bytes, b"\x01\0\x01\0\0\0\x05\0\x55\0\x0a\0\xCE"),
            (ack(1, 258, true).to_vec(), b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\x01\x02\x01\xCE"),
            (tune_ok(2047, 131_072, 0), b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xCE"),
            (connection_open("/").bytes, b"\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xCE"),
            (queue_delete(1, "q").bytes, b"\x01\0\x01\0\0\0\x09\0\x32\0\x28\0\0\x01q\0\xCE"),
        ];
        for (encoded, expected) in cases {
            assert_eq!(encoded, expected);
            let whole = frame(encoded).unwrap().unwrap();
            assert_eq!((whole.kind, whole.total), (kind::METHOD, encoded.len()));
        }
    }

    #[test]
    fn a_frame_needs_all_its_bytes_and_its_end() {
        let mut bytes = channel_open(7).bytes;
        for cut in 0..bytes.len() {
            assert_eq!(frame(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let whole = frame(&bytes).unwrap().unwrap();
        assert_eq!((whole.kind, whole.channel, whole.payload.len()), (kind::METHOD, 7, 5));
        let last = bytes.len() - 1;
        bytes[last] = 0;
        assert_eq!(frame(&bytes), Err(WireError::FrameEnd(kind::METHOD)));
        assert_eq!(frame(b"\x03\0\x01\xff\0\0\0"), Err(WireError::TooLarge(0xff00_0000)));
    }

    #[test]
    fn fields_of_answers_are_found_and_checked() {
        let bytes = b"\x01c\0\0\0\0\0\0\x01\x02\x01\0\x03k.k";
        assert_eq!(deliver(Fields(bytes)), Ok(Deliver { tag: 258, redelivered: true }));
        for cut in 0..bytes.len() {
            assert_eq!(deliver(Fields(&bytes[..cut])), Err(WireError::Truncated), "cut at {cut}");
        }
        assert_eq!(body_size(Fields(b"\0\x3c\0\0\0\0\0\0\0\0\x04\0\0\0")), Ok(1024));
        assert_eq!(message_count(Fields(b"\x01q\0\0\0\x05\0\0\0\0")), Ok(5));
        assert_eq!(close_reason(Fields(b"\x01\x94\x09NOT_FOUND\0\0\0\0")), "404 NOT_FOUND");
    }
}
