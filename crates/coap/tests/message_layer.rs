//! The message layer of RFC 7252 §4 and RFC 7641 §4.5, rule by rule, datagram by datagram.
#![allow(clippy::panic, reason = "a failed step of a test may panic anywhere")]

use tercet_coap::{
    Code, Kind, Limits, Time, Writer, datagram,
    endpoint::{Bounds, Endpoint, Event, Handle, Heading, Incoming, Outgoing, Refused, Reply, Settings, Tag},
    reliability::Transmission,
};

const NOW: Time = Time::from_secs(1_000);
const PEER: char = 'p';

/// An endpoint and what it sent.
struct Side {
    endpoint: Endpoint<char>,
    out: Outgoing<char>,
    now: Time,
}

/// What a datagram meant, in a form that outlives it.
#[derive(Debug, PartialEq)]
enum Meant {
    Request,
    Response(Option<Tag>),
    Acknowledged(Tag),
    Rejected(Tag),
    Nothing,
}

impl Side {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self { endpoint: Endpoint::new(settings, 7), out: Outgoing::new(), now: NOW }
    }

    /// Receives, answers nothing, and says what it was.
    fn receive(&mut self, bytes: &[u8]) -> Meant {
        match self.endpoint.receive(PEER, bytes, self.now, &mut self.out) {
            Incoming::Request { .. } => Meant::Request,
            Incoming::Response { request, .. } => Meant::Response(request),
            Incoming::Acknowledged { tag } => Meant::Acknowledged(tag),
            Incoming::Rejected { tag } => Meant::Rejected(tag),
            Incoming::Nothing => Meant::Nothing,
        }
    }

    fn receive_request(&mut self, bytes: &[u8]) -> Reply<char> {
        match self.endpoint.receive(PEER, bytes, self.now, &mut self.out) {
            Incoming::Request { reply, .. } => reply,
            other => panic!("{other:?}"),
        }
    }

    fn respond(&mut self, reply: Reply<char>, code: Code) -> Option<Handle> {
        self.endpoint.respond(
            reply,
            code,
            b"t",
            |writer| {
                writer.payload(b"answer");
            },
            self.now,
            &mut self.out,
        )
    }

    fn send(&mut self, tag: u64, payload: &[u8]) -> Result<Handle, Refused> {
        let heading = Heading { code: Code::GET, token: b"t", tag: Tag(tag) };
        let write = |writer: &mut Writer<'_>| {
            writer.payload(payload);
        };
        self.endpoint.send_confirmable(PEER, heading, write, self.now, &mut self.out)
    }

    /// What was sent since the last call.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let sent = self.out.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        self.out.clear();
        sent
    }

    /// The one datagram that was sent since the last call.
    fn sent_one(&mut self) -> Vec<u8> {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:x?}");
        sent.pop().expect("one")
    }

    /// Lets time pass until something is sent or ends, at most until `until`.
    fn wait(&mut self, until: Time) -> Vec<Event<char>> {
        let mut events = Vec::new();
        while events.is_empty() && self.out.is_empty() {
            match self.endpoint.next_due() {
                Some(due) if due <= until => {
                    self.now = self.now.max(due);
                    self.endpoint.run_due(self.now, &mut self.out, |event| events.push(event));
                }
                _ => {
                    self.now = until;
                    break;
                }
            }
        }
        events
    }
}

fn message(kind: Kind, id: u16, code: Code, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let token: &[u8] = if code.is_empty() { b"" } else { b"t" };
    Writer::datagram(&mut bytes, kind, id, code, token).payload(payload);
    bytes
}

fn header(bytes: &[u8]) -> (Kind, u16, Code) {
    let datagram = datagram::decode(bytes, &Limits::default()).expect("well-formed");
    (datagram.kind, datagram.id, datagram.message.code)
}

fn id_of(bytes: &[u8]) -> u16 {
    header(bytes).1
}

