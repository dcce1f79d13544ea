//! Messages: properties changed in place, frames put together and taken apart.

use proptest::prelude::*;
use tercet_amqp::content::{
    Assembly, BasicProperties, BodyFrames, ContentHeader, Progress, Properties, Property, PropertyValue,
    write_content,
};
use tercet_amqp::field::{TableBuf, Value};
use tercet_amqp::method::basic;
use tercet_amqp::{EncodeError, ErrorKind, FRAME_END, FrameType, Limits, Method, Payload, decode};

use crate::material::properties;

fn publish() -> Method<'static> {
    basic::Publish { exchange: "x", routing_key: "k", ..Default::default() }.into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changing_one_property_changes_no_other(bytes in properties(), at in 0..14usize, remove in any::<bool>()) {
        let before = Properties::from_bytes(&bytes).unwrap();
        let property = Property::ALL[at];
        let mut headers = TableBuf::new();
        headers.put("new", 1i64).unwrap();
        let value = (!remove).then(|| match property {
            Property::Headers => PropertyValue::Table(headers.as_table()),
            Property::DeliveryMode | Property::Priority => PropertyValue::Octet(9),
            Property::Timestamp => PropertyValue::Timestamp(77),
            _ => PropertyValue::Text("new"),
        });
        let mut list = Vec::new();
        let after = before.with(property, value, &mut list).unwrap();
        prop_assert_eq!(after.validate(32), Ok(()));
        for other in Property::ALL {
            let expected = if other == property { Ok(value) } else { before.get(other) };
            prop_assert_eq!(after.get(other), expected);
        }
    }

    #[test]
    fn changing_one_header_changes_no_other(bytes in properties(), remove in any::<bool>(), known in any::<prop::sample::Index>()) {
        let before = Properties::from_bytes(&bytes).unwrap();
        let headers = before.headers().unwrap().unwrap_or_default();
        let names: Vec<_> = headers.iter().map(|(name, _)| core::str::from_utf8(name).unwrap()).chain(["x-new"]).collect();
        let name = names[known.index(names.len())];
        let value = (!remove).then_some(Value::Timestamp(5));
        let mut list = Vec::new();
        let after = before.with_header(name, value, &mut list).unwrap();
        prop_assert_eq!(after.validate(32), Ok(()));
        let changed = after.headers().unwrap().unwrap_or_default();
        prop_assert_eq!(changed.get(name), value);
        let others = |table: tercet_amqp::field::Table<'_>| table.without(name);
        prop_assert_eq!(others(changed), others(headers));
        prop_assert!(!after.has(Property::Headers) || !changed.is_empty());
        for other in Property::ALL.into_iter().filter(|other| *other != Property::Headers) {
            prop_assert_eq!(after.get(other), before.get(other));
        }
    }

    #[test]
    fn a_message_is_split_and_put_together(body in prop::collection::vec(any::<u8>(), 0..20_000), frame_max in prop_oneof![Just(0u32), 4096..9000u32]) {
        let mut list = Vec::new();
        let properties = BasicProperties { priority: Some(3), ..Default::default() }.encode(&mut list).unwrap();
        let mut bytes = Vec::new();
        write_content(5, &publish(), properties, &body, frame_max, &mut bytes).unwrap();
        let mut assembly = Assembly::new();
        let (mut rest, mut received, mut frames) = (&bytes[..], Vec::new(), 0);
        let limits = Limits { frame_max, ..Limits::default() };
        loop {
            let (frame, used) = decode(rest, &limits).unwrap().unwrap();
            prop_assert!(frame_max == 0 || used <= frame_max as usize);
            prop_assert_eq!(frame.channel, 5);
            rest = &rest[used..];
            if let Payload::Body(part) = frame.payload {
                prop_assert!(!part.is_empty());
                received.extend_from_slice(part);
                frames += 1;
            }
            match assembly.receive(5, &frame.payload).unwrap() {
                Progress::Begun => prop_assert!(assembly.in_progress()),
                Progress::More(left) => prop_assert_eq!(left as usize, body.len() - received.len()),
                Progress::Complete => break,
                Progress::Nothing => prop_assert!(false),
            }
        }
        prop_assert!(rest.is_empty() && !assembly.in_progress());
        prop_assert_eq!(&received, &body);
        let vectored: Vec<u8> = BodyFrames::new(5, &body, frame_max)
            .flat_map(|(head, part)| [&head[..], part, &[FRAME_END]].concat())
            .collect();
        prop_assert_eq!(BodyFrames::new(5, &body, frame_max).count(), frames);
        prop_assert!(bytes.ends_with(&vectored));
    }
}

