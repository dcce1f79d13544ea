//! The message layer: what is sent twice happens once, and strangers' messages change nothing (RFC 7252 §4).

use std::net::SocketAddr;

use tercet_interop::{Broker, Connect, Wire};

use crate::wire::{
    ACK, BLOCK1, CHANGED, CON, CONTENT, CONTINUE, CREATED, DELETE, GET, Message, NON, OBSERVE, POST, PUT,
    Peer, REQUEST_TAG, RST, code,
};

fn start() -> (Broker, SocketAddr) {
    let broker = Broker::start();
    let address = broker.address("coap");
    (broker, address)
}

/// A subscriber of MQTT that counts what was published.
fn listener(broker: &Broker, filter: &str) -> Wire {
    let mut wire = Wire::connect(broker, &Connect::v311("listener").keep_alive(0));
    wire.subscribe(filter, 1);
    wire
}

#[test]
fn a_repeated_request_is_answered_again_and_not_done_again() {
    let (broker, address) = start();
    let mut listener = listener(&broker, "t/#");
    let mut peer = Peer::new(address);
    for (method, expected) in [(PUT, CREATED), (POST, CHANGED), (PUT, CHANGED)] {
        let request = Message::request(CON, method, peer.id(), "ps/t/a").payload(b"once");
        let first = peer.ask(&request);
        assert_eq!((first.kind, first.code, first.id), (ACK, expected, request.id));
        for _ in 0..3 {
            assert_eq!(peer.ask(&request), first);
        }
    }
    let delete = Message::request(CON, DELETE, peer.id(), "ps/t/a");
    let first = peer.ask(&delete);
    assert_eq!(peer.ask(&delete), first);
    peer.call(POST, "ps/t/end", b"end");
    let heard: Vec<_> =
        std::iter::from_fn(|| Some(listener.take())).take_while(|(topic, _)| topic != "t/end").collect();
    assert_eq!(heard.len(), 4, "{heard:?}");
}

#[test]
fn repeated_non_confirmable_requests_are_passed_over() {
    let (broker, address) = start();
    let mut listener = listener(&broker, "t/#");
    let mut peer = Peer::new(address);
    let request = Message::request(NON, POST, peer.id(), "ps/t/a").payload(b"once");
    for _ in 0..5 {
        peer.send(&request.encode());
    }
    let answers: Vec<_> = peer.settled();
    assert_eq!(answers.iter().map(|answer| (answer.kind, answer.code)).collect::<Vec<_>>(), [(NON, CHANGED)]);
    peer.call(POST, "ps/t/end", b"end");
    assert_eq!(listener.take().1, "once");
    assert_eq!(listener.take().1, "end");
}

/// Class 13: the same id with another token or payload is a duplicate all the same (RFC 7252 §4.5).
#[test]
fn a_message_id_cannot_be_used_again_for_something_else() {
    let (broker, address) = start();
    let mut listener = listener(&broker, "t/#");
    let mut peer = Peer::new(address);
    let request = Message::request(CON, POST, peer.id(), "ps/t/a").payload(b"first");
    let first = peer.ask(&request);
    let forged = request.clone().token(b"other").payload(b"second");
    assert_eq!(peer.ask(&forged), first);
    // Another client may use it.
    let mut other = Peer::new(address);
    let own = other.ask(&request.payload(b"third"));
    assert_eq!(own.code, CHANGED);
    peer.call(POST, "ps/t/end", b"end");
    let heard = [listener.take().1, listener.take().1, listener.take().1];
    assert_eq!(heard, ["first", "third", "end"]);
    other.settle();
}

/// Class 13: acknowledgements and resets that match nothing, by the thousand.
#[test]
fn acknowledgements_and_resets_of_nothing_change_nothing() {
    let (mut broker, address) = start();
    let mut peer = Peer::new(address);
    peer.call(PUT, "ps/v", b"0");
    let register = Message::request(CON, GET, peer.id(), "ps/v").option(OBSERVE, b"");
    assert_eq!(peer.ask(&register).code, CONTENT);
    for id in 0..5000_u16 {
        let [high, low] = id.to_be_bytes();
        // The id of the registration itself is the client's, not the server's.
        peer.send(&[if id % 2 == 0 { 0x60 } else { 0x70 }, 0, high, low]);
        if id % 256 == 255 {
            peer.settle();
        }
    }
    peer.call(PUT, "ps/v", b"1");
    let told =
        peer.settled().into_iter().chain(std::iter::once_with(|| peer.take())).find(|m| m.code == CONTENT);
    // 5,000 of 65,536 ids were reset before the notification had one: it is told of this change.
    assert_eq!(told.unwrap().payload, b"1");
    broker.assert_alive();
}