fn payload_of(bytes: &[u8]) -> Vec<u8> {
    datagram::decode(bytes, &Limits::default()).expect("well-formed").message.payload.to_vec()
}

#[test]
fn rules_12_13_what_is_rejected_and_what_is_passed_over() {
    let reset = |low| vec![vec![0x70, 0, 0, low]];
    type Case = (&'static str, &'static [u8], Vec<Vec<u8>>);
    let cases: [Case; 20] = [
        ("ping", &[0x40, 0, 0, 1], reset(1)),
        ("ping with a token", &[0x41, 0, 0, 2, 9], reset(2)),
        ("payload marker without payload", &[0x40, 1, 0, 3, 0xFF], reset(3)),
        ("version 2", &[0x80, 1, 0, 4], vec![]),
        ("version 0", &[0x00, 1, 0, 4], vec![]),
        ("token length 9", &[0x49, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0], reset(5)),
        ("option delta 15", &[0x40, 1, 0, 6, 0xF0, 0], reset(6)),
        ("option length 15", &[0x40, 1, 0, 7, 0x0F, 0], reset(7)),
        ("truncated option", &[0x40, 1, 0, 8, 0xB4, 0x61], reset(8)),
        ("class 1", &[0x40, 0x20, 0, 9], reset(9)),
        ("class 6", &[0x40, 0xC0, 0, 10], reset(10)),
        ("a signal", &[0x40, 0xE1, 0, 11], reset(11)),
        ("a request in an Acknowledgement", &[0x60, 1, 0, 14], vec![]),
        ("a request in a Reset", &[0x70, 1, 0, 15], vec![]),
        ("a reserved code in an Acknowledgement", &[0x60, 0x20, 0, 15], vec![]),
        ("Empty and Non-confirmable", &[0x50, 0, 0, 16], vec![]),
        ("malformed and Non-confirmable", &[0x50, 1, 0, 16, 0xFF], vec![]),
        ("option number beyond 65535", &[0x40, 1, 0, 17, 0xE0, 0xFE, 0xF2, 0x10], reset(17)),
        ("three bytes", &[0x40, 1, 0], vec![]),
        ("nothing", &[], vec![]),
    ];
    for (name, bytes, expected) in cases {
        let mut side = Side::new();
        assert_eq!(side.receive(bytes), Meant::Nothing, "{name}");
        assert_eq!(side.sent(), expected, "{name}");
        assert_eq!(side.endpoint.peer_count(), 0, "{name}");
    }
}

#[test]
fn rule12_unknown_acknowledgements_and_resets_are_never_answered() {
    let mut side = Side::new();
    for kind in [Kind::Acknowledgement, Kind::Reset] {
        assert_eq!(side.receive(&message(kind, 1, Code::EMPTY, b"")), Meant::Nothing);
    }
    assert_eq!(side.receive(&message(Kind::Acknowledgement, 1, Code::CONTENT, b"x")), Meant::Nothing);
    assert!(side.sent().is_empty());
}

#[test]
fn rule15_a_duplicate_gets_the_same_answer_and_no_further_effect() {
    for code in [Code::PUT, Code::POST, Code::DELETE, Code::PATCH, Code::IPATCH, Code(0x1F)] {
        let mut side = Side::new();
        let request = message(Kind::Confirmable, 7, code, b"x");
        let reply = side.receive_request(&request);
        // The answer is not known yet: it will come once.
        assert_eq!(side.receive(&request), Meant::Nothing, "{code}");
        assert!(side.sent().is_empty());
        assert!(side.respond(reply, Code::CHANGED).is_none());
        let answer = side.sent_one();
        assert_eq!(header(&answer), (Kind::Acknowledgement, 7, Code::CHANGED));
        for _ in 0..3 {
            assert_eq!(side.receive(&request), Meant::Nothing, "{code}");
            assert_eq!(side.sent_one(), answer, "{code}");
        }
        assert_eq!(side.receive(&message(Kind::Confirmable, 8, code, b"x")), Meant::Request);
    }
}