#[test]
fn frames_of_a_message_come_in_their_order_only() {
    let header = |class, body_size| {
        Payload::Header(ContentHeader { class, ..ContentHeader::basic(body_size, Properties::default()) })
    };
    let method = || Payload::Method(publish());
    let ack = || Payload::Method(basic::Ack { delivery_tag: 1, multiple: false }.into());
    let body = Payload::Body(b"12345");
    let cases = [
        (vec![header(60, 0)], ErrorKind::ExpectedMethod(FrameType::Header), 505, false),
        (vec![body], ErrorKind::ExpectedMethod(FrameType::Body), 505, false),
        (vec![ack(), body], ErrorKind::ExpectedMethod(FrameType::Body), 505, false),
        (vec![method(), method()], ErrorKind::ExpectedHeader(FrameType::Method), 505, true),
        (vec![method(), body], ErrorKind::ExpectedHeader(FrameType::Body), 505, true),
        (vec![method(), header(50, 5)], ErrorKind::HeaderClass { expected: 60, found: 50 }, 505, true),
        (vec![method(), header(60, 6), ack()], ErrorKind::ExpectedBody(FrameType::Method), 505, true),
        (vec![method(), header(60, 6), header(60, 6)], ErrorKind::ExpectedBody(FrameType::Header), 505, true),
        (vec![method(), header(60, 4), body], ErrorKind::BodyTooLong { announced: 4, excess: 1 }, 501, true),
        (
            vec![method(), header(60, 9), body, body],
            ErrorKind::BodyTooLong { announced: 9, excess: 1 },
            501,
            true,
        ),
        (vec![method(), header(60, 0), body], ErrorKind::ExpectedMethod(FrameType::Body), 505, false),
        (vec![method(), header(60, 5), body, body], ErrorKind::ExpectedMethod(FrameType::Body), 505, false),
    ];
    for (frames, kind, code, named) in cases {
        let mut assembly = Assembly::new();
        let (last, first) = frames.split_last().unwrap();
        for frame in first {
            assembly.receive(4, frame).unwrap();
        }
        let error = assembly.receive(4, last).unwrap_err();
        let method = named.then_some(basic::Publish::ID);
        assert_eq!((error.kind, error.code.number(), error.channel, error.method), (kind, code, 4, method));
        assembly.reset();
        assert_eq!(assembly.receive(4, &method_payload()).unwrap(), Progress::Begun);
    }
}

fn method_payload() -> Payload<'static> {
    Payload::Method(publish())
}

#[test]
fn empty_bodies_have_no_frame_and_empty_body_frames_do_no_harm() {
    let mut bytes = Vec::new();
    write_content(1, &publish(), Properties::default(), b"", 4096, &mut bytes).unwrap();
    let mut assembly = Assembly::new();
    let (method, used) = decode(&bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(assembly.receive(1, &method.payload), Ok(Progress::Begun));
    let (header, more) = decode(&bytes[used..], &Limits::default()).unwrap().unwrap();
    assert_eq!(assembly.receive(1, &header.payload), Ok(Progress::Complete));
    assert_eq!(used + more, bytes.len());

    let header = Payload::Header(ContentHeader::basic(2, Properties::default()));
    let steps = [method_payload(), header, Payload::Body(b""), Payload::Body(b"ab")];
    let progress = steps.map(|payload| assembly.receive(1, &payload).unwrap());
    assert_eq!(progress, [Progress::Begun, Progress::More(2), Progress::More(2), Progress::Complete]);
}

#[test]
fn a_header_that_fits_in_no_frame_is_refused() {
    let mut headers = TableBuf::new();
    headers.put("big", Value::LongStr(&[0; 5000])).unwrap();
    let mut list = Vec::new();
    let properties = BasicProperties { headers: Some(headers.as_table()), ..Default::default() }
        .encode(&mut list)
        .unwrap();
    let mut out = b"before".to_vec();
    let written = write_content(1, &publish(), properties, b"x", 4096, &mut out);
    assert_eq!((written, &out[..]), (Err(EncodeError::FrameTooLarge), &b"before"[..]));
    assert!(write_content(1, &publish(), properties, b"x", 8192, &mut out).is_ok());
}

#[test]
fn a_property_takes_its_own_type_only() {
    let mut out = Vec::new();
    for (property, value) in [
        (Property::Priority, PropertyValue::Text("1")),
        (Property::Headers, PropertyValue::Octet(1)),
        (Property::Timestamp, PropertyValue::Octet(1)),
        (Property::AppId, PropertyValue::Timestamp(1)),
    ] {
        let changed = Properties::default().with(property, Some(value), &mut out);
        assert_eq!(changed, Err(EncodeError::PropertyType), "{property:?}");
    }
}
