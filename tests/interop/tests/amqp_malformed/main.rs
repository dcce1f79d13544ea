//! Every malformed shape of AMQP gets its answer: one table against one broker, many cases at a time. After each case
//! another connection must still get a message through.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod bounds;
mod wire;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tercet_interop::Broker;

use crate::wire::{
    Close, HEADER, Wire, frame, header, long, method, open, publish, short, start_ok, tune_ok,
};

/// How far a connection has come when the bytes of a case are sent.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Fresh,
    Started,
    Authenticated,
    Opened,
    Channel,
}

/// What answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// connection.close with code, class and method.
    Closed(Close),
    /// channel.close of channel 1; the connection goes on.
    ChannelClosed(Close),
    /// The protocol header, then the end.
    Header,
    /// The end, without a word.
    Silence,
    /// Nothing: channel 1 goes on.
    Nothing,
}

use Answer::{ChannelClosed, Closed, Header, Nothing, Silence};

struct Case {
    name: &'static str,
    stage: Stage,
    bytes: Vec<u8>,
    answer: Answer,
}

fn case(name: &'static str, stage: Stage, bytes: impl Into<Vec<u8>>, answer: Answer) -> Case {
    Case { name, stage, bytes: bytes.into(), answer }
}

fn declare(arguments: &[u8]) -> Vec<u8> {
    method(1, 50, 10, &[&[0, 0][..], &short("q"), &[0], arguments].concat())
}

/// Tables in tables, this many of them.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| [&b"\x01tF"[..], &long(&inner)].concat())
}