#[test]
fn rule15_their_message_ids_are_not_ours() {
    let mut side = Side::new();
    side.send(1, b"").expect("sent");
    let id = id_of(&side.sent_one());
    assert_eq!(side.receive(&message(Kind::Confirmable, id, Code::PUT, b"x")), Meant::Request);
    let ack = message(Kind::Acknowledgement, id, Code::EMPTY, b"");
    assert_eq!(side.receive(&ack), Meant::Acknowledged(Tag(1)));
}

#[test]
fn rule16_lifetimes_of_message_ids() {
    for (kind, seconds) in [(Kind::Confirmable, 247), (Kind::NonConfirmable, 145)] {
        let mut side = Side::new();
        let request = message(kind, 7, Code::POST, b"x");
        assert_eq!(side.receive(&request), Meant::Request);
        side.now = NOW + Time::from_secs(seconds);
        assert_eq!(side.receive(&request), Meant::Nothing, "{kind:?}");
        side.now = NOW + Time::from_secs(seconds + 2);
        assert_eq!(side.receive(&request), Meant::Request, "{kind:?}");
    }
}

#[test]
fn rule16_reads_are_carried_out_again_and_leave_no_state() {
    for (kind, code) in
        [(Kind::Confirmable, Code::GET), (Kind::Confirmable, Code::FETCH), (Kind::NonConfirmable, Code::GET)]
    {
        let mut side = Side::new();
        let request = message(kind, 7, code, b"x");
        for _ in 0..3 {
            assert_eq!(side.receive(&request), Meant::Request);
        }
        assert_eq!((side.endpoint.peer_count(), side.endpoint.seen_count()), (0, 0));
    }
}

#[test]
fn rule16_blocks_of_a_fetch_are_not_reads() {
    let mut request = Vec::new();
    Writer::datagram(&mut request, Kind::Confirmable, 7, Code::FETCH, b"t")
        .uint(tercet_coap::Number::BLOCK1, 0x08)
        .payload(&[0; 16]);
    let mut side = Side::new();
    assert_eq!(side.receive(&request), Meant::Request);
    assert_eq!(side.receive(&request), Meant::Nothing);
}

#[test]
fn rule17_retransmission_and_giving_up() {
    let mut side = Side::new();
    side.send(42, b"hello").expect("sent");
    let first = side.sent_one();
    let mut at = vec![side.now];
    for _ in 0..4 {
        assert!(side.wait(NOW + Time::from_secs(100)).is_empty());
        assert_eq!(side.sent_one(), first);
        at.push(side.now);
    }
    let end = side.wait(NOW + Time::from_secs(100));
    assert_eq!(end, [Event::Failed { peer: PEER, tag: Tag(42) }]);
    at.push(side.now);
    let gaps: Vec<f64> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    assert!((2.0..=3.02).contains(&gaps[0]), "{gaps:?}");
    for pair in gaps.windows(2) {
        assert!((pair[1] - 2.0 * pair[0]).abs() < 0.06, "{gaps:?}");
    }
    assert!(side.now - NOW <= Time::from_millis(93_100), "MAX_TRANSMIT_WAIT");
    assert!(side.sent().is_empty());
    assert_eq!(side.endpoint.exchange_count(), 0);
}

#[test]
fn rule17_an_acknowledgement_or_reset_ends_retransmission() {
    for (kind, meant) in
        [(Kind::Acknowledgement, Meant::Acknowledged(Tag(1))), (Kind::Reset, Meant::Rejected(Tag(1)))]
    {
        let mut side = Side::new();
        side.send(1, b"").expect("sent");
        let id = id_of(&side.sent_one());
        assert_eq!(side.receive(&message(kind, id.wrapping_add(1), Code::EMPTY, b"")), Meant::Nothing);
        assert_eq!(side.receive(&message(kind, id, Code::EMPTY, b"")), meant);
        assert_eq!(side.receive(&message(kind, id, Code::EMPTY, b"")), Meant::Nothing);
        assert!(side.wait(NOW + Time::from_secs(100)).is_empty() && side.sent().is_empty());
    }
}

