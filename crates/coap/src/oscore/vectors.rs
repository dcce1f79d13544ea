//! The examples of RFC 8613 Appendix C, and what must not work.

use alloc::vec;
use alloc::vec::Vec;

use super::crypto::Derivation;
use super::*;
use crate::code::Code;
use crate::datagram;
use crate::limits::Limits;
use crate::message::{Kind, Message, OwnedMessage};
use crate::option::Number;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const SECRET: &str = "0102030405060708090a0b0c0d0e0f10";
const SALT: &str = "9e7ca92223786340";

fn parameters(salt: &str, id_context: Option<&str>, sender_id: &str, recipient_id: &str) -> Parameters {
    Parameters {
        master_salt: hex(salt),
        id_context: id_context.map(hex),
        ..Parameters::new(&hex(SECRET), &hex(sender_id), &hex(recipient_id))
    }
}

fn context(parameters: &Parameters, number: u64) -> Context {
    let mut sequence = Sequence::starting_at(number);
    sequence.grant(number + 100);
    Context::new(parameters, sequence).expect("valid")
}

/// Client and server of C.1, whose next numbers are 20 and 0.
fn pair() -> (Context, Context) {
    (context(&parameters(SALT, None, "", "01"), 20), context(&parameters(SALT, None, "01", ""), 0))
}

fn encoded(message: &OwnedMessage, kind: Kind, id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_datagram(kind, id, &mut bytes);
    bytes
}

#[test]
fn key_derivation() {
    // C.1 to C.3: salt, ID Context, client, server, keys of both, Common IV.
    let cases = [
        (
            SALT,
            None,
            "",
            "f0910ed7295e6ad4b54fc793154302ff",
            "ffb14e093c94c9cac9471648b4f98710",
            "4622d4dd6d944168eefb54987c",
        ),
        (
            "",
            None,
            "00",
            "321b26943253c7ffb6003b0b64d74041",
            "e57b5635815177cd679ab4bcec9d7dda",
            "be35ae297d2dace910c52e99f9",
        ),
        (
            SALT,
            Some("37cbf3210017a2d3"),
            "",
            "af2a1300a5e95788b356336eeecd2b92",
            "e39a0c7c77b43f03b4b39ab9a268699f",
            "2ca58fb85ff1b81c0b7181b85e",
        ),
    ];
    for (salt, id_context, client, client_key, server_key, iv) in cases {
        let (secret, salt, id_context) = (hex(SECRET), hex(salt), id_context.map(hex));
        let derivation = Derivation { secret: &secret, salt: &salt, id_context: id_context.as_deref() };
        assert_eq!(derivation.key(&hex(client)), hex(client_key)[..]);
        assert_eq!(derivation.key(&[1]), hex(server_key)[..]);
        assert_eq!(derivation.common_iv(), hex(iv)[..]);
    }
}

