//! What the fuzz targets do with their input. The same functions run over generated and random bytes in every
//! `cargo test`, so that they cannot rot.

use tercet_coap::link_format::{self, Filter};
use tercet_coap::option::Judgement;
use tercet_coap::oscore::{Context, Header, Parameters, Request, Sequence, parse_conf};
use tercet_coap::problem::Problem;
use tercet_coap::senml::Pack;
use tercet_coap::stream::{self, Connection, Signal};
use tercet_coap::uri::{Uri, parse_path_and_query};
use tercet_coap::{
    ContentFormat, Kind, Limits, Message, Number, OptionBuf, Options, OwnedMessage, Reaction, datagram,
};

/// Reads `data` as a datagram, as frames of a stream and as a WebSocket message.
pub(crate) fn check_message(data: &[u8]) {
    let extended = Limits { token: 64, ..Limits::default() };
    for limits in [Limits::default(), extended, Limits::protocol()] {
        check_datagram(data, &limits);
        check_stream(data, &limits);
        if let Ok(message) = stream::decode_websocket(data, &limits) {
            check_content(&message, &limits);
        }
    }
}

fn check_datagram(data: &[u8], limits: &Limits) {
    match datagram::decode(data, limits) {
        Ok(decoded) => {
            check_content(&decoded.message, limits);
            let mut again = Vec::new();
            OwnedMessage::from_message(&decoded.message).encode_datagram(
                decoded.kind,
                decoded.id,
                &mut again,
            );
            assert!(again.len() <= data.len(), "the shortest form is never longer");
            assert_eq!(datagram::decode(&again, &Limits::protocol()), Ok(decoded));
        }
        Err(malformed) => {
            // RFC 7252 §4.2: nothing but a Confirmable message of version 1 is ever answered.
            let confirmable = data.len() >= 4 && data[0] & 0xF0 == 0x40;
            assert_eq!(malformed.kind == Some(Kind::Confirmable), confirmable);
            match malformed.reaction() {
                Reaction::Silence => assert!(!confirmable),
                Reaction::Reset(id) => {
                    assert!(confirmable);
                    assert_eq!(id.to_be_bytes(), data[2..4]);
                }
            }
            assert!(!malformed.to_string().is_empty());
        }
    }
}

