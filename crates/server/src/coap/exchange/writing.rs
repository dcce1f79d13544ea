//! Writing responses.

use tercet_coap::{Number, OptionBuf, Writer};

use crate::coap::response::Response;

/// What is written beside what the resource said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// The number of a notification.
    pub observe: Option<u32>,
    /// Which block of the response's body this is.
    pub block2: Option<u32>,
    /// What became of the blocks of the request's body.
    pub block1: Option<u32>,
    /// The last block of a set that has come (RFC 9177).
    pub q_block1: Option<u32>,
    /// Which block of the response's body this is, in a burst.
    pub q_block2: Option<u32>,
    /// Size of the response's whole body.
    pub size2: Option<u32>,
    /// Greatest size of a request's body.
    pub size1: Option<u32>,
}

/// Writes the options of a response and `payload`, its body or a part of it.
#[inline]
pub fn write(writer: &mut Writer<'_>, response: &Response, framing: &Framing, payload: &[u8]) {
    if response.options.is_empty() {
        known_options(response, framing, &mut |number, value| {
            writer.option(number, value);
        });
    } else {
        writer.options(options(response, framing).as_options());
    }
    writer.payload(payload);
}

/// The options of a response, to be written many times.
#[must_use]
pub fn options(response: &Response, framing: &Framing) -> OptionBuf {
    let mut all = OptionBuf::new();
    known_options(response, framing, &mut |number, value| {
        all.add(number, value);
    });
    for (number, value) in &response.options {
        all.add(*number, value);
    }
    all
}

/// The options that have a place of their own, in the order of their numbers.
#[inline]
fn known_options(response: &Response, framing: &Framing, each: &mut impl FnMut(Number, &[u8])) {
    if let Some(etag) = &response.etag {
        each(Number::ETAG, etag);
    }
    uint(Number::OBSERVE, framing.observe, each);
    for segment in &response.location {
        each(Number::LOCATION_PATH, segment.as_bytes());
    }
    uint(Number::CONTENT_FORMAT, response.content_format.map(|format| format.0.into()), each);
    uint(Number::MAX_AGE, response.max_age, each);
    uint(Number::Q_BLOCK1, framing.q_block1, each);
    uint(Number::BLOCK2, framing.block2, each);
    uint(Number::BLOCK1, framing.block1, each);
    uint(Number::SIZE2, framing.size2, each);
    uint(Number::Q_BLOCK2, framing.q_block2, each);
    uint(Number::SIZE1, framing.size1, each);
}

/// In as few bytes as the value needs (RFC 7252 §3.2).
#[inline]
fn uint(number: Number, value: Option<u32>, each: &mut impl FnMut(Number, &[u8])) {
    if let Some(value) = value {
        let bytes = value.to_be_bytes();
        each(number, bytes.get(value.leading_zeros() as usize / 8..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tercet_coap::{Code, ContentFormat, Kind, datagram};

    use super::*;

    #[test]
    fn options_stand_in_order_whoever_wants_them() {
        let plain = Response {
            etag: Some([7; 8]),
            max_age: Some(0),
            location: vec!["ps".into(), "a".into()],
            ..Response::content(ContentFormat(0), &b"21.5"[..])
        };
        let framing = Framing { observe: Some(300), block2: Some(6), size2: Some(4), ..Framing::default() };
        let with = plain.clone().with(Number::LOCATION_QUERY, Bytes::from_static(b"q"));
        for (response, count) in [(plain, 8), (with, 9)] {
            let mut bytes = Vec::new();
            let mut writer = Writer::datagram(&mut bytes, Kind::Acknowledgement, 1, Code::CONTENT, b"t");
            write(&mut writer, &response, &framing, response.body.as_bytes());
            drop(writer);
            let read = datagram::decode(&bytes, &tercet_coap::Limits::default()).unwrap();
            let numbers: Vec<_> = read.message.options.iter().map(|(number, _)| number.0).collect();
            assert!(numbers.is_sorted() && numbers.len() == count, "{numbers:?}");
            assert_eq!(read.message.options.uint(Number::OBSERVE), Some(300));
            assert_eq!(read.message.options.get(Number::MAX_AGE), Some(&[][..]));
            assert_eq!(read.message.payload, b"21.5");
        }
    }
}