#[test]
fn rule18_nstart_messages_at_a_time() {
    let transmission = Transmission { nstart: 2, ..Transmission::default() };
    let bounds = Bounds { waiting_per_peer: 2, ..Bounds::default() };
    let mut side = Side::with(Settings { transmission, bounds, ..Settings::default() });
    let handles: Vec<Handle> = (0..4).map(|tag| side.send(tag, &[tag as u8]).expect("room")).collect();
    assert_eq!(side.send(4, b""), Err(Refused::TooManyWaiting));
    let sent = side.sent();
    assert_eq!(sent.iter().map(|bytes| payload_of(bytes)).collect::<Vec<_>>(), [[0], [1]]);
    side.endpoint.cancel(handles[2], NOW, &mut side.out);
    assert!(side.sent().is_empty());
    side.receive(&message(Kind::Acknowledgement, id_of(&sent[1]), Code::EMPTY, b""));
    assert_eq!(payload_of(&side.sent_one()), [3]);
}

#[test]
fn rule18_a_silent_peer_is_sent_a_byte_per_second() {
    let transmission = Transmission { probing_rate: Some(1), ..Transmission::default() };
    let mut side = Side::with(Settings { transmission, ..Settings::default() });
    let heading = Heading { code: Code::PUT, token: b"t", tag: Tag(1) };
    let send = |side: &mut Side, seconds| {
        side.now = NOW + Time::from_secs(seconds);
        let write = |writer: &mut Writer<'_>| {
            writer.payload(&[0; 94]);
        };
        side.endpoint.send_non_confirmable(PEER, heading, write, side.now, &mut side.out)
    };
    // 100 bytes each.
    assert_eq!(send(&mut side, 0), Ok(()));
    assert_eq!(send(&mut side, 99), Err(Refused::Probing));
    assert_eq!(send(&mut side, 100), Ok(()));
    assert_eq!(send(&mut side, 101), Err(Refused::Probing));
    side.receive(&message(Kind::NonConfirmable, 1, Code::CHANGED, b""));
    assert_eq!(send(&mut side, 101), Ok(()));
    assert_eq!(send(&mut side, 102), Err(Refused::Probing));
}

#[test]
fn rule19_an_empty_acknowledgement_then_a_separate_response() {
    for code in [Code::GET, Code::PUT] {
        let mut side = Side::new();
        let request = message(Kind::Confirmable, 7, code, b"x");
        let mut reply = side.receive_request(&request);
        side.endpoint.acknowledge_later(&mut reply, NOW, &mut side.out);
        let empty = side.sent_one();
        assert_eq!(header(&empty), (Kind::Acknowledgement, 7, Code::EMPTY));
        assert_eq!(side.receive(&request), Meant::Nothing, "{code}");
        assert_eq!(side.sent_one(), empty, "{code}");
        reply.set_tag(Tag(5));
        assert!(side.respond(reply, Code::CONTENT).is_some());
        let response = side.sent_one();
        assert_eq!((header(&response).0, header(&response).2), (Kind::Confirmable, Code::CONTENT));
        // Never a piggybacked response after the Empty acknowledgement.
        assert_eq!(side.receive(&request), Meant::Nothing, "{code}");
        assert_eq!(side.sent_one(), empty, "{code}");
        let ack = message(Kind::Acknowledgement, id_of(&response), Code::EMPTY, b"");
        assert_eq!(side.receive(&ack), Meant::Acknowledged(Tag(5)));
        assert_eq!(side.endpoint.exchange_count(), 0);
    }
}

