//! Every way a frame can be wrong, with its exact answer.

use tercet_amqp::{ErrorKind as K, FrameType, Limits, MethodId, ReplyCode, decode};

use crate::material::framed;

const PUBLISH: MethodId = MethodId { class: 60, method: 40 };
const DECLARE: MethodId = MethodId { class: 50, method: 10 };

/// A frame, what is wrong with it, the reply code, and the channel and method that the error names.
type Case = (Vec<u8>, K, u16, u16, Option<MethodId>);

fn declare(table: &[u8]) -> Vec<u8> {
    let head = [&[0, 50, 0, 10, 0, 0, 1, b'q', 0][..], &(table.len() as u32).to_be_bytes(), table].concat();
    framed(1, 1, &head)
}

fn header(class: u16, weight: u16, size: u64, flags: u16, list: &[u8]) -> Vec<u8> {
    let numbers = [class.to_be_bytes(), weight.to_be_bytes()].concat();
    framed(2, 1, &[&numbers[..], &size.to_be_bytes(), &flags.to_be_bytes(), list].concat())
}

#[test]
fn malformed_frames_get_their_exact_code() {
    let cases: Vec<Case> = vec![
        (vec![0], K::FrameType(0), 501, 0, None),
        (b"GET / HTTP/1.1".to_vec(), K::FrameType(b'G'), 501, 0, None),
        (b"AMQP\0\0\x09\x01".to_vec(), K::FrameType(b'A'), 501, 0, None),
        (vec![4, 0, 0], K::FrameType(4), 501, 0, None),
        (
            vec![1, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
            K::FrameTooLarge { size: u32::MAX, limit: 131_072 },
            501,
            1,
            None,
        ),
        (vec![3, 0, 1, 0, 2, 0, 1], K::FrameTooLarge { size: 131_073, limit: 131_072 }, 501, 1, None),
        (vec![8, 0, 0, 0, 0, 0, 0, 0xCF], K::FrameEnd(0xCF), 501, 0, None),
        ([&framed(3, 2, b"abc")[..10], &[0]].concat(), K::FrameEnd(0), 501, 2, None),
        (framed(8, 0, b"x"), K::HeartbeatPayload(1), 501, 0, None),
        (framed(8, 5, b"x"), K::HeartbeatPayload(1), 501, 5, None),
        (framed(8, 5, b""), K::HeartbeatChannel, 505, 5, None),
        (framed(3, 0, b"x"), K::ContentOnChannelZero(FrameType::Body), 505, 0, None),
        (framed(2, 0, b"x"), K::ContentOnChannelZero(FrameType::Header), 505, 0, None),
        (framed(1, 1, b""), K::Truncated, 501, 1, None),
        (framed(1, 1, b"\0\x3C\0"), K::Truncated, 501, 1, None),
        (framed(1, 1, b"\0\x3C\0\x29"), K::UnknownMethod, 540, 1, Some(MethodId { class: 60, method: 41 })),
        (framed(1, 1, b"\0\x46\0\x0A"), K::UnknownMethod, 540, 1, Some(MethodId { class: 70, method: 10 })),
        (framed(1, 1, b"\0\x3C\0\x28\0\0\x05ab"), K::Truncated, 501, 1, Some(PUBLISH)),
        (framed(1, 1, b"\0\x3C\0\x28\0\0\x02\xFF\xFE\0\0"), K::InvalidUtf8, 501, 1, Some(PUBLISH)),
        (framed(1, 1, b"\0\x3C\0\x28\0\0\0\0\0\0"), K::TrailingBytes, 501, 1, Some(PUBLISH)),
        (framed(1, 1, b"\0\x3C\0\x28\0\0\0\0"), K::Truncated, 501, 1, Some(PUBLISH)),
        (declare(b"\x01aZ"), K::FieldType(b'Z'), 502, 1, Some(DECLARE)),
        (declare(b"\x01a\0"), K::FieldType(0), 502, 1, Some(DECLARE)),
        (declare(b"\x01"), K::Truncated, 501, 1, Some(DECLARE)),
        (declare(b"\x01a"), K::Truncated, 501, 1, Some(DECLARE)),
        (declare(b"\x01at"), K::Truncated, 501, 1, Some(DECLARE)),
        (declare(b"\x01aS\xFF\xFF\xFF\xFFx"), K::Truncated, 501, 1, Some(DECLARE)),
        (declare(b"\x01aF\0\0\0\x03\x01bt"), K::Truncated, 501, 1, Some(DECLARE)),
        (declare(b"\x01aA\0\0\0\x01q"), K::FieldType(b'q'), 502, 1, Some(DECLARE)),
        (declare(b"\x01ax\0\0\0\x02x"), K::Truncated, 501, 1, Some(DECLARE)),
        (declare(b"\x01aF\0\0\0\x07\x01bF\0\0\0\0"), K::TooDeep, 502, 1, Some(DECLARE)),
        (framed(2, 1, b"\0\x3C\0\0\0"), K::Truncated, 501, 1, None),
        (framed(2, 1, b"\0\x3C\0\0\0\0\0\0\0\0\0\0\0"), K::Truncated, 501, 1, None),
        (header(60, 0, 1 << 63, 0, b""), K::BodyTooLarge { size: 1 << 63, limit: 536_870_912 }, 501, 1, None),
        (header(60, 7, 0, 0, b""), K::HeaderWeight(7), 505, 1, None),
        (header(60, 0, 0, 1, b""), K::PropertyFlags(1), 502, 1, None),
        (header(60, 0, 0, 0x8002, b"\0"), K::PropertyFlags(0x8002), 502, 1, None),
    ];
    let limits = |depth| Limits { table_depth: depth, ..Limits::default() };
    for (bytes, kind, code, channel, method) in cases {
        let depth = if kind == K::TooDeep { 2 } else { 32 };
        let error = decode(&bytes, &limits(depth)).unwrap_err();
        let got = (error.kind, error.code.number(), error.channel, error.method);
        assert_eq!(got, (kind, code, channel, method), "{bytes:02X?}");
        assert!(error.ends_connection());
        assert!(error.text().starts_with(ReplyCode::from_number(code).unwrap().name()));
    }
}

#[test]
fn eight_bytes_beyond_the_maximum_are_forgiven_and_nine_are_not() {
    let limits = Limits { frame_max: 4096, ..Limits::default() };
    for (payload, accepted) in [(4088, true), (4096, true), (4097, false)] {
        assert_eq!(decode(&framed(3, 1, &vec![0; payload]), &limits).is_ok(), accepted, "{payload}");
    }
    let unlimited = Limits { frame_max: 0, ..Limits::default() };
    assert!(decode(&framed(3, 1, &vec![0; 1 << 20]), &unlimited).unwrap().is_some());
}

#[test]
fn malformed_properties_are_found_when_they_are_looked_at() {
    use tercet_amqp::content::{Properties, Property};
    for (flags, list, kind) in [
        (0x8000, &b"\x05ab"[..], K::Truncated),
        (0x8000, b"\x02\xFF\xFF", K::InvalidUtf8),
        (0x2000, b"\0\0\0\x03\x01aZ", K::FieldType(b'Z')),
        (0x2000, b"\xFF\xFF\xFF\xFF", K::Truncated),
        (0x0040, b"\0\0\0\0", K::Truncated),
        (0x1000, b"", K::Truncated),
    ] {
        let properties = Properties::from_parts(flags, list);
        assert_eq!(properties.validate(32), Err(kind), "{list:?}");
        let property = Property::ALL.into_iter().find(|&property| properties.has(property)).unwrap();
        assert_eq!(properties.get(property).map(drop), Err(kind), "{list:?}");
    }
    assert_eq!(Properties::from_parts(0, b"x").validate(32), Err(K::TrailingBytes));
    assert_eq!(Properties::from_parts(3, b"").validate(32), Err(K::PropertyFlags(3)));
}

#[test]
fn an_error_becomes_the_close_that_answers_it() {
    let error = decode(&declare(b"\x01aZ"), &Limits::default()).unwrap_err();
    let text = error.text();
    assert_eq!(text, "SYNTAX_ERROR - unknown field type 90");
    let close = error.connection_close(&text);
    assert_eq!((close.reply_code, close.class_id, close.method_id), (502, 50, 10));
    let error = decode(&[0], &Limits::default()).unwrap_err();
    let close = error.channel_close("");
    assert_eq!((close.reply_code, close.class_id, close.method_id), (501, 0, 0));
}