#[test]
fn tokens_are_opaque() {
    let (_broker, address) = start();
    let mut peer = Peer::new(address);
    peer.call(PUT, "ps/v", b"v");
    for token in [&b""[..], &[0], &[0, 0], &[0; 8], &[0xFF; 8], b"\x00\x01"] {
        let request = Message::request(CON, GET, peer.id(), "ps/v").token(token);
        let answer = peer.ask(&request);
        assert_eq!((answer.code, &answer.token[..]), (CONTENT, token));
    }
}

/// Class 14: registrations differ by token, and an empty one is a token.
#[test]
fn observations_with_an_empty_token_do_not_collide() {
    let (_broker, address) = start();
    let mut peer = Peer::new(address);
    let mut other = Peer::new(address);
    for (at, name) in ["ps/a", "ps/b"].into_iter().enumerate() {
        peer.call(PUT, name, b"0");
        for who in [&mut peer, &mut other] {
            let register =
                Message::request(CON, GET, who.id(), name).option(OBSERVE, b"").token(&[1; 1][..at]);
            assert_eq!(who.ask(&register).code, CONTENT);
        }
    }
    let mut publisher = Peer::new(address);
    publisher.call(PUT, "ps/a", b"1");
    for who in [&peer, &other] {
        let told = who.take();
        assert_eq!((&told.payload[..], &told.token[..]), (&b"1"[..], &b""[..]));
        who.send(
            &Message { kind: ACK, code: 0, token: vec![], options: vec![], payload: vec![], ..told }.encode(),
        );
    }
    publisher.call(PUT, "ps/b", b"2");
    for who in [&peer, &other] {
        let told = who.take();
        assert_eq!((&told.payload[..], &told.token[..]), (&b"2"[..], &[1][..]));
    }
}

/// RFC 7641 §4.1: the same token registers once, however often.
#[test]
fn a_registration_again_replaces_the_first() {
    let (_broker, address) = start();
    let mut peer = Peer::new(address);
    peer.call(PUT, "ps/v", b"0");
    for _ in 0..5 {
        let register = Message::request(CON, GET, peer.id(), "ps/v").option(OBSERVE, b"").token(b"t");
        assert_eq!(peer.ask(&register).code, CONTENT);
    }
    Peer::new(address).call(PUT, "ps/v", b"1");
    let told = peer.take();
    assert_eq!(told.payload, b"1");
    assert_eq!((told.kind, &told.token[..]), (CON, &b"t"[..]));
    peer.send(
        &Message { kind: ACK, code: 0, token: vec![], options: vec![], payload: vec![], ..told }.encode(),
    );
    assert_eq!(peer.settled(), []);
}

/// RFC 7959 §2.5 and RFC 9175 §3: bodies are told apart by their tags, and an abandoned one leaves nothing.
#[test]
fn bodies_under_way_are_told_apart() {
    let (broker, address) = start();
    let mut listener = listener(&broker, "t/#");
    let mut peer = Peer::new(address);
    let mut block = |number: u32, more: bool, tag: &[u8], byte: u8| {
        let size = if more { 16 } else { 3 };
        let request = Message::request(CON, POST, peer.id(), "ps/t/b")
            .uint(BLOCK1, number << 4 | u32::from(more) << 3)
            .option(REQUEST_TAG, tag)
            .payload(&vec![byte; size]);
        peer.ask(&request).code
    };
    assert_eq!(block(0, true, b"x", b'x'), CONTINUE);
    assert_eq!(block(0, true, b"y", b'y'), CONTINUE);
    assert_eq!(block(1, true, b"x", b'x'), CONTINUE);
    // One that is left out.
    assert_eq!(block(2, true, b"y", b'y'), code(4, 8));
    assert_eq!(block(2, false, b"x", b'x'), CHANGED);
    // From the start again.
    assert_eq!(block(0, true, b"y", b'y'), CONTINUE);
    assert_eq!(block(1, false, b"y", b'y'), CHANGED);
    assert_eq!(listener.take().1, "x".repeat(35));
    assert_eq!(listener.take().1, "y".repeat(19));
}

/// RFC 7252 §4.2: a confirmable response to a question that was never asked.
#[test]
fn responses_from_strangers_are_reset() {
    let (_broker, address) = start();
    let mut peer = Peer::new(address);
    for (class, detail) in [(2, 5), (4, 4), (5, 0)] {
        let request = Message::request(CON, code(class, detail), peer.id(), "");
        let answer = peer.ask(&request);
        assert_eq!((answer.kind, answer.code, answer.id), (RST, 0, request.id));
    }
}
