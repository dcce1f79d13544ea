//! Every malformed shape gets its answer: the tables beside this file against one broker, many cases at a time.
//!
//! A row holds `name | versions | state | bytes | answer | section`. Versions are `3.1`, `3.1.1`, `5`, `3` (both 3.x)
//! or `all`. `fresh` rows are the first bytes of a connection, `connected` rows follow an accepted CONNECT. Bytes are
//! in the notation of [`tercet_interop::notation`]; `{id}` is a name of the case's own, `{n}` its number.
//!
//! | answer | meaning |
//! |---|---|
//! | `close` | closed without a packet |
//! | `close BYTES` | these bytes, then closed |
//! | `disconnect XX` | 5.0: DISCONNECT with this reason code and nothing else, then closed; 3.x: closed |
//! | `connack XX` | CONNACK with this code and no session, then closed |
//! | `accepted` | CONNACK with code 0, and PINGREQ is answered after it |
//! | `alive BYTES` | exactly these bytes, and PINGREQ is answered after them |
//!
//! `or` stands between answers that the specification allows alike. After each case another connection must still get
//! a message through.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tercet_interop::notation::bytes;
use tercet_interop::packet::extent;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

const TABLES: [(&str, &str); 6] = [
    ("fixed_header", include_str!("fixed_header.tbl")),
    ("connect", include_str!("connect.tbl")),
    ("publish", include_str!("publish.tbl")),
    ("acknowledgements", include_str!("acknowledgements.tbl")),
    ("subscribe", include_str!("subscribe.tbl")),
    ("control", include_str!("control.tbl")),
];

/// Cases that run at once; most of their time is spent waiting for the broker.
const WORKERS: usize = 8;

struct Case {
    name: String,
    version: Version,
    connected: bool,
    bytes: Vec<u8>,
    answers: Vec<Answer>,
    id: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Close(Vec<u8>),
    Disconnect(u8),
    Connack(u8),
    Accepted,
    Alive(Vec<u8>),
}

/// What came, as far as it went.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    packets: Vec<Vec<u8>>,
    closed: bool,
}

#[test]
fn every_malformed_shape_gets_its_answer() {
    let cases = cases();
    assert!(cases.len() >= 300, "{} cases", cases.len());
    let mut broker = Broker::start();
    let next = AtomicUsize::new(0);
    let failures = Arc::new(Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, failures, cases, broker) = (&next, &failures, &cases, &broker);
            scope.spawn(move || {
                let mut witness = Witness::new(broker, worker);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = run(broker, case) {
                        failures.lock().unwrap().push(failure);
                    }
                    witness.check(&case.name);
                }
            });
        }
    });
    broker.assert_alive();
    let mut failures = Arc::into_inner(failures).unwrap().into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// A connection that no case may disturb.
struct Witness {
    wire: Wire,
    topic: String,
}

impl Witness {
    fn new(broker: &Broker, worker: usize) -> Self {
        let name = format!("witness-{worker}");
        let mut wire = Wire::connect(broker, &Connect::v311(&name).keep_alive(0));
        wire.subscribe(&name, 0);
        Self { wire, topic: name }
    }

    fn check(&mut self, case: &str) {
        self.wire.publish(Publish::new(&self.topic, case).qos(1));
        assert_eq!(self.wire.take(), (self.topic.clone(), case.to_owned()));
    }
}

fn run(broker: &Broker, case: &Case) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| observe(broker, case)));
    let seen = match outcome {
        Ok(seen) => seen,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            return Err(format!("{}: {text}", case.name));
        }
    };
    if case.answers.iter().any(|answer| answer.fits(&seen, case)) {
        return Ok(());
    }
    let mut sent = hex(&case.bytes);
    sent.truncate(160);
    Err(format!("{}: expected {:?}, seen {seen:02x?}, sent {sent}", case.name, case.answers))
}

