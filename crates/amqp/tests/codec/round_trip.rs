//! What is written is read again, and what is damaged harms nobody.

use proptest::prelude::*;
use tercet_amqp::field::{ArrayBuf, Table, TableBuf, Value};
use tercet_amqp::method::METHODS;
use tercet_amqp::{EncodeError, ErrorKind, Limits, decode};

use crate::fuzz_bodies::check_decode;
use crate::material::{arguments, frame, framed, table, value};

fn again(bytes: &[u8]) -> Vec<u8> {
    let (frame, used) = decode(bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    let mut out = b"before".to_vec();
    frame.encode(&mut out).unwrap();
    out.split_off(6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_method_comes_back_and_has_no_shorter_form(
        payloads in METHODS.iter().map(|info| arguments(info)).collect::<Vec<_>>(),
    ) {
        for (payload, info) in payloads.iter().zip(METHODS) {
            let bytes = framed(1, 3, payload);
            prop_assert_eq!(&again(&bytes), &bytes, "{}", info.name);
            // Cut anywhere, with the length of the frame corrected: never valid.
            for len in 4..payload.len() {
                let cut = framed(1, 3, &payload[..len]);
                let error = decode(&cut, &Limits::default()).unwrap_err();
                prop_assert_eq!(error.kind, ErrorKind::Truncated, "{} at {}", info.name, len);
                prop_assert_eq!((error.method, error.channel), (Some(info.id), 3));
            }
            let long = framed(1, 3, &[payload, &[0][..]].concat());
            let error = decode(&long, &Limits::default()).unwrap_err();
            prop_assert_eq!(error.kind, ErrorKind::TrailingBytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_back(bytes in frame()) {
        prop_assert_eq!(again(&bytes), bytes);
    }

    #[test]
    fn frames_pass_the_fuzz_body(frames in prop::collection::vec(frame(), 1..4)) {
        check_decode(&frames.concat());
    }

    #[test]
    fn damaged_frames_pass_the_fuzz_body(
        bytes in frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut bytes = bytes;
        for (index, byte, kind) in changes {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        check_decode(&bytes);
    }

    #[test]
    fn random_payloads_pass_the_fuzz_body(kind in 0..10u8, payload in prop::collection::vec(any::<u8>(), 0..200)) {
        check_decode(&framed(kind, 1, &payload));
        check_decode(&payload);
    }

    #[test]
    fn tables_are_built_as_they_were(bytes in table()) {
        let table = Table::parse(&bytes, 32).unwrap();
        let mut built = TableBuf::new();
        for (name, value) in table {
            built.put(name, value).unwrap();
        }
        prop_assert_eq!(built.as_table(), table);
        for len in 1..bytes.len() {
            // A shorter table is valid only where a field ends.
            let ends = table.iter().scan(0, |at, (name, value)| {
                let mut one = ArrayBuf::new();
                one.push(value).unwrap();
                *at += 1 + name.len() + one.as_array().as_bytes().len();
                Some(*at)
            }).any(|end| end == len);
            prop_assert_eq!(Table::parse(&bytes[..len], 32).is_ok(), ends);
        }
    }

    #[test]
    fn values_come_back_in_arrays(values in prop::collection::vec(value(), 0..6)) {
        let bytes = values.concat();
        let array = tercet_amqp::field::Array::parse(&bytes, 32).unwrap();
        prop_assert_eq!(array.iter().count(), values.len());
        let mut built = ArrayBuf::new();
        for value in array {
            built.push(value).unwrap();
        }
        prop_assert_eq!(built.as_array(), array);
    }
}

#[test]
fn nesting_is_bounded_exactly() {
    for (tag, levels) in [(b'F', 32), (b'A', 32)] {
        let nest = |depth: usize| {
            let mut bytes = Vec::new();
            for _ in 1..depth {
                let name: &[u8] = if tag == b'F' { &[1, b'k'] } else { &[] };
                bytes = [name, &[tag], &(bytes.len() as u32).to_be_bytes(), &bytes].concat();
            }
            bytes
        };
        let parse = |bytes: &[u8]| match tag {
            b'F' => Table::parse(bytes, levels).map(drop),
            _ => tercet_amqp::field::Array::parse(bytes, levels).map(drop),
        };
        assert_eq!(parse(&nest(32)), Ok(()));
        assert_eq!(parse(&nest(33)), Err(ErrorKind::TooDeep));
        assert_eq!(parse(&nest(10_000)), Err(ErrorKind::TooDeep));
    }
    assert_eq!(Table::parse(&[], 0), Err(ErrorKind::TooDeep));
}

#[test]
fn the_first_of_equal_names_counts_and_integers_compare_by_value() {
    let mut table = TableBuf::new();
    table.put("n", 1i32).unwrap().put("n", 2i64).unwrap().put("text", "é").unwrap();
    assert_eq!(table.as_table().get("n"), Some(Value::I32(1)));
    assert_eq!(table.as_table().get("text").and_then(|value| value.as_str()), Some("é"));
    assert_eq!(table.as_table().get("m"), None);
    for value in [Value::I8(5), Value::U8(5), Value::I16(5), Value::U16(5), Value::U32(5), Value::I64(5)] {
        assert_eq!(value.as_i64(), Some(5));
    }
    assert_eq!(Value::F64(5.0).as_i64(), None);
}

#[test]
fn the_rare_long_tag_reads_as_a_signed_number() {
    let bytes = b"\x01aL\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE";
    assert_eq!(Table::parse(bytes, 1).unwrap().get("a"), Some(Value::I64(-2)));
}

#[test]
fn what_is_too_long_leaves_the_buffer_as_it_was() {
    let long = "x".repeat(256);
    let mut out = b"before".to_vec();
    let method = tercet_amqp::method::queue::Purge { queue: &long, no_wait: false };
    assert_eq!(method.write(1, &mut out), Err(EncodeError::ShortStringTooLong));
    assert_eq!(out, b"before");
    let mut table = TableBuf::new();
    table.put("a", true).unwrap();
    assert!(table.put(&long, true).is_err());
    assert_eq!(table.as_table().iter().count(), 1);
}