fn check_stream(data: &[u8], limits: &Limits) {
    let mut connection = Connection::new();
    let mut rest = data;
    loop {
        match stream::decode(rest, limits) {
            Ok(Some((message, used))) => {
                assert!(used >= 2 && used <= rest.len());
                assert!(used <= limits.message);
                for cut in 0..used.min(16) {
                    assert_eq!(stream::decode(&rest[..cut], limits), Ok(None));
                }
                check_content(&message, limits);
                check_signal(&message);
                let _ = connection.receive(&message);
                assert!(connection.max_token() >= 8);
                rest = &rest[used..];
            }
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
}

fn check_signal(message: &Message<'_>) {
    let Ok(signal) = Signal::read(message) else { return };
    let mut frame = Vec::new();
    signal.encode_stream(message.token, &mut frame);
    let (again, _) = stream::decode(&frame, &Limits::protocol()).expect("written").expect("complete");
    assert_eq!(again.token, message.token);
    assert_eq!(Signal::read(&again), Ok(signal));
}

fn check_content(message: &Message<'_>, limits: &Limits) {
    let options = message.options;
    assert_eq!(Options::new(options.as_bytes()), Ok(options));
    assert!(options.as_bytes().len() <= limits.options);
    assert!(options.iter().map(|(number, _)| number).is_sorted());
    let buffer = OptionBuf::from_options(options);
    assert!(options.iter().eq(buffer.as_options().iter()));
    // However they are added, they end up in the same order.
    let mut reversed: Vec<_> = options.iter().collect();
    reversed.sort_by_key(|&(number, _)| core::cmp::Reverse(number));
    let rebuilt: OptionBuf = reversed.into_iter().collect();
    assert!(rebuilt.as_options().iter().eq(options.iter()));
    for (number, _) in options {
        let all = options.all(number).count();
        if let Some(definition) = number.definition() {
            assert!(definition.repeatable || all <= 1);
            assert!(options.all(number).all(|value| definition.allows_len(value.len())));
        } else {
            assert!(all > 0);
        }
    }
    if let Some(value) = options.get(Number::OSCORE) {
        check_oscore(message, value);
    }
    if let Judgement::BadOption(number) = options.judge() {
        assert!(number.is_critical());
        assert!(options.iter().any(|(other, _)| other == number));
    }
    if let Some(format) = options.uint(Number::CONTENT_FORMAT) {
        assert!(!ContentFormat(format as u16).to_string().is_empty());
    }
}

/// Nobody without the key gets anything past OSCORE, and nothing that is tried stops those who have it.
fn check_oscore(message: &Message<'_>, value: &[u8]) {
    let pair = |one: &[u8], other: &[u8]| {
        Context::new(&Parameters::new(b"secret", one, other), Sequence::volatile()).expect("valid")
    };
    let kid =
        Header::decode(value).ok().and_then(|header| header.kid).filter(|kid| kid.len() <= 7 && *kid != b"S");
    let kid = kid.unwrap_or(b"C");
    let (mut client, mut server) = (pair(kid, b"S"), pair(b"S", kid));
    let error = server.unprotect_request(message).expect_err("forged");
    assert!(error.code().is_response());
    let (genuine, mut exchange) =
        client.protect_request(&Message::new(tercet_coap::Code::GET)).expect("protected");
    assert!(client.unprotect_response(&mut exchange, message).is_err());
    assert!(matches!(server.unprotect_request(&genuine.as_message()), Ok(Request::Fresh(..))));
}

/// Takes `data` for a URI, links, a filter, measurements, problem details and contexts of OSCORE.
pub(crate) fn check_text(data: &[u8]) {
    if let Ok(pack) = Pack::from_cbor(data, 100) {
        check_pack(&pack);
    }
    if let Ok(problem) = Problem::decode(data) {
        let mut again = Vec::new();
        problem.encode(&mut again);
        assert_eq!(Problem::decode(&again), Ok(problem));
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(uri) = text.parse::<Uri>() {
        assert_eq!(uri.to_string().parse(), Ok(uri.clone()), "{text}");
        let mut options = OptionBuf::new();
        uri.add_to(&mut options);
        assert_eq!(options.as_options().judge(), Judgement::Acceptable);
        assert!(options.as_options().all(Number::URI_PATH).count() == uri.path.len());
    }
    if let Ok((path, query)) = parse_path_and_query(text) {
        assert!(path.iter().chain(&query).all(|part| part.len() <= 255));
        assert!(!path.iter().any(|segment| segment == "." || segment == ".."));
    }
    match parse_conf(text) {
        Ok(contexts) => {
            for parameters in contexts {
                assert!(Context::new(&parameters, Sequence::volatile()).is_ok());
            }
        }
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line), "{error}"),
    }
    if let Ok(links) = link_format::parse(text) {
        let mut written = String::new();
        link_format::write(&links, &mut written);
        assert_eq!(link_format::parse(&written).as_ref(), Ok(&links), "{written}");
        let filter = Filter::new(["rt=core.*", text]);
        assert!(links.iter().filter(|link| filter.matches(link)).count() <= links.len());
    }
    if let Ok(pack) = Pack::from_json(text, 100) {
        check_pack(&pack);
    }
    assert!(ContentFormat::from_media_type(text).is_none_or(|format| format.media_type().is_some()));
}

fn check_pack(pack: &Pack) {
    assert_eq!(Pack::from_json(&pack.to_json(), 100).as_ref(), Ok(pack));
    assert_eq!(Pack::from_cbor(&pack.to_cbor(), 100).as_ref(), Ok(pack));
    if let Ok(resolved) = pack.resolve(2e9) {
        assert!(resolved.records.iter().all(|record| record.name.is_some() && record.base_name.is_none()));
    }
}
