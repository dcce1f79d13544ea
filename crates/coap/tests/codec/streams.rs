//! Frames that break a rule, and signals (RFC 8323).

use tercet_coap::stream::{AbortReason, Connection, Error, Received, Signal, decode, decode_websocket};
use tercet_coap::{FormatError as F, Limits, Message};

use crate::malformed::bytes;

#[test]
fn malformed_frames() {
    let limits = Limits { message: 2000, ..Limits::default() };
    let cases = [
        // Announced lengths are judged before anything arrives.
        ("F0 FFFFFFFF 01", Error::TooLarge),
        ("E0 FFFF", Error::TooLarge),
        ("E0 06C4", Error::TooLarge),
        ("09 01", F::TokenLength.into()),
        ("0D 01 00", F::TokenLength.into()),
        ("0F 01", F::TokenLength.into()),
        ("00 20", F::ReservedCode.into()),
        ("00 C0", F::ReservedCode.into()),
        ("10 01 FF", F::EmptyPayload.into()),
        ("10 01 F0", F::OptionDelta.into()),
        ("10 01 0F", F::OptionLength.into()),
        ("10 01 B1", F::OptionTruncated.into()),
        ("30 01 E0FFFF", F::OptionNumber.into()),
        ("10 E1 11", F::OptionTruncated.into()),
    ];
    for (hex, error) in cases {
        assert_eq!(decode(&bytes(hex), &limits), Err(error), "{hex}");
    }
    let cases = [
        ("", F::Truncated.into()),
        ("00", F::Truncated.into()),
        ("10 01 60", F::FrameLength.into()),
        ("01 01", F::Truncated.into()),
        ("0F 01", F::TokenLength.into()),
        ("00 01 FF", F::EmptyPayload.into()),
    ];
    for (hex, error) in cases {
        assert_eq!(decode_websocket(&bytes(hex), &limits), Err(error), "{hex}");
    }
    assert_eq!(decode_websocket(&[0; 2001], &limits), Err(Error::TooLarge));
}

#[test]
fn empty_frames_are_ignored_whatever_they_hold() {
    // RFC 8323 §3.4.
    for hex in ["00 00", "20 00 FFFF", "01 00 55"] {
        let data = bytes(hex);
        let (message, used) = decode(&data, &Limits::default()).unwrap().unwrap();
        assert_eq!((message, used), (Message::new(tercet_coap::Code::EMPTY), data.len()), "{hex}");
    }
}

/// Gives frames to a connection, one after the other, and tells what the last one comes to.
fn receive(frames: &[&str], check: impl FnOnce(Received<'_>, &Connection)) {
    let mut connection = Connection::new();
    let (last, before) = frames.split_last().unwrap();
    let data: Vec<u8> = before.iter().flat_map(|hex| bytes(hex)).collect();
    let mut rest = &data[..];
    while let Some((message, used)) = decode(rest, &Limits::protocol()).unwrap() {
        connection.receive(&message);
        rest = &rest[used..];
    }
    let data = bytes(last);
    let (message, _) = decode(&data, &Limits::protocol()).unwrap().unwrap();
    let received = connection.receive(&message);
    check(received, &connection);
}

#[test]
fn settings() {
    // Nothing said: 1,152 bytes, no blocks.
    receive(&["00 E1"], |received, connection| {
        assert_eq!(received, Received::Nothing);
        assert_eq!((connection.max_message_size(), connection.is_bert()), (1152, false));
    });
    receive(&["40 E1 22 2000 20"], |_, connection| {
        assert!(connection.is_ready() && connection.is_block_wise() && connection.is_bert());
        assert_eq!((connection.max_message_size(), connection.max_token()), (8192, 8));
    });
    // A later CSM changes only what it names.
    receive(&["40 E1 22 2000 20", "20 E1 61 40"], |_, connection| {
        assert_eq!((connection.max_message_size(), connection.max_token()), (8192, 64));
        assert!(connection.is_block_wise());
    });
    receive(&["10 E1 20"], |_, connection| assert_eq!(connection.max_message_size(), 0));
}

#[test]
fn what_ends_a_connection() {
    let aborts = |frames: &[&str], reason: AbortReason| {
        receive(frames, |received, _| assert_eq!(received, Received::Abort(reason), "{frames:?}"));
    };
    let no_csm = AbortReason::Diagnostic("the first message has to be a CSM");
    for first in ["00 01", "00 45", "00 E2", "00 E4", "00 E7", "00 00"] {
        aborts(&[first], no_csm);
    }
    aborts(&["10 E1 10"], AbortReason::BadCsmOption(1));
    aborts(&["00 E1", "10 E1 30"], AbortReason::BadCsmOption(3));
    let critical = AbortReason::Diagnostic("critical option of a signal not understood");
    aborts(&["00 E1", "10 E2 10"], critical);
    aborts(&["00 E1", "10 E7 70"], AbortReason::Diagnostic("critical option of a signal not understood"));
    // An Abort may come first.
    receive(&["20 E5 21 09"], |received, _| assert!(matches!(received, Received::Aborted { .. })));
}

#[test]
fn signals_of_a_connection() {
    receive(&["00 E1", "12 E2 AABB 20"], |received, _| {
        assert_eq!(received, Received::Ping { token: &[0xAA, 0xBB], custody: true });
    });
    receive(&["00 E1", "00 E3"], |received, _| {
        assert_eq!(received, Received::Pong { token: &[], custody: false });
    });
    receive(&["00 E1", "60 E4 23 782E79 21 0A"], |received, _| {
        assert_eq!(received, Received::Release { alternative: Some("x.y"), hold_off: Some(10) });
    });
    receive(&["00 E1", "40 E5 21 09 FF41"], |received, _| {
        assert_eq!(received, Received::Aborted { bad_csm_option: Some(9), diagnostic: b"A" });
    });
    // RFC 8323 §5.2: unknown signals are ignored.
    receive(&["00 E1", "00 E9"], |received, _| assert_eq!(received, Received::Nothing));
    // An elective option of a wrong length is not there.
    receive(&["00 E1", "20 E2 21 00"], |received, _| {
        assert_eq!(received, Received::Ping { token: &[], custody: false });
    });
}

#[test]
fn signals_are_written_in_their_shortest_form() {
    let mut frame = Vec::new();
    Signal::Csm { max_message_size: 8192, block_wise: true, token: 8 }.encode_stream(&[], &mut frame);
    assert_eq!(frame, bytes("40 E1 22 2000 20"));
    frame.clear();
    Signal::from(AbortReason::BadCsmOption(9)).encode_websocket(&[], &mut frame);
    assert_eq!(frame, bytes("00 E5 21 09"));
}