fn strangers() -> Vec<Case> {
    use Stage::{Authenticated, Fresh, Started};
    let big = frame(1, 0, &vec![0; 9000]);
    vec![
        case("a later version", Fresh, *b"AMQP\x00\x01\x00\x00", Header),
        case("AMQP 1.0 with SASL", Fresh, *b"AMQP\x03\x01\x00\x00", Header),
        case("HTTP", Fresh, *b"GET / HTTP/1.1\r\n\r\n", Header),
        case("TLS", Fresh, *b"\x16\x03\x01\x00\xa5\x01\x00\x00", Header),
        case("noise", Fresh, *b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", Header),
        case("a frame before the protocol header", Fresh, open("/"), Header),
        case("an unknown mechanism", Started, start_ok("CRAM-MD5", b"x"), Silence),
        case("a malformed response", Started, start_ok("PLAIN", b"guest"), Silence),
        case("a response that is no table", Started, start_ok("AMQPLAIN", b"\x05LOGIN"), Silence),
        case("a wrong password", Started, start_ok("PLAIN", b"\0guest\0wrong"), Closed((403, 0, 0))),
        case("an unknown user", Started, start_ok("PLAIN", b"\0nobody\0x"), Closed((403, 0, 0))),
        case("open before start-ok", Started, open("/"), Silence),
        case("a channel before start-ok", Started, method(1, 20, 10, &[0]), Silence),
        case("content before start-ok", Started, header(1, 60, 5, &[0, 0]), Silence),
        case("a large frame before authentication", Started, big, Silence),
        case(
            "a frame without end before authentication",
            Started,
            *b"\x01\x00\x00\x00\x00\x00\x00\xff",
            Silence,
        ),
        case("a second start-ok", Authenticated, start_ok("PLAIN", b"\0guest\0guest"), Silence),
        case("open before tune-ok", Authenticated, open("/"), Silence),
        case("no limit of channels", Authenticated, tune_ok(0, 131_072, 0), Closed((530, 10, 31))),
        case("more channels than offered", Authenticated, tune_ok(2048, 131_072, 0), Closed((530, 10, 31))),
        case("frames without limit", Authenticated, tune_ok(10, 0, 0), Closed((530, 10, 31))),
        case("tiny frames", Authenticated, tune_ok(10, 4095, 0), Closed((530, 10, 31))),
        case(
            "no such virtual host",
            Authenticated,
            [tune_ok(10, 131_072, 0), open("nowhere")].concat(),
            Closed((530, 10, 40)),
        ),
        case(
            "a channel before open",
            Authenticated,
            [tune_ok(10, 131_072, 0), method(1, 20, 10, &[0])].concat(),
            Silence,
        ),
    ]
}

fn frames() -> Vec<Case> {
    use Stage::{Channel, Opened};
    let end = |byte: u8| {
        let mut bytes = method(1, 60, 10, &[0, 0, 0, 0, 0, 1, 0]);
        *bytes.last_mut().unwrap() = byte;
        bytes
    };
    vec![
        case("an unknown type of frame", Channel, frame(7, 1, b""), Closed((501, 0, 0))),
        case("type 0", Channel, frame(0, 1, b""), Closed((501, 0, 0))),
        case("no end of frame", Channel, end(0xCD), Closed((501, 0, 0))),
        case("a frame of 4 GiB", Channel, *b"\x03\x00\x01\xff\xff\xff\xff", Closed((501, 0, 0))),
        case("a frame one byte too large", Channel, *b"\x03\x00\x01\x00\x02\x00\x01", Closed((501, 0, 0))),
        case("a heartbeat with a payload", Opened, frame(8, 0, b"x"), Closed((501, 0, 0))),
        case("a heartbeat on a channel", Channel, frame(8, 1, b""), Closed((505, 0, 0))),
        case("a heartbeat where it belongs", Channel, frame(8, 0, b""), Nothing),
        case("a header on channel 0", Channel, header(0, 60, 0, &[0, 0]), Closed((505, 0, 0))),
        case("a body on channel 0", Channel, frame(3, 0, b"x"), Closed((505, 0, 0))),
        case("an empty method frame", Channel, frame(1, 1, b""), Closed((501, 0, 0))),
        case("half a method", Channel, frame(1, 1, &[0, 60, 0]), Closed((501, 0, 0))),
        case("an unknown class", Channel, method(1, 99, 1, b""), Closed((540, 99, 1))),
        case("an unknown method", Channel, method(1, 60, 99, b""), Closed((540, 60, 99))),
        case("arguments that end early", Channel, method(1, 60, 10, &[0, 0]), Closed((501, 60, 10))),
        case("arguments that do not end", Channel, method(1, 60, 80, &[0; 20]), Closed((501, 60, 80))),
        case(
            "a name that is no text",
            Channel,
            method(1, 50, 10, b"\0\0\x01\xff\0\0\0\0\0"),
            Closed((501, 0, 0)),
        ),
        case("a table longer than its frame", Channel, declare(b"\xff\xff\xff\xff"), Closed((501, 50, 10))),
        case("a field of no known type", Channel, declare(&long(b"\x01a?")), Closed((502, 50, 10))),
        case(
            "a string longer than its table",
            Channel,
            declare(&long(b"\x01aS\0\0\0\x09x")),
            Closed((501, 50, 10)),
        ),
        case("tables nested too deeply", Channel, declare(&long(&nested(40))), Closed((502, 50, 10))),
        case(
            "an array longer than its table",
            Channel,
            declare(&long(b"\x01aA\xff\xff\xff\xff")),
            Closed((501, 50, 10)),
        ),
    ]
}

fn channels() -> Vec<Case> {
    use Stage::{Channel, Opened};
    let qos = |channel| method(channel, 60, 10, &[0, 0, 0, 0, 0, 1, 0]);
    vec![
        case("a channel that is not open", Opened, qos(1), Closed((504, 60, 10))),
        case("another channel that is not open", Channel, qos(2), Closed((504, 60, 10))),
        case("a channel opened twice", Channel, method(1, 20, 10, &[0]), Closed((504, 20, 10))),
        case("a channel beyond the agreed", Opened, method(4000, 20, 10, &[0]), Closed((530, 0, 0))),
        case(
            "an acknowledgement on a closed channel",
            Opened,
            method(3, 60, 80, &[0; 9]),
            Closed((504, 60, 80)),
        ),
        case("a method of channels on channel 0", Channel, qos(0), Closed((504, 60, 10))),
        case("connection.open twice", Channel, open("/"), Closed((504, 10, 40))),
        case("start-ok once more", Channel, start_ok("PLAIN", b"\0guest\0guest"), Closed((504, 10, 11))),
        case(
            "connection.close on a channel",
            Channel,
            method(1, 10, 50, &[0, 200, 0, 0, 0, 0, 0]),
            Closed((503, 10, 50)),
        ),
        case(
            "what only a server says",
            Channel,
            method(1, 50, 11, b"\x01q\0\0\0\0\0\0\0\0"),
            Closed((503, 50, 11)),
        ),
        case("an answer nobody asked for", Channel, method(1, 20, 21, &[1]), Closed((503, 20, 21))),
        case("channel.close-ok without a close", Channel, method(1, 20, 41, b""), Closed((503, 20, 41))),
        case(
            "no such queue",
            Channel,
            method(1, 50, 30, &[&[0, 0][..], &short("none"), &[0]].concat()),
            ChannelClosed((404, 50, 30)),
        ),
        case("no queue at all", Channel, method(1, 60, 70, &[0, 0, 0, 0]), ChannelClosed((404, 60, 70))),
        case(
            "a tag that was not delivered",
            Channel,
            method(1, 60, 80, &[0, 0, 0, 0, 0, 0, 0, 9, 0]),
            ChannelClosed((406, 60, 80)),
        ),
        case("all of no tags", Channel, method(1, 60, 80, &[0, 0, 0, 0, 0, 0, 0, 0, 1]), Nothing),
        case("commit without select", Channel, method(1, 90, 20, b""), ChannelClosed((406, 90, 20))),
        case("prefetch by size", Channel, method(1, 60, 10, &[0, 0, 0, 9, 0, 1, 0]), Closed((540, 60, 10))),
        case("flow off", Channel, method(1, 20, 20, &[0]), Closed((540, 20, 20))),
        case("recover without requeueing", Channel, method(1, 60, 110, &[0]), Closed((540, 60, 110))),
    ]
}

fn content() -> Vec<Case> {
    use Stage::Channel;
    let after = |frames: &[Vec<u8>]| [&[publish(1, "", "nobody")], frames].concat().concat();
    let qos = method(1, 60, 10, &[0, 0, 0, 0, 0, 1, 0]);
    vec![
        case("a header from nowhere", Channel, header(1, 60, 0, &[0, 0]), Closed((505, 0, 0))),
        case("a body from nowhere", Channel, frame(3, 1, b"x"), Closed((505, 0, 0))),
        case(
            "a method in place of a header",
            Channel,
            after(std::slice::from_ref(&qos)),
            Closed((505, 60, 40)),
        ),
        case("a body in place of a header", Channel, after(&[frame(3, 1, b"x")]), Closed((505, 60, 40))),
        case(
            "a method amid bodies",
            Channel,
            after(&[header(1, 60, 2, &[0, 0]), frame(3, 1, b"x"), qos]),
            Closed((505, 60, 40)),
        ),
        case(
            "a header amid bodies",
            Channel,
            after(&[header(1, 60, 2, &[0, 0]), header(1, 60, 2, &[0, 0])]),
            Closed((505, 60, 40)),
        ),
        case(
            "a header of another class",
            Channel,
            after(&[header(1, 50, 0, &[0, 0])]),
            Closed((505, 60, 40)),
        ),
        case(
            "more body than announced",
            Channel,
            after(&[header(1, 60, 2, &[0, 0]), frame(3, 1, b"abc")]),
            Closed((501, 60, 40)),
        ),
        case(
            "a body of half the universe",
            Channel,
            after(&[header(1, 60, 1 << 63, &[0, 0])]),
            Closed((501, 60, 40)),
        ),
        case(
            "a body larger than accepted",
            Channel,
            after(&[header(1, 60, 17 << 20, &[0, 0])]),
            ChannelClosed((406, 60, 40)),
        ),
        case("an empty message", Channel, after(&[header(1, 60, 0, &[0, 0])]), Nothing),
        case(
            "an empty body frame behind an empty message",
            Channel,
            after(&[header(1, 60, 0, &[0, 0]), frame(3, 1, b"")]),
            Closed((505, 0, 0)),
        ),
        case(
            "empty body frames on the way",
            Channel,
            after(&[header(1, 60, 1, &[0, 0]), frame(3, 1, b""), frame(3, 1, b"x")]),
            Nothing,
        ),
        case(
            "a heartbeat amid content",
            Channel,
            after(&[frame(8, 0, b""), header(1, 60, 0, &[0, 0])]),
            Nothing,
        ),
        case("flags that do not exist", Channel, after(&[header(1, 60, 0, &[0, 2])]), Closed((502, 0, 0))),
        case(
            "flags that go on",
            Channel,
            after(&[header(1, 60, 0, &[0x80, 1, 0, 0, 0])]),
            Closed((502, 0, 0)),
        ),
        case(
            "properties that end early",
            Channel,
            after(&[header(1, 60, 0, &[0x80, 0, 9])]),
            Closed((501, 60, 40)),
        ),
        case(
            "properties that do not end",
            Channel,
            after(&[header(1, 60, 0, &[0, 0, 1, 2])]),
            Closed((501, 60, 40)),
        ),
        case(
            "headers with a field of no type",
            Channel,
            after(&[header(1, 60, 0, b"\x20\0\0\0\0\x03\x01a?")]),
            Closed((502, 60, 40)),
        ),
        case(
            "an expiration that is no number",
            Channel,
            after(&[header(1, 60, 0, b"\x01\0\x02-1")]),
            ChannelClosed((406, 60, 40)),
        ),
        case(
            "a user that one is not",
            Channel,
            after(&[header(1, 60, 0, b"\0\x10\x01x")]),
            ChannelClosed((406, 60, 40)),
        ),
        case(
            "no such exchange",
            Channel,
            [publish(1, "none", "k"), header(1, 60, 1, &[0, 0]), frame(3, 1, b"x")].concat(),
            ChannelClosed((404, 60, 40)),
        ),
        case(
            "immediate",
            Channel,
            [method(1, 60, 40, b"\0\0\0\x01k\x02"), header(1, 60, 0, &[0, 0])].concat(),
            Closed((540, 60, 40)),
        ),
    ]
}

/// Works with one message on a connection of its own.
fn witness(address: SocketAddr) {
    let mut wire = Wire::with_channel(address);
    // A queue of its own, named by the broker.
    wire.send(&method(1, 50, 10, b"\0\0\0\x04\0\0\0\0"));
    let declared = wire.expect(50, 11);
    let name = declared.payload[5..5 + usize::from(declared.payload[4])].to_vec();
    let name = String::from_utf8(name).unwrap();
    wire.send(&[publish(1, "", &name), header(1, 60, 2, &[0, 0]), frame(3, 1, b"hi")].concat());
    wire.send(&method(1, 60, 70, &[&[0, 0][..], &short(&name), &[1]].concat()));
    wire.expect(60, 71);
    wire.next().unwrap();
    assert_eq!(wire.next().unwrap().payload, b"hi");
}

fn run(case: &Case, address: SocketAddr) {
    let mut wire = match case.stage {
        Stage::Fresh => Wire::fresh(address),
        Stage::Started => Wire::started(address),
        Stage::Authenticated => Wire::authenticated(address),
        Stage::Opened => Wire::opened(address),
        Stage::Channel => Wire::with_channel(address),
    };
    wire.send(&case.bytes);
    match &case.answer {
        Header => assert_eq!(wire.rest(), HEADER),
        Silence => assert_eq!(wire.rest(), b"", "no answer was expected"),
        Closed(expected) => {
            let frame = wire.next().expect("connection.close");
            assert_eq!((frame.channel, frame.method()), (0, Some((10, 50))), "{frame:?}");
            assert_eq!(frame.close(), Some(*expected), "{}", String::from_utf8_lossy(&frame.payload));
            // What was not understood has ended; the answer to the close is.
            wire.send(&method(0, 10, 51, b""));
        }
        ChannelClosed(expected) => {
            let frame = wire.next().expect("channel.close");
            assert_eq!((frame.channel, frame.method()), (1, Some((20, 40))), "{frame:?}");
            assert_eq!(frame.close(), Some(*expected), "{}", String::from_utf8_lossy(&frame.payload));
            // Until it is answered everything is ignored; then the number is free.
            wire.send(&method(1, 60, 10, &[0, 0, 0, 0, 0, 1, 0]));
            wire.send(&[method(1, 20, 41, b""), method(1, 20, 10, &[0])].concat());
            wire.expect(20, 11);
        }
        Nothing => {
            wire.send(&method(1, 60, 10, &[0, 0, 0, 0, 0, 1, 0]));
            wire.expect(60, 11);
        }
    }
}

#[test]
fn every_malformed_shape_gets_its_answer_and_disturbs_nobody() {
    let mut broker = Broker::configured("[log]\nconnections = false\n");
    let address = broker.address("amqp");
    let cases: Vec<Case> = [strangers(), frames(), channels(), content()].into_iter().flatten().collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(|| {
                        run(case, address);
                        witness(address);
                    }));
                    if let Err(panic) = outcome {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("{}: {text}", case.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    broker.assert_alive();
}
