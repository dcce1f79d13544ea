use std::sync::atomic::AtomicUsize;

use tercet_coap::stream::{decode, decode_websocket};
use tercet_coap::{OwnedMessage, Writer};

use super::*;
use crate::config::{Config, Listener};
use crate::mqtt::settings::Layers;

/// What lies behind a connection under test.
#[derive(Default)]
struct Server {
    requests: Vec<(OwnedMessage, u32)>,
    waiting: bool,
}

impl Behind for Server {
    fn is_waiting(&self) -> bool {
        self.waiting
    }
}

impl Serves for Server {
    fn request(&mut self, message: &Message<'_>, max_payload: u32) {
        self.requests.push((OwnedMessage::from_message(message), max_payload));
    }
}

struct Peer {
    connection: CoapConnection,
    server: Server,
    now: Instant,
}

impl Peer {
    fn new() -> Self {
        let (config, listener) = (Config::default(), Listener::default());
        let open = Arc::new(AtomicUsize::new(0));
        let settings = Arc::new(ListenerSettings::new(&config, &listener, Layers::default(), open));
        let now = Instant::now();
        Self { connection: CoapConnection::new(settings, false, now), server: Server::default(), now }
    }

    /// One that has sent its CSM and read ours.
    fn open() -> Self {
        let mut peer = Self::new();
        let (answers, step) = peer.send(&CSM);
        assert_eq!((answers[0].code, answers.len(), step), (Code::CSM, 1, Step::Continue));
        peer
    }

    fn send(&mut self, bytes: &[u8]) -> (Vec<OwnedMessage>, Step) {
        let mut out = Vec::new();
        let (_, step) = self.connection.receive(bytes, &mut out, self.now, &mut self.server);
        (messages(&out), step)
    }

    fn wait(&mut self, time: Duration) -> (Vec<OwnedMessage>, Step) {
        self.now += time;
        match self.connection.check_limit(self.now) {
            Timeout::Passed => {
                let mut out = Vec::new();
                let step = self.connection.timed_out(&mut out, self.now);
                (messages(&out), step)
            }
            Timeout::In(_) | Timeout::None => (Vec::new(), Step::Continue),
        }
    }
}

const CSM: [u8; 2] = [0x00, 0xe1];
/// GET /a with the token `w`.
const GET: [u8; 5] = [0x21, 0x01, b'w', 0xb1, b'a'];

fn messages(mut bytes: &[u8]) -> Vec<OwnedMessage> {
    let limits = Limits { message: usize::MAX, token: 128, ..Limits::default() };
    let mut all = Vec::new();
    while let Some((message, used)) = decode(bytes, &limits).unwrap() {
        all.push(OwnedMessage::from_message(&message));
        bytes = &bytes[used..];
    }
    all
}

#[test]
fn both_sides_begin_with_a_csm_and_then_requests_come_through() {
    let mut peer = Peer::new();
    let (answers, _) = peer.send(&[&CSM[..], &GET, &GET].concat());
    let csm = answers[0].as_message();
    assert_eq!(csm.code, Code::CSM);
    let Ok(Signal::Csm { max_message_size, block_wise: true, token: 64 }) = Signal::read(&csm) else {
        panic!()
    };
    assert!(max_message_size > 1152);
    assert_eq!(peer.server.requests.len(), 2);
    assert_eq!(peer.server.requests[0].1, 1024, "what fits into a message of 1,152 bytes");
}

#[test]
fn what_the_peer_takes_is_what_it_said_last() {
    for (announced, fits) in [(0, 16), (1152, 1024), (65_536, 65_408)] {
        let mut peer = Peer::new();
        let mut csm = Vec::new();
        Signal::Csm { max_message_size: announced, block_wise: true, token: 8 }.encode_stream(&[], &mut csm);
        peer.send(&[&csm[..], &GET].concat());
        assert_eq!(peer.server.requests[0].1, fits, "{announced}");
    }
}

#[test]
fn what_breaks_the_rules_is_answered_with_abort_and_the_end() {
    let too_long = [0xf0, 0xff, 0xff, 0xff, 0xff, 0x02];
    let cases: [(&[u8], &str); 7] = [
        (&GET, "first message"),
        (&[0x10, 0xe1, 0xf0], "option delta 15"),
        (&[&CSM[..], &[0x10, 0xe1, 0x10]].concat(), "unknown critical option of a CSM"),
        (&[&CSM[..], &[0x10, 0xe2, 0x30]].concat(), "unknown critical option of a Ping"),
        (&[&CSM[..], &[0x0f, 0x01]].concat(), "token of reserved length"),
        (&[&CSM[..], &[0x00, 0x20]].concat(), "reserved class"),
        (&[&CSM[..], &too_long].concat(), "longer than any"),
    ];
    for (input, case) in cases {
        let mut peer = Peer::new();
        let (answers, step) = peer.send(input);
        let last = answers.last().unwrap().code;
        assert_eq!((last, step), (Code::ABORT, Step::Close), "{case}: {answers:?}");
        assert!(peer.server.requests.is_empty(), "{case}");
    }
}

