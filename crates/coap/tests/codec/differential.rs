//! The codec against two others: `coap-lite` reads datagrams, `coap-message-implementations` what follows the token.
//!
//! Valid messages and damaged ones are given to both sides. Where both accept, they have to mean the same; where the
//! verdicts differ, the reason has to stand in a list here. Both are laxer than the specification.

use coap_lite::{CoapOption, MessageType, Packet};
use coap_message::{MessageOption, ReadableMessage};
use coap_message_implementations::inmemory;
use proptest::collection::vec;
use proptest::prelude::*;
use tercet_coap::{FormatError, Kind, Limits, Malformed, Message, datagram};

use crate::material;

/// What only this codec refuses.
const fn only_we_refuse(what: FormatError) -> bool {
    matches!(
        what,
        // coap-lite reads version 2, what follows the header of an Empty message, reserved classes, requests in
        // Acknowledgements, and a marker without payload; how to treat them is left to its users.
        FormatError::Version
            | FormatError::NotEmpty
            | FormatError::ReservedCode
            | FormatError::KindAndCode
            | FormatError::EmptyPayload
    )
}

/// What coap-lite refuses and the specification allows: extended lengths and differences of 65,536 and more, which it
/// counts in 16 bits. Generated options are shorter; damaged ones are not long enough.
fn compare_with_coap_lite(data: &[u8]) {
    let theirs = Packet::from_bytes(data);
    match (datagram::decode(data, &Limits { token: 8, ..Limits::protocol() }), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let kind = match theirs.header.get_type() {
                MessageType::Confirmable => Kind::Confirmable,
                MessageType::NonConfirmable => Kind::NonConfirmable,
                MessageType::Acknowledgement => Kind::Acknowledgement,
                MessageType::Reset => Kind::Reset,
            };
            assert_eq!((ours.kind, ours.id), (kind, theirs.header.message_id), "{data:02X?}");
            assert_eq!(ours.message.token, theirs.get_token());
            assert_eq!(ours.message.payload, theirs.payload);
            let options: Vec<(u16, &[u8])> = theirs
                .options()
                .flat_map(|(number, values)| values.iter().map(|value| (*number, value.as_slice())))
                .collect();
            let our_options: Vec<_> = ours.message.options.iter().map(|(n, value)| (n.0, value)).collect();
            assert_eq!(our_options, options, "{data:02X?}");
        }
        (Err(Malformed { what, .. }), Ok(_)) => {
            assert!(only_we_refuse(what), "only we refuse {data:02X?}: {what}")
        }
        (Ok(_), Err(error)) => panic!("only they refuse {data:02X?}: {error:?}"),
        (Err(_), Err(_)) => {}
    }
}

/// The number that they give out for an option that cannot be read.
const INVALID: u16 = 65_535;

fn compare_with_coap_message(code: u8, body: &[u8]) {
    let data = [&[0x40, code, 0, 0], body].concat();
    let theirs = inmemory::Message::new_from_slice(code, body);
    let options: Vec<(u16, Vec<u8>)> =
        theirs.options().map(|option| (option.number(), option.value().to_vec())).collect();
    match datagram::decode(&data, &Limits::protocol()) {
        Ok(ours) => {
            let Message { options: our_options, payload, .. } = ours.message;
            let our_options: Vec<_> = our_options.iter().map(|(n, value)| (n.0, value.to_vec())).collect();
            assert_eq!(our_options, options, "{body:02X?}");
            assert_eq!(payload, theirs.payload());
        }
        // They do not look at the code, take a marker without payload for no payload, and go on behind an error.
        Err(malformed) if only_we_refuse(malformed.what) => {}
        Err(malformed) => {
            assert!(options.iter().any(|option| option.0 == INVALID), "{body:02X?}: {malformed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_mean_the_same((kind, id, message) in material::datagram(), at: prop::sample::Index, byte: u8, change in 0..4u8) {
        let mut data = Vec::new();
        message.encode_datagram(kind, id, &mut data);
        let at = at.index(data.len());
        match change {
            0 => data[at] = byte,
            1 => data.insert(at, byte),
            2 => drop(data.remove(at)),
            _ => {}
        }
        compare_with_coap_lite(&data);
        if let Some(body) = data.get(4 + usize::from(data[0] & 0x0F)..) {
            compare_with_coap_message(data[1], body);
        }
    }

    #[test]
    fn bytes_mean_the_same(data in vec(any::<u8>(), 0..40)) {
        compare_with_coap_lite(&data);
        compare_with_coap_message(1, &data);
    }
}

#[test]
fn they_read_what_we_name() {
    let mut message = tercet_coap::OwnedMessage::new(tercet_coap::Code::PUT);
    message.add(tercet_coap::Number::URI_PATH, b"a").set_uint(tercet_coap::Number::MAX_AGE, 300);
    let mut data = Vec::new();
    message.encode_datagram(Kind::NonConfirmable, 1, &mut data);
    let packet = Packet::from_bytes(&data).unwrap();
    assert_eq!(packet.get_first_option(CoapOption::MaxAge), Some(&vec![1, 44]));
    assert_eq!(packet.to_bytes().unwrap(), data);
}