fn observe(broker: &Broker, case: &Case) -> Seen {
    let mut wire = if case.connected {
        Wire::connect(broker, &Connect::new(case.version, &case.id))
    } else {
        Wire::open(broker.mqtt(), case.version)
    };
    // The broker may close before all is written.
    let written = wire.try_send(&case.bytes);
    let goes_on = case.answers.iter().any(|answer| matches!(answer, Answer::Accepted | Answer::Alive(_)));
    if goes_on && written.is_ok() {
        let _ = wire.try_send(&[0xC0, 0]);
    }
    let mut expected_pongs = 0;
    if goes_on {
        let own = case.answers.iter().filter_map(|answer| match answer {
            Answer::Alive(bytes) => Some(packets(bytes).iter().filter(|packet| packet[0] == 0xD0).count()),
            _ => None,
        });
        expected_pongs = own.max().unwrap_or(0) + 1;
    }
    let mut seen = Seen { packets: Vec::new(), closed: false };
    loop {
        match wire.next_raw() {
            None => {
                seen.closed = true;
                return seen;
            }
            Some(packet) => seen.packets.push(packet),
        }
        let pongs = seen.packets.iter().filter(|packet| packet[0] == 0xD0).count();
        if expected_pongs > 0 && pongs == expected_pongs {
            seen.packets.pop();
            return seen;
        }
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match word {
            "close" => Answer::Close(bytes(rest)),
            "disconnect" => Answer::Disconnect(u8::from_str_radix(rest, 16).unwrap()),
            "connack" => Answer::Connack(u8::from_str_radix(rest, 16).unwrap()),
            "accepted" => Answer::Accepted,
            "alive" => Answer::Alive(bytes(rest)),
            other => panic!("no such answer: {other}"),
        }
    }

    fn fits(&self, seen: &Seen, case: &Case) -> bool {
        let decoded: Vec<Packet> = seen
            .packets
            .iter()
            .map(|bytes| Packet::decode(case.version, bytes[0], &bytes[extent(bytes).unwrap().0..]))
            .collect();
        match self {
            Answer::Close(bytes) => seen.closed && seen.packets == packets(bytes),
            Answer::Disconnect(_) if !case.version.has_properties() => seen.closed && decoded.is_empty(),
            Answer::Disconnect(code) => {
                seen.closed
                    && matches!(&decoded[..], [Packet::Disconnect(c, properties)] if c == code && properties.0.is_empty())
            }
            Answer::Connack(code) => {
                seen.closed
                    && matches!(&decoded[..], [Packet::Connack { session_present: false, code: c, .. }] if c == code)
            }
            Answer::Accepted => {
                !seen.closed
                    && matches!(&decoded[..], [Packet::Connack { session_present: false, code: 0, .. }])
            }
            Answer::Alive(bytes) => !seen.closed && seen.packets == packets(bytes),
        }
    }
}

fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (head, body) = extent(bytes).expect("whole packets in the table");
        out.push(bytes[..head + body].to_vec());
        bytes = &bytes[head + body..];
    }
    out
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, text) in TABLES {
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with("# ") {
                continue;
            }
            let columns: Vec<&str> = line.split(" | ").collect();
            let &[name, versions, state, sent, answer, section] = &columns[..] else {
                panic!("{table}.tbl:{}: {} columns", number + 1, columns.len());
            };
            for &(version, label) in versions_of(versions) {
                let n = cases.len();
                // `x000` keeps the client identifiers of all cases apart and as long as each other.
                let id = format!("x{n:03}");
                let sent = sent.replace("{id}", &id).replace("{n}", &format!("{n:03}"));
                cases.push(Case {
                    name: format!("{table}.tbl:{}: {name} [{section}], {label}", number + 1),
                    version,
                    connected: match state {
                        "connected" => true,
                        "fresh" => false,
                        other => panic!("no such state: {other}"),
                    },
                    bytes: bytes(&sent),
                    answers: answer.split(" or ").map(Answer::read).collect(),
                    id,
                });
            }
        }
    }
    cases
}

fn versions_of(text: &str) -> &'static [(Version, &'static str)] {
    const ALL: [(Version, &str); 3] = [(Version::V31, "3.1"), (Version::V311, "3.1.1"), (Version::V5, "5.0")];
    match text {
        "3.1" => &ALL[..1],
        "3.1.1" => &ALL[1..2],
        "5" => &ALL[2..],
        "3" => &ALL[..2],
        "all" => &ALL,
        other => panic!("no such versions: {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