#[test]
fn requests() {
    // C.4 to C.6.
    let cases = [
        (
            parameters(SALT, None, "", "01"),
            "44015d1f00003974396c6f63616c686f737483747631",
            "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e",
        ),
        (
            parameters("", None, "00", "01"),
            "440171c30000b932396c6f63616c686f737483747631",
            "440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0",
        ),
        (
            parameters(SALT, Some("37cbf3210017a2d3"), "", "01"),
            "44012f8eef9bbf7a396c6f63616c686f737483747631",
            "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff72cd7273fd331ac45cffbe55c3",
        ),
    ];
    for (client, plain, protected) in cases {
        let (plain, protected) = (hex(plain), hex(protected));
        let request = datagram::decode(&plain, &Limits::default()).expect("well-formed");
        let (message, _) = context(&client, 20).protect_request(&request.message).expect("protected");
        assert_eq!(encoded(&message, request.kind, request.id), protected);

        let server = Parameters {
            sender_id: vec![1],
            recipient_ids: vec![client.sender_id.clone()],
            ..client.clone()
        };
        let received = datagram::decode(&protected, &Limits::default()).expect("well-formed");
        match context(&server, 0).unprotect_request(&received.message) {
            Ok(Request::Fresh(message, _)) => {
                assert_eq!(encoded(&message, received.kind, received.id), plain)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn responses() {
    // C.7 and C.8: with the nonce of the request, and with a sequence number.
    let (mut client, mut server) = pair();
    let request = hex("44015d1f00003974396c6f63616c686f737483747631");
    let request = datagram::decode(&request, &Limits::default()).expect("well-formed");
    let (protected, mut asked) = client.protect_request(&request.message).expect("protected");
    let Ok(Request::Fresh(_, mut answering)) = server.unprotect_request(&protected.as_message()) else {
        panic!("not read")
    };
    let plain = hex("64455d1f00003974ff48656c6c6f20576f726c6421");
    let response = datagram::decode(&plain, &Limits::default()).expect("well-formed");
    let expected = [
        "64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106",
        "64445d1f00003974920100ff4d4c13669384b67354b2b6175ff4b8658c666a6cf88e",
    ];
    for expected in expected {
        let message = server.protect_response(&mut answering, &response.message).expect("protected");
        assert_eq!(encoded(&message, Kind::Acknowledgement, response.id), hex(expected));
        let read = client.unprotect_response(&mut asked, &message.as_message()).expect("read");
        assert_eq!(encoded(&read, Kind::Acknowledgement, response.id), plain);
    }
}

fn get(path: &str) -> OwnedMessage {
    let mut request = OwnedMessage::new(Code::GET);
    request.add(Number::URI_PATH, path.as_bytes());
    request
}

/// A request of the client, as the server reads it.
fn read(server: &mut Context, message: &OwnedMessage) -> Result<Request, UnprotectError> {
    server.unprotect_request(&message.as_message())
}

#[test]
fn a_request_is_taken_once() {
    let (mut client, mut server) = pair();
    let (first, _) = client.protect_request(&get("a").as_message()).expect("protected");
    let (second, _) = client.protect_request(&get("a").as_message()).expect("protected");
    for message in [&second, &first] {
        assert!(matches!(read(&mut server, message), Ok(Request::Fresh(..))));
        assert_eq!(read(&mut server, message).map(drop), Err(UnprotectError::Replay));
    }
    let answer = UnprotectError::Replay.response(&second.token);
    assert_eq!(
        (answer.code, answer.options.as_options().uint(Number::MAX_AGE)),
        (Code::UNAUTHORIZED, Some(0))
    );
}

#[test]
fn nobody_without_the_key_moves_the_window() {
    let (mut client, mut server) = pair();
    let (genuine, _) = client.protect_request(&get("a").as_message()).expect("protected");
    // The highest number that is looked at, the same as the genuine one, and the one that is never used.
    for (number, error) in [
        (hex("05 fffffffffe"), UnprotectError::Decryption),
        (hex("01 14"), UnprotectError::Decryption),
        (hex("05 ffffffffff"), UnprotectError::Replay),
    ] {
        let mut forged = genuine.clone();
        let value = [&[0x08 | number[0]], &number[1..]].concat();
        forged.set(Number::OSCORE, &value);
        forged.payload[0] ^= 1;
        assert_eq!(read(&mut server, &forged).map(drop), Err(error));
    }
    assert!(matches!(read(&mut server, &genuine), Ok(Request::Fresh(..))));
}

#[test]
fn what_cannot_be_read() {
    let (mut client, _) = pair();
    let (genuine, _) = client.protect_request(&get("a").as_message()).expect("protected");
    let with = |value: &[u8]| {
        let mut message = genuine.clone();
        message.set(Number::OSCORE, value);
        message
    };
    let cases = [
        (get("a"), UnprotectError::Cose),
        (with(&[]), UnprotectError::Cose),
        (with(&[0x01, 0x14]), UnprotectError::Cose),
        (with(&[0x08]), UnprotectError::Cose),
        (with(&[0x0E, 1, 2, 3, 4, 5, 6]), UnprotectError::Cose),
        (with(&[0x19, 0x14, 0xFF]), UnprotectError::Cose),
        (with(&[0x09, 0x14, 0x77]), UnprotectError::NoContext),
        (with(&[0x19, 0x14, 0x01, 0x55]), UnprotectError::NoContext),
        (OwnedMessage { payload: vec![0; 8], ..genuine.clone() }, UnprotectError::Decryption),
        (OwnedMessage { payload: vec![], ..genuine.clone() }, UnprotectError::Decryption),
        (
            OwnedMessage { payload: genuine.payload[1..].to_vec(), ..genuine.clone() },
            UnprotectError::Decryption,
        ),
    ];
    for (message, error) in cases {
        let (_, mut server) = pair();
        assert_eq!(read(&mut server, &message).map(drop), Err(error), "{message:?}");
    }
    let codes =
        [UnprotectError::Cose, UnprotectError::NoContext, UnprotectError::Replay, UnprotectError::Decryption]
            .map(|error| (error.code(), error.response(&genuine.token).payload));
    assert_eq!(codes[0], (Code::BAD_OPTION, b"Failed to decode COSE".to_vec()));
    assert_eq!(codes[1], (Code::UNAUTHORIZED, b"Security context not found".to_vec()));
    assert_eq!(codes[2], (Code::UNAUTHORIZED, b"Replay detected".to_vec()));
    assert_eq!(codes[3], (Code::BAD_REQUEST, b"Decryption failed".to_vec()));
}

#[test]
fn options_go_where_they_belong() {
    let (mut client, mut server) = pair();
    let mut request = OwnedMessage::new(Code::PUT);
    request.add(Number::PROXY_URI, b"coap://[2001:db8::1]:61616/secret/path?query");
    request.set_uint(Number::HOP_LIMIT, 5).set_uint(Number::BLOCK1, 0x0E).add(Number(2000), b"unknown");
    request.payload = b"payload".to_vec();
    let (mut protected, _) = client.protect_request(&request.as_message()).expect("protected");
    let outside: Vec<u16> = protected.options.as_options().iter().map(|(number, _)| number.0).collect();
    assert_eq!((protected.code, outside), (Code::POST, vec![3, 7, 9, 16, 39]));
    // What a proxy adds outside and belongs inside is dropped.
    protected.add(Number::URI_PATH, b"forged").set_uint(Number::BLOCK1, 0x0E).set_uint(Number::HOP_LIMIT, 4);
    let Ok(Request::Fresh(read, _)) = read(&mut server, &protected) else { panic!("not read") };
    let mut expected = OwnedMessage::new(Code::PUT);
    expected.add(Number::URI_HOST, b"[2001:db8::1]").set_uint(Number::URI_PORT, 61616);
    expected.add(Number::URI_PATH, b"secret").add(Number::URI_PATH, b"path").add(Number::URI_QUERY, b"query");
    expected.set_uint(Number::HOP_LIMIT, 4).set_uint(Number::BLOCK1, 0x0E).add(Number::PROXY_SCHEME, b"coap");
    expected.add(Number(2000), b"unknown");
    expected.payload = b"payload".to_vec();
    assert_eq!(read, expected);
    // Nothing is protected twice.
    assert_eq!(client.protect_request(&protected.as_message()).map(drop), Err(ProtectError::Message));
}

/// A client observes; what the server reads and the exchanges of both.
fn observation(client: &mut Context, server: &mut Context) -> (OwnedMessage, Exchange, Exchange) {
    let mut request = get("a");
    request.set_uint(Number::OBSERVE, 0);
    let (protected, asked) = client.protect_request(&request.as_message()).expect("protected");
    assert_eq!(protected.code, Code::FETCH);
    assert!(protected.options.as_options().contains(Number::OBSERVE));
    match read(server, &protected) {
        Ok(Request::Fresh(read, answering)) => (read, asked, answering),
        other => panic!("{other:?}"),
    }
}

#[test]
fn notifications_are_ordered_and_taken_once() {
    let (mut client, mut server) = pair();
    let (request, mut asked, mut answering) = observation(&mut client, &mut server);
    assert_eq!(request.options.as_options().uint(Number::OBSERVE), Some(0));
    let mut notification = OwnedMessage::new(Code::CONTENT);
    let mut sent = Vec::new();
    for number in [100, 101, 102] {
        notification.set_uint(Number::OBSERVE, number).payload = vec![number as u8];
        let protected =
            server.protect_response(&mut answering, &notification.as_message()).expect("protected");
        assert_eq!(
            (protected.code, protected.options.as_options().uint(Number::OBSERVE)),
            (Code::CONTENT, Some(number))
        );
        sent.push(protected);
    }
    let mut receive = |message: &OwnedMessage| client.unprotect_response(&mut asked, &message.as_message());
    let first = receive(&sent[0]).expect("read");
    assert_eq!((first.options.as_options().uint(Number::OBSERVE), &first.payload[..]), (Some(0), &[100][..]));
    assert_eq!(receive(&sent[2]).expect("read").options.as_options().uint(Number::OBSERVE), Some(2));
    assert_eq!(receive(&sent[1]), Err(UnprotectError::Replay));
    assert_eq!(receive(&sent[2]), Err(UnprotectError::Replay));
}

#[test]
fn a_proxy_may_take_observation_off() {
    let (mut client, mut server) = pair();
    let mut request = get("a");
    request.set_uint(Number::OBSERVE, 0);
    let (mut protected, _) = client.protect_request(&request.as_message()).expect("protected");
    protected.remove(Number::OBSERVE);
    let Ok(Request::Fresh(read, _)) = read(&mut server, &protected) else { panic!("not read") };
    assert!(!read.options.as_options().contains(Number::OBSERVE));
}

#[test]
fn a_response_belongs_to_its_request() {
    let (mut client, mut server) = pair();
    let (one, _) = client.protect_request(&get("a").as_message()).expect("protected");
    let (_, mut other) = client.protect_request(&get("b").as_message()).expect("protected");
    let Ok(Request::Fresh(_, mut answering)) = read(&mut server, &one) else { panic!("not read") };
    for _ in 0..2 {
        let answer =
            server.protect_response(&mut answering, &Message::new(Code::CONTENT)).expect("protected");
        let read = client.unprotect_response(&mut other, &answer.as_message());
        assert_eq!(read, Err(UnprotectError::Decryption));
    }
}

#[test]
fn after_a_restart_the_first_request_is_challenged() {
    let (mut client, mut server) = pair();
    server.after_restart(*b"echoecho");
    let (old, mut asked) = client.protect_request(&get("a").as_message()).expect("protected");
    let mut echo = None;
    // Twice the same: neither is processed, and no nonce is used twice.
    for _ in 0..2 {
        let Ok(Request::Challenge(challenge)) = read(&mut server, &old) else { panic!("not challenged") };
        assert!(!challenge.options.as_options().get(Number::OSCORE).expect("there").is_empty());
        let challenge = client.unprotect_response(&mut asked, &challenge.as_message()).expect("read");
        assert_eq!(challenge.code, Code::UNAUTHORIZED);
        echo = challenge.options.as_options().get(Number::ECHO).map(<[u8]>::to_vec);
    }
    let mut again = get("a");
    again.set(Number::ECHO, &echo.expect("an Echo"));
    let (fresh, _) = client.protect_request(&again.as_message()).expect("protected");
    assert!(matches!(read(&mut server, &fresh), Ok(Request::Fresh(..))));
    assert_eq!(read(&mut server, &old).map(drop), Err(UnprotectError::Replay));
    assert_eq!(read(&mut server, &fresh).map(drop), Err(UnprotectError::Replay));
    let (next, _) = client.protect_request(&get("a").as_message()).expect("protected");
    assert!(matches!(read(&mut server, &next), Ok(Request::Fresh(..))));
}

#[test]
fn a_second_exchange_does_not_use_the_nonce_of_the_request() {
    let (mut client, mut server) = pair();
    let (protected, mut asked) = client.protect_request(&get("a").as_message()).expect("protected");
    let Ok(Request::Fresh(_, answering)) = read(&mut server, &protected) else { panic!("not read") };
    let answer = server
        .protect_response(&mut answering.for_notifications(), &Message::new(Code::CONTENT))
        .expect("protected");
    assert_eq!(answer.options.as_options().get(Number::OSCORE), Some(&[1, 0][..]));
    assert!(client.unprotect_response(&mut asked, &answer.as_message()).is_ok());
}

#[test]
fn keys_have_names_of_their_own() {
    let name = |parameters: &Parameters| *context(parameters, 0).key_name();
    let (client, server) = (parameters(SALT, None, "", "01"), parameters(SALT, None, "01", ""));
    let others = [server, parameters("", None, "", "01"), parameters(SALT, Some("01"), "", "01")];
    assert_eq!(name(&client), name(&client.clone()));
    assert!(others.iter().all(|other| name(other) != name(&client)));
}

#[test]
fn nothing_is_sent_without_a_sequence_number() {
    let (mut client, mut server) = pair();
    let (_, _, mut answering) = observation(&mut client, &mut server);
    server.sequence = Sequence::starting_at(50);
    let mut notification = OwnedMessage::new(Code::CONTENT);
    notification.set_uint(Number::OBSERVE, 1);
    let protect = |server: &mut Context, answering: &mut Exchange| {
        server.protect_response(answering, &notification.as_message()).map(drop)
    };
    assert_eq!(protect(&mut server, &mut answering), Err(ProtectError::NotReserved));
    server.sequence.grant(51);
    assert_eq!(protect(&mut server, &mut answering), Ok(()));
    client.sequence = Sequence::starting_at(SEQUENCE_END);
    assert_eq!(client.protect_request(&get("a").as_message()).map(drop), Err(ProtectError::Exhausted));
}

#[test]
fn contexts_that_make_no_sense() {
    let new = |change: &dyn Fn(&mut Parameters)| {
        let mut parameters = parameters(SALT, None, "", "01");
        change(&mut parameters);
        Context::new(&parameters, Sequence::volatile()).map(drop)
    };
    assert_eq!(new(&|_| {}), Ok(()));
    assert_eq!(new(&|p| p.master_secret.clear()), Err(ParametersError::NoSecret));
    assert_eq!(new(&|p| p.recipient_ids.clear()), Err(ParametersError::NoRecipient));
    assert_eq!(new(&|p| p.sender_id = vec![1]), Err(ParametersError::SameId));
    assert_eq!(new(&|p| p.recipient_ids.push(vec![1])), Err(ParametersError::SameId));
    assert_eq!(new(&|p| p.sender_id = vec![0; 8]), Err(ParametersError::IdTooLong));
    assert_eq!(new(&|p| p.id_context = Some(vec![0; 256])), Err(ParametersError::IdContextTooLong));
    assert_eq!(new(&|p| p.replay_window = 65), Err(ParametersError::Window));
    let shown = alloc::format!("{:?}", parameters(SALT, None, "", "01"));
    assert!(!shown.contains("secret"), "{shown}");
}
