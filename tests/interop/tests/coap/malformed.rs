//! Every malformed datagram gets its answer, and none disturbs another client.

use std::collections::BTreeMap;

use crate::server::Server;
use crate::table::{Case, cases, failures, reaction, rows};
use crate::wire::{CON, CONTENT, GET, Message, PUT, Peer, URI_PATH, code, spell};

const MATRIX: &str = include_str!("matrix.tbl");
const TABLES: [(&str, &str); 4] = [
    ("matrix", MATRIX),
    ("header", include_str!("header.tbl")),
    ("options", include_str!("options.tbl")),
    ("requests", include_str!("requests.tbl")),
];
const DOCUMENT: &str = include_str!("../../../../docs/coap-conformance.md");

fn check(cases: &[Case]) {
    let mut server = Server::start();
    let udp = server.udp;
    let failures = failures(cases, || Peer::new(udp));
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    let mut witness = Peer::new(server.udp);
    let answer = witness.call(GET, "ps/m", b"");
    assert_eq!((answer.code, &answer.payload[..]), (CONTENT, &b"value"[..]));
    server.assert_alive();
}

#[test]
fn every_malformed_datagram_gets_its_answer() {
    let tables: Vec<Case> = TABLES.iter().flat_map(|(_, table)| cases(table)).collect();
    assert!(tables.len() >= 200, "{} cases", tables.len());
    check(&tables);
}

/// The table itself is held against the codec of these tests: what is to be rejected must be malformed or unasked for.
#[test]
fn the_tables_say_what_they_mean() {
    for (table, text) in TABLES {
        for case in cases(text) {
            let decoded = Message::decode(&case.bytes);
            let answered = case.answers.iter().any(|answer| answer.contains('.') || answer == "ack");
            let rejected = case.answers == ["rst"];
            let strange = decoded.as_ref().is_ok_and(|message| message.code == 0 || message.code >> 5 > 0);
            assert!(!answered || decoded.is_ok(), "{table}: {}: {decoded:?}", case.name);
            assert!(!rejected || decoded.is_err() || strange, "{table}: {}: {decoded:?}", case.name);
        }
    }
}

/// The published matrix shows what Tercet does today.
#[test]
fn the_published_matrix_is_true() {
    let server = Server::start();
    let published: BTreeMap<_, _> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"))
        .map(|(name, rest)| (name.replace('`', ""), rest))
        .collect();
    for [name, hex, _, _] in rows(MATRIX) {
        let bytes = tercet_interop::notation::bytes(hex);
        let seen = reaction(&mut Peer::new(server.udp), &bytes);
        let row = published.get(name).unwrap_or_else(|| panic!("docs/coap-conformance.md lacks {name:?}"));
        let columns: Vec<_> = row.split(" | ").collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((columns[0].trim_end_matches('`'), columns[2]), (&hex[..], &seen[..]), "{name}");
    }
}

#[test]
fn reserved_code_classes_are_rejected() {
    let mut all = Vec::new();
    for (kind, name) in ["CON", "NON", "ACK", "RST"].into_iter().enumerate() {
        for class in [1, 3, 6, 7] {
            for detail in [0, 1, 2, 31] {
                // Signalling belongs to reliable transports (RFC 8323 §5): over UDP it may be passed over.
                let answer = match kind {
                    0 if class != 7 => "rst",
                    0 | 1 => "rst or silence",
                    _ => "silence",
                };
                let code = code(class, detail);
                let bytes = [0x40 | (kind as u8) << 4, code, 0, 1];
                all.push(Case::new(format!("{name} {}", spell(code)), bytes, answer));
            }
        }
    }
    check(&all);
}

#[test]
fn responses_that_nobody_asked_for_are_rejected() {
    let mut all = Vec::new();
    for (kind, answer) in [(0, "rst"), (1, "rst or silence"), (2, "silence"), (3, "silence")] {
        for (class, detail) in [(2, 1), (2, 4), (2, 5), (2, 31), (4, 0), (4, 4), (4, 31), (5, 0), (5, 31)] {
            let code = code(class, detail);
            let bytes = [0x41 | kind << 4, code, 0, 1, 7];
            all.push(Case::new(format!("kind {kind}, {}", spell(code)), bytes, answer));
        }
    }
    check(&all);
}

#[test]
fn unknown_methods_are_not_allowed() {
    let methods = 8..32_u8;
    let all: Vec<_> = methods.map(|method| Case::new(spell(method), [0x40, method, 0, 1], "4.05")).collect();
    check(&all);
}

/// A long request, cut at each of its bytes: rejected, unless what is left happens to be a request.
#[test]
fn requests_cut_anywhere_are_rejected() {
    let whole = Message::request(CON, PUT, 0x0102, "ps/m")
        .option(1, b"nope")
        .option(4, b"tag")
        .option(URI_PATH, &[b'x'; 20])
        .option(15, &[b'q'; 200])
        .option(60, &[1])
        .option(292, b"12345678")
        .option(2048, &[0; 270])
        .payload(b"payload")
        .encode();
    let all: Vec<_> = (0..whole.len())
        .map(|length| {
            let bytes = whole[..length].to_vec();
            let answer = match Message::decode(&bytes) {
                _ if length < 4 => "silence",
                Ok(message) if message.code == PUT => "4.00 or 4.04 or 4.05 or 4.12 or 2.01 or 2.04",
                _ => "rst",
            };
            Case::new(format!("{length} bytes"), bytes, answer)
        })
        .collect();
    check(&all);
}
