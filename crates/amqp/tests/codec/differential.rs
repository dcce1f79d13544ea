//! Two other codecs agree: amq-protocol on whole frames, amqp_serde on tables and methods made of its types.

use std::collections::HashMap;

use amq_protocol::frame::{AMQPFrame, gen_frame, parse_frame};
use amqp_serde::types::{DecimalValue, FieldTable, FieldValue, ShortStr};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tercet_amqp::field::{Array, Table, Value};
use tercet_amqp::method::{METHODS, basic, exchange};
use tercet_amqp::{Limits, Method, Payload, decode};

use crate::material::{arguments, frame, framed, table};

/// The frame as amq-protocol reads it, written again by it.
fn through_amq_protocol(bytes: &[u8]) -> (AMQPFrame, Vec<u8>) {
    let (rest, frame) = parse_frame(bytes).unwrap();
    assert!(rest.is_empty());
    let again = gen_frame(&frame)(Vec::new().into()).unwrap().write;
    (frame, again)
}

/// Two arguments are reserved to amq-protocol: it writes 0 as the prefetch size and 1 as the ticket. RabbitMQ answers a
/// prefetch size with 540, so it has to be known; the ticket is only passed on.
fn as_amq_protocol_writes(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match bytes[..] {
        [1, _, _, _, _, _, _, 0, 60, 0, 10, ..] => bytes[11..15].fill(0),
        [1, _, _, _, _, _, _, 0, 30, 0, 11, ..] => bytes[11..13].copy_from_slice(&[0, 1]),
        _ => {}
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_method_is_read_and_written_alike(
        payloads in METHODS.iter().map(|info| arguments(info)).collect::<Vec<_>>(),
    ) {
        for (payload, info) in payloads.iter().zip(METHODS) {
            let bytes = framed(1, 9, payload);
            let (theirs, again) = through_amq_protocol(&bytes);
            prop_assert_eq!(&again, &as_amq_protocol_writes(&bytes), "{}", info.name);
            let AMQPFrame::Method(9, class) = theirs else { return Err(TestCaseError::fail("no method")) };
            prop_assert_eq!(class.get_amqp_class_id(), info.id.class);
            prop_assert_eq!(class.get_amqp_method_id(), info.id.method);
            let (frame, _) = decode(&bytes, &Limits::default()).unwrap().unwrap();
            let mut ours = Vec::new();
            frame.encode(&mut ours).unwrap();
            prop_assert_eq!(ours, bytes, "{}", info.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_read_and_written_alike(bytes in frame()) {
        prop_assert_eq!(through_amq_protocol(&bytes).1, as_amq_protocol_writes(&bytes));
    }

    #[test]
    fn what_one_refuses_for_its_length_the_other_does(bytes in frame(), cut in any::<prop::sample::Index>()) {
        // A frame whose payload ends early, properly framed.
        let payload = &bytes[7..bytes.len() - 1];
        prop_assume!(bytes[0] != 3 && payload.len() > 1);
        let cut = framed(bytes[0], u16::from_be_bytes([bytes[1], bytes[2]]), &payload[..cut.index(payload.len())]);
        let ours = match decode(&cut, &Limits::default()) {
            Ok(Some((frame, _))) => match frame.payload {
                Payload::Header(header) => header.properties.validate(32).is_ok(),
                _ => true,
            },
            _ => false,
        };
        prop_assert_eq!(ours, parse_frame(&cut[..]).is_ok(), "{:02X?}", cut);
    }

    #[test]
    fn tables_mean_the_same_to_amqp_serde(bytes in table()) {
        let with_length = [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat();
        let theirs: FieldTable = amqp_serde::from_bytes(&with_length).unwrap();
        let ours = Table::parse(&bytes, 32).unwrap();
        prop_assert_eq!(theirs.as_ref(), &as_map(ours));
        // And what it writes is read by us, in whatever order it comes.
        let written = amqp_serde::to_bytes(&theirs).unwrap();
        let back = Table::parse(&written[4..], 32).unwrap();
        prop_assert_eq!(theirs.as_ref(), &as_map(back));
    }

    #[test]
    fn methods_made_of_its_types_are_the_same(
        (exchange, key, kind) in ("[a-z.]{0,20}", "[a-zé.]{0,20}", "[a-z]{1,8}"),
        bits in prop::array::uniform5(any::<bool>()),
        (tag, count) in (any::<u64>(), any::<u32>()),
    ) {
        let short = |text: &str| ShortStr::try_from(text).unwrap();
        let octet = |bits: &[bool]| bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum::<u8>();
        let [passive, durable, auto_delete, internal, no_wait] = bits;

        let theirs = Declare { ids: (40, 10), ticket: 0, exchange: short(&exchange), kind: short(&kind), bits: octet(&bits), arguments: FieldTable::new() };
        let ours = exchange::Declare { exchange: &exchange, kind: &kind, passive, durable, auto_delete, internal, no_wait, arguments: Table::default() };
        same(ours.into(), &theirs);

        let theirs = Publish { ids: (60, 40), ticket: 0, exchange: short(&exchange), routing_key: short(&key), bits: octet(&[passive, durable]) };
        let ours = basic::Publish { exchange: &exchange, routing_key: &key, mandatory: passive, immediate: durable };
        same(ours.into(), &theirs);

        let theirs = GetOk { ids: (60, 71), delivery_tag: tag, redelivered: internal, exchange: short(&exchange), routing_key: short(&key), message_count: count };
        let ours = basic::GetOk { delivery_tag: tag, redelivered: internal, exchange: &exchange, routing_key: &key, message_count: count };
        same(ours.into(), &theirs);

        let theirs = Nack { ids: (60, 120), delivery_tag: tag, bits: octet(&[auto_delete, no_wait]) };
        same(basic::Nack { delivery_tag: tag, multiple: auto_delete, requeue: no_wait }.into(), &theirs);
    }
}

fn same(ours: Method<'_>, theirs: &impl Serialize) {
    let bytes = framed(1, 2, &amqp_serde::to_bytes(theirs).unwrap());
    let (frame, _) = decode(&bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(frame.payload, Payload::Method(ours));
    let mut written = Vec::new();
    ours.write(2, &mut written).unwrap();
    assert_eq!(written, bytes);
}

#[derive(Serialize, Deserialize)]
struct Declare {
    ids: (u16, u16),
    ticket: u16,
    exchange: ShortStr,
    kind: ShortStr,
    bits: u8,
    arguments: FieldTable,
}

#[derive(Serialize, Deserialize)]
struct Publish {
    ids: (u16, u16),
    ticket: u16,
    exchange: ShortStr,
    routing_key: ShortStr,
    bits: u8,
}

#[derive(Serialize, Deserialize)]
struct GetOk {
    ids: (u16, u16),
    delivery_tag: u64,
    redelivered: bool,
    exchange: ShortStr,
    routing_key: ShortStr,
    message_count: u32,
}

#[derive(Serialize, Deserialize)]
struct Nack {
    ids: (u16, u16),
    delivery_tag: u64,
    bits: u8,
}

fn as_map(table: Table<'_>) -> HashMap<ShortStr, FieldValue> {
    let name = |name: &[u8]| ShortStr::try_from(core::str::from_utf8(name).unwrap()).unwrap();
    table.iter().map(|(key, value)| (name(key), as_theirs(value))).collect()
}

fn as_theirs(value: Value<'_>) -> FieldValue {
    match value {
        Value::Bool(v) => FieldValue::t(v),
        Value::I8(v) => FieldValue::b(v),
        Value::U8(v) => FieldValue::B(v),
        Value::I16(v) => FieldValue::s(v),
        Value::U16(v) => FieldValue::u(v),
        Value::I32(v) => FieldValue::I(v),
        Value::U32(v) => FieldValue::i(v),
        Value::I64(v) => FieldValue::l(v),
        Value::F32(v) => FieldValue::f(v),
        Value::F64(v) => FieldValue::d(v),
        Value::Decimal { scale, value } => FieldValue::D(DecimalValue::new(scale, value as i32)),
        Value::LongStr(v) => FieldValue::S(core::str::from_utf8(v).unwrap().try_into().unwrap()),
        Value::Bytes(v) => FieldValue::x(v.to_vec().try_into().unwrap()),
        Value::Array(v) => FieldValue::A(list(v).try_into().unwrap()),
        Value::Timestamp(v) => FieldValue::T(v),
        Value::Table(v) => {
            let mut table = FieldTable::new();
            for (key, value) in as_map(v) {
                table.insert(key, value);
            }
            FieldValue::F(table)
        }
        Value::Void => FieldValue::V,
        other => panic!("{other:?}"),
    }
}

fn list(array: Array<'_>) -> Vec<FieldValue> {
    array.iter().map(as_theirs).collect()
}