#[test]
fn rule19_a_response_before_its_acknowledgement() {
    for kind in [Kind::Confirmable, Kind::NonConfirmable] {
        let mut side = Side::new();
        side.send(9, b"").expect("sent");
        let id = id_of(&side.sent_one());
        assert_eq!(side.receive(&message(kind, 77, Code::CONTENT, b"x")), Meant::Response(Some(Tag(9))));
        assert_eq!(side.receive(&message(Kind::Acknowledgement, id, Code::EMPTY, b"")), Meant::Nothing);
        assert!(side.wait(NOW + Time::from_secs(100)).is_empty() && side.sent().is_empty());
    }
}

#[test]
fn rule20_tokens_have_to_match() {
    let mut side = Side::new();
    side.send(9, b"").expect("sent");
    let id = id_of(&side.sent_one());
    let mut other = Vec::new();
    Writer::datagram(&mut other, Kind::Acknowledgement, id, Code::CONTENT, b"other").finish();
    assert_eq!(side.receive(&other), Meant::Nothing);
    let from_elsewhere = message(Kind::Acknowledgement, id, Code::CONTENT, b"x");
    let meant = side.endpoint.receive('q', &from_elsewhere, NOW, &mut side.out);
    assert!(matches!(meant, Incoming::Nothing));
    assert_eq!(side.receive(&from_elsewhere), Meant::Response(Some(Tag(9))));
}

#[test]
fn rule20_responses_are_accepted_or_refused_and_so_are_their_duplicates() {
    for (accepted, answer) in [(true, Kind::Acknowledgement), (false, Kind::Reset)] {
        let mut side = Side::new();
        let response = message(Kind::Confirmable, 77, Code::CONTENT, b"x");
        let Incoming::Response { receipt, request: None, .. } =
            side.endpoint.receive(PEER, &response, NOW, &mut side.out)
        else {
            panic!("not a response")
        };
        if accepted {
            side.endpoint.accept(receipt, &mut side.out);
        } else {
            side.endpoint.refuse(receipt, &mut side.out);
        }
        let sent = side.sent_one();
        assert_eq!(header(&sent), (answer, 77, Code::EMPTY));
        assert_eq!(side.receive(&response), Meant::Nothing);
        assert_eq!(side.sent_one(), sent);
    }
}

#[test]
fn rfc7641_3_6_a_forgotten_observation_is_refused_also_when_not_confirmable() {
    let mut side = Side::new();
    let notification = message(Kind::NonConfirmable, 77, Code::CONTENT, b"x");
    let Incoming::Response { receipt, .. } = side.endpoint.receive(PEER, &notification, NOW, &mut side.out)
    else {
        panic!("not a response")
    };
    side.endpoint.refuse(receipt, &mut side.out);
    assert_eq!(header(&side.sent_one()), (Kind::Reset, 77, Code::EMPTY));
}

#[test]
fn rule23_a_request_can_be_rejected() {
    let mut side = Side::new();
    let request = message(Kind::Confirmable, 7, Code::POST, b"");
    let reply = side.receive_request(&request);
    side.endpoint.reject(reply, NOW, &mut side.out);
    assert_eq!(header(&side.sent_one()), (Kind::Reset, 7, Code::EMPTY));
    assert_eq!(side.receive(&request), Meant::Nothing);
    assert_eq!(header(&side.sent_one()), (Kind::Reset, 7, Code::EMPTY));
}

#[test]
fn rule29_without_response_a_confirmable_request_is_still_acknowledged() {
    let mut side = Side::new();
    let reply = side.receive_request(&message(Kind::Confirmable, 7, Code::POST, b""));
    side.endpoint.suppress(reply, NOW, &mut side.out);
    assert_eq!(header(&side.sent_one()), (Kind::Acknowledgement, 7, Code::EMPTY));
    let reply = side.receive_request(&message(Kind::NonConfirmable, 8, Code::POST, b""));
    side.endpoint.suppress(reply, NOW, &mut side.out);
    assert!(side.sent().is_empty());
}