#[test]
fn empty_messages_unknown_signals_and_responses_of_nobody_are_ignored() {
    let mut peer = Peer::open();
    let (answers, step) = peer.send(&[0x00, 0x00, 0x00, 0xe9, 0x00, 0x45, 0x00, 0xe3]);
    assert_eq!((answers.len(), step), (0, Step::Continue));
}

#[test]
fn pings_are_answered_with_their_token_and_custody_waits_for_what_came_before() {
    let mut peer = Peer::open();
    let (answers, _) = peer.send(&[0x01, 0xe2, 0x77]);
    assert_eq!((answers[0].code, answers[0].as_message().token), (Code::PONG, &[0x77][..]));

    let ping = [0x11, 0xe2, 0x78, 0x20];
    peer.server.waiting = true;
    let (answers, _) = peer.send(&[&GET[..], &ping].concat());
    assert!(answers.is_empty());
    peer.server.waiting = false;
    let mut answer = Vec::new();
    drop(Writer::stream(&mut answer, Code::CONTENT, b"w"));
    let mut out = Vec::new();
    peer.connection.put(&answer, &mut out);
    let step = peer.connection.go_on(&mut out, &peer.server);
    let answers = messages(&out);
    assert_eq!((answers[0].code, answers[1].code, step), (Code::CONTENT, Code::PONG, Step::Continue));
    assert_eq!(Signal::read(&answers[1].as_message()), Ok(Signal::Pong { custody: true }));
}

#[test]
fn a_release_ends_the_connection_after_what_is_due() {
    let mut peer = Peer::open();
    peer.server.waiting = true;
    let (_, step) = peer.send(&[&GET[..], &[0x00, 0xe4]].concat());
    assert_eq!(step, Step::Continue);
    peer.server.waiting = false;
    let mut out = Vec::new();
    peer.connection.put(&[0x00, 0x45], &mut out);
    assert_eq!(peer.connection.go_on(&mut out, &peer.server), Step::Close);

    let (answers, step) = Peer::open().send(&[0x00, 0xe5]);
    assert_eq!((answers.len(), step), (0, Step::Close), "an Abort is not answered");
}

#[test]
fn who_says_nothing_first_or_drips_a_message_is_cut() {
    let (answers, step) = Peer::new().wait(Duration::from_secs(10));
    assert_eq!((answers.last().unwrap().code, step), (Code::ABORT, Step::Close));

    let mut peer = Peer::open();
    for byte in 0..29 {
        let (answers, _) = peer.send(&GET[..1 + byte % 4]);
        assert!(answers.is_empty());
        assert_eq!(peer.wait(Duration::from_secs(1)).1, Step::Continue);
    }
    assert_eq!(peer.wait(Duration::from_secs(1)).1, Step::Close);
}

#[test]
fn a_silent_peer_is_asked_for_a_sign_of_life() {
    let mut peer = Peer::open();
    let (answers, step) = peer.wait(SILENCE);
    assert_eq!((answers[0].code, step), (Code::PING, Step::Continue));
    peer.send(&[0x00, 0xe3]);
    assert_eq!(peer.wait(ANSWER_TO_PING).1, Step::Continue, "it has answered");
    peer.wait(SILENCE);
    assert_eq!(peer.wait(ANSWER_TO_PING).1, Step::Close);
}

#[test]
fn a_token_that_is_too_long_is_answered_and_the_connection_goes_on() {
    let mut peer = Peer::open();
    let mut request = Vec::new();
    drop(Writer::stream(&mut request, Code::GET, &[7; 65]));
    let (answers, step) = peer.send(&request);
    assert_eq!((answers[0].code, step), (Code::BAD_REQUEST, Step::Continue));
    assert_eq!(answers[0].as_message().token, [7; 65]);
}

#[test]
fn messages_of_a_websocket_have_no_length() {
    let mut framing = Framing::websocket(1152);
    let mut out = Vec::new();
    framing.put_response(Code::CONTENT, b"t", "hello", &mut out);
    assert_eq!(out[..2], [0x82, 9]);
    let message = decode_websocket(&out[2..], &Limits::default()).unwrap();
    assert_eq!((message.code, message.payload), (Code::CONTENT, &b"hello"[..]));
}
