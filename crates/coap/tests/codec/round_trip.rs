//! What is written is read again, and any bytes are read or refused.

use proptest::collection::vec;
use proptest::prelude::*;
use tercet_coap::stream::{decode as decode_stream, decode_websocket};
use tercet_coap::{Code, Datagram, Kind, Limits, Message, Writer, datagram};

use crate::{fuzz_bodies, material};

/// Changes, insertions and removals of single bytes.
fn damage(mut bytes: Vec<u8>, changes: Vec<(prop::sample::Index, u8, u8)>) -> Vec<u8> {
    for (index, byte, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = index.index(bytes.len());
        match change {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn datagrams((kind, id, message) in material::datagram()) {
        let mut bytes = Vec::new();
        message.encode_datagram(kind, id, &mut bytes);
        let expected = Datagram { kind, id, message: message.as_message() };
        prop_assert_eq!(datagram::decode(&bytes, &Limits::protocol()), Ok(expected));
        // Option by option comes to the same.
        let mut again = Vec::new();
        let mut writer = Writer::datagram(&mut again, kind, id, message.code, &message.token);
        for (number, value) in message.options.as_options() {
            writer.option(number, value);
        }
        writer.payload(&message.payload).payload(b"");
        writer.finish();
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn frames(message in material::message()) {
        let mut bytes = b"before".to_vec();
        message.encode_stream(&mut bytes);
        let frame = &bytes[6..];
        let expected = Ok(Some((message.as_message(), frame.len())));
        prop_assert_eq!(decode_stream(frame, &Limits::protocol()), expected);
        for cut in 0..frame.len() {
            prop_assert_eq!(decode_stream(&frame[..cut], &Limits::protocol()), Ok(None), "{} bytes", cut);
        }
        let mut bytes = Vec::new();
        message.encode_websocket(&mut bytes);
        prop_assert_eq!(decode_websocket(&bytes, &Limits::protocol()), Ok(message.as_message()));
    }

    #[test]
    fn arbitrary_bytes_pass(bytes in vec(any::<u8>(), 0..80)) {
        fuzz_bodies::check_message(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_pass(first in 0x40..0x50u8, code: u8, bytes in vec(any::<u8>(), 0..80)) {
        fuzz_bodies::check_message(&[&[first, code, 0, 1], &bytes[..]].concat());
    }

    #[test]
    fn damaged_messages_pass((kind, id, message) in material::datagram(), changes in changes()) {
        let mut bytes = Vec::new();
        message.encode_datagram(kind, id, &mut bytes);
        fuzz_bodies::check_message(&damage(bytes, changes.clone()));
        let mut bytes = Vec::new();
        message.encode_stream(&mut bytes);
        fuzz_bodies::check_message(&damage(bytes, changes));
    }

    #[test]
    fn arbitrary_texts_pass(text in "(coaps?(\\+tcp|\\+ws)?://)?[a-z0-9.:\\[\\]%/?&=#@<>;,\"\\\\* ]{0,40}") {
        fuzz_bodies::check_text(text.as_bytes());
    }

    #[test]
    fn arbitrary_measurements_pass(text in "\\[(\\{\"(v|vs|bn|t|vb|x|n_)\":([0-9.eE+-]{1,6}|\"[a-z\\\\u0-9]{0,6}\"|true|\\[1\\])\\},?){0,4}\\]") {
        fuzz_bodies::check_text(text.as_bytes());
    }
}

#[test]
fn the_largest_frame_parts() {
    // RFC 8323 §3.2: the edges of the length's extensions.
    for len in [0, 1, 11, 12, 13, 267, 268, 269, 270, 65_803, 65_804, 65_805, 70_000] {
        let mut bytes = Vec::new();
        let payload = vec![7; len];
        Writer::stream(&mut bytes, Code::CONTENT, b"tk").payload(&payload);
        let expected = Message { token: b"tk", payload: &payload, ..Message::new(Code::CONTENT) };
        assert_eq!(decode_stream(&bytes, &Limits::protocol()), Ok(Some((expected, bytes.len()))), "{len}");
    }
}

#[test]
fn empty_messages() {
    for kind in [Kind::Confirmable, Kind::Acknowledgement, Kind::Reset] {
        let mut bytes = Vec::new();
        Writer::datagram(&mut bytes, kind, 7, Code::EMPTY, b"").finish();
        assert_eq!(bytes.len(), 4);
        let expected = Datagram { kind, id: 7, message: Message::new(Code::EMPTY) };
        assert_eq!(datagram::decode(&bytes, &Limits::default()), Ok(expected));
    }
}
