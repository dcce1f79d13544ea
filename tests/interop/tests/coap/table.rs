//! Tables of datagrams and of what must answer them.
//!
//! A row holds `name | bytes | answer | section`, the bytes in the notation of [`tercet_interop::notation`]. Each case has
//! a port of its own, so message ids need not differ.
//!
//! | answer | meaning |
//! |---|---|
//! | `silence` | nothing |
//! | `rst` | a Reset with the message id |
//! | `ack` | an empty acknowledgement with the message id |
//! | `4.02` | a piggybacked response with this code and the request's token |
//! | `non 4.02` | a non-confirmable response with this code and token |
//!
//! `or` stands between answers that the specification allows alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tercet_interop::notation::bytes;

use crate::wire::{ACK, Message, NON, Peer, RST, spell};

/// A datagram and what may answer it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: Vec<String>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, answers: &str) -> Self {
        let answers = answers.split(" or ").map(str::to_owned).collect();
        Self { name: name.into(), bytes: bytes.into(), answers }
    }
}

/// The rows of a table: their columns.
pub(crate) fn rows(table: &'static str) -> impl Iterator<Item = [&'static str; 4]> {
    let lines = table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        columns.try_into().unwrap_or_else(|_| panic!("a row has four columns: {line}"))
    })
}

/// Reads a table.
pub(crate) fn cases(table: &'static str) -> Vec<Case> {
    rows(table).map(|[name, hex, answers, _]| Case::new(name, bytes(hex), answers)).collect()
}

/// What answered a datagram, in the words of the tables.
pub(crate) fn reaction(peer: &mut Peer, sent: &[u8]) -> String {
    peer.send(sent);
    let seen = peer.settle();
    let [answer] = &seen[..] else {
        return if seen.is_empty() {
            "silence".into()
        } else {
            format!("{} datagrams: {seen:02x?}", seen.len())
        };
    };
    let message = match Message::decode(answer) {
        Ok(message) => message,
        Err(why) => return format!("{why}: {answer:02x?}"),
    };
    let id = sent.get(2..4).map(|id| u16::from_be_bytes([id[0], id[1]]));
    let token = Message::decode(sent).map(|request| request.token).unwrap_or_default();
    let own_id = Some(message.id) == id;
    match (message.kind, message.code) {
        (RST, 0) if own_id => "rst".into(),
        (ACK, 0) if own_id => "ack".into(),
        (ACK, code) if own_id && message.token == token => spell(code),
        (NON, code) if code > 0 && message.token == token => format!("non {}", spell(code)),
        _ => format!("{message:?}"),
    }
}

/// Sends the cases to a server, and returns those that were answered otherwise.
pub(crate) fn failures(cases: &[Case], mut peer: impl FnMut() -> Peer) -> Vec<String> {
    let mut failures = Vec::new();
    // All are kept to the end: who got the port of an earlier one would be taken for it, and a request with the same
    // Message ID for a repetition.
    let mut peers = Vec::new();
    for case in cases {
        peers.push(peer());
        let Some(peer) = peers.last_mut() else { continue };
        let seen = catch_unwind(AssertUnwindSafe(|| reaction(peer, &case.bytes)));
        let seen = seen.unwrap_or_else(|_| "no answer to the ping that followed".into());
        if !case.answers.contains(&seen) {
            let sent: String = case.bytes.iter().take(60).map(|byte| format!("{byte:02x}")).collect();
            failures.push(format!(
                "{}: expected {}, seen {seen}, sent {sent}",
                case.name,
                case.answers.join(" or ")
            ));
        }
    }
    failures
}