#[test]
fn rule33_a_reset_names_its_notification() {
    let bounds = Bounds { resettable_per_peer: 3, ..Bounds::default() };
    let mut side = Side::with(Settings { bounds, ..Settings::default() });
    for tag in 0..5 {
        let heading = Heading { code: Code::CONTENT, token: b"t", tag: Tag(tag) };
        side.endpoint.send_non_confirmable(PEER, heading, |_| {}, NOW, &mut side.out).expect("sent");
    }
    let sent = side.sent();
    for (tag, bytes) in sent.iter().enumerate() {
        assert_eq!(header(bytes).0, Kind::NonConfirmable);
        let reset = message(Kind::Reset, id_of(bytes), Code::EMPTY, b"");
        // Only so many are remembered, and each is rejected once.
        let meant = if tag < 2 { Meant::Nothing } else { Meant::Rejected(Tag(tag as u64)) };
        assert_eq!(side.receive(&reset), meant, "{tag}");
        assert_eq!(side.receive(&reset), Meant::Nothing, "{tag}");
    }
}

fn replace(side: &mut Side, handle: Handle, payload: &[u8]) -> bool {
    let heading = Heading { code: Code::CONTENT, token: b"t", tag: Tag(1) };
    side.endpoint.replace(handle, heading, |writer| {
        writer.payload(payload);
    })
}

#[test]
fn rule34_a_retransmission_carries_the_newest_state_in_the_old_count() {
    let mut side = Side::new();
    let handle = side.send(1, b"old").expect("sent");
    let old = side.sent_one();
    assert!(replace(&mut side, handle, b"newer") && replace(&mut side, handle, b"newest"));
    assert!(side.sent().is_empty(), "not before it is due");
    let mut ids = vec![id_of(&old)];
    for _ in 0..4 {
        side.wait(NOW + Time::from_secs(100));
        let again = side.sent_one();
        assert_eq!(payload_of(&again), b"newest");
        ids.push(id_of(&again));
    }
    assert!(ids[1] != ids[0] && ids[1..].iter().all(|&id| id == ids[1]), "{ids:?}");
    assert_eq!(side.wait(NOW + Time::from_secs(100)), [Event::Failed { peer: PEER, tag: Tag(1) }]);
    assert!(side.now - NOW <= Time::from_millis(93_100), "the count did not begin anew");
    assert!(!replace(&mut side, handle, b"too late"));
}

#[test]
fn rule34_when_the_old_state_is_acknowledged_the_newest_follows() {
    let mut side = Side::new();
    let handle = side.send(1, b"old").expect("sent");
    let old = id_of(&side.sent_one());
    replace(&mut side, handle, b"newest");
    assert_eq!(side.receive(&message(Kind::Acknowledgement, old, Code::EMPTY, b"")), Meant::Nothing);
    let newest = side.sent_one();
    assert_eq!((payload_of(&newest), id_of(&newest) != old), (b"newest".to_vec(), true));
    let ack = message(Kind::Acknowledgement, id_of(&newest), Code::EMPTY, b"");
    assert_eq!(side.receive(&ack), Meant::Acknowledged(Tag(1)));
    assert_eq!(side.endpoint.exchange_count(), 0);
}

#[test]
fn rule34_a_late_reset_of_the_old_state_still_counts() {
    let mut side = Side::new();
    let handle = side.send(1, b"old").expect("sent");
    let old = id_of(&side.sent_one());
    replace(&mut side, handle, b"new");
    side.wait(NOW + Time::from_secs(100));
    side.sent();
    assert_eq!(side.receive(&message(Kind::Reset, old, Code::EMPTY, b"")), Meant::Rejected(Tag(1)));
}

#[test]
fn rule44_requests_to_a_group() {
    let mut side = Side::new();
    let mut answered_at = Vec::new();
    for id in 0..50 {
        let start = side.now;
        let request = message(Kind::NonConfirmable, id, Code::GET, b"");
        let Incoming::Request { reply, .. } = side.endpoint.receive_multicast(PEER, &request, side.now)
        else {
            panic!("not a request")
        };
        assert!(reply.is_multicast());
        side.respond(reply, Code::CONTENT);
        assert!(side.sent().is_empty(), "not at once");
        side.wait(start + Time::from_millis(5_020));
        assert_eq!(header(&side.sent_one()).0, Kind::NonConfirmable);
        answered_at.push(side.now - start);
    }
    answered_at.sort();
    assert!(answered_at[5] < Time::from_secs(2) && answered_at[44] > Time::from_secs(3), "{answered_at:?}");
    assert_eq!(side.endpoint.exchange_count(), 0);
}

#[test]
fn rule44_what_a_group_is_not_answered() {
    let mut side = Side::new();
    for bytes in [
        message(Kind::Confirmable, 1, Code::GET, b""),
        message(Kind::Confirmable, 1, Code::EMPTY, b""),
        message(Kind::Confirmable, 1, Code::CONTENT, b""),
        message(Kind::Reset, 1, Code::EMPTY, b""),
        vec![0x40, 1, 0, 1, 0xFF],
        vec![0x40, 0x20, 0, 1],
    ] {
        assert!(
            matches!(side.endpoint.receive_multicast(PEER, &bytes, NOW), Incoming::Nothing),
            "{bytes:x?}"
        );
    }
    let request = message(Kind::NonConfirmable, 2, Code::GET, b"");
    let Incoming::Request { reply, .. } = side.endpoint.receive_multicast(PEER, &request, NOW) else {
        panic!("not a request")
    };
    side.respond(reply, Code::NOT_FOUND);
    side.wait(NOW + Time::from_secs(60));
    assert!(side.sent().is_empty());
}

#[test]
fn rfc8974_2_2_2_tokens_that_are_too_long() {
    let codec = Limits { token: 16, ..Limits::default() };
    let mut side = Side::with(Settings { codec, ..Settings::default() });
    for (kind, answer) in
        [(Kind::Confirmable, Kind::Acknowledgement), (Kind::NonConfirmable, Kind::NonConfirmable)]
    {
        let mut request = Vec::new();
        Writer::datagram(&mut request, kind, 7, Code::GET, &[1; 17]).finish();
        assert_eq!(side.receive(&request), Meant::Nothing);
        let sent = side.sent_one();
        let decoded = datagram::decode(&sent, &codec).expect("well-formed");
        assert_eq!((decoded.kind, decoded.message.code), (answer, Code::BAD_REQUEST));
        assert_eq!(decoded.message.token, [1; 17]);
    }
}

#[test]
fn a_peer_that_is_forgotten_leaves_nothing() {
    let mut side = Side::new();
    side.send(1, b"").expect("sent");
    side.send(2, b"").expect("waits");
    side.receive(&message(Kind::Confirmable, 1, Code::POST, b""));
    side.endpoint.forget(PEER);
    let counts = (side.endpoint.peer_count(), side.endpoint.seen_count(), side.endpoint.exchange_count());
    assert_eq!(counts, (0, 0, 0));
    side.sent();
    assert!(side.wait(NOW + Time::from_secs(1_000)).is_empty() && side.sent().is_empty());
}

#[test]
fn state_ends_with_its_lifetime() {
    let mut side = Side::new();
    let reply = side.receive_request(&message(Kind::Confirmable, 1, Code::POST, b""));
    side.respond(reply, Code::CHANGED);
    side.sent();
    assert_eq!(side.endpoint.seen_count(), 1);
    side.wait(NOW + Time::from_secs(247 + 15));
    assert_eq!((side.endpoint.peer_count(), side.endpoint.seen_count()), (0, 0));
    assert_eq!(side.endpoint.next_due(), None);
}
