//! Bodies in bursts: Q-Block1 and Q-Block2 (RFC 9177).

use tercet_interop::Broker;

use crate::wire::{
    BLOCK1, CHANGED, CON, CONTENT, CONTINUE, CREATED, GET, Message, NON, PUT, Peer, REQUEST_TAG, code,
};

const CONTENT_FORMAT: u16 = 12;
const Q_BLOCK1: u16 = 19;
const BLOCK2: u16 = 23;
const SIZE2: u16 = 28;
const Q_BLOCK2: u16 = 31;
const SIZE1: u16 = 60;
/// 16 bytes: SZX 0.
const BLOCK: usize = 16;
const BODY: usize = 24 * BLOCK + 5;

fn body() -> Vec<u8> {
    (0..BODY).map(|i| (i / BLOCK) as u8).collect()
}

/// The block `number` of the body, in a request of its own.
fn piece(peer: &mut Peer, number: usize) -> Message {
    let body = body();
    let end = BODY.min((number + 1) * BLOCK);
    let more = u32::from(end < BODY) << 3;
    Message::request(NON, PUT, peer.id(), "ps/q/a")
        .token(&[number as u8])
        .uint(Q_BLOCK1, (number as u32) << 4 | more)
        .uint(SIZE1, BODY as u32)
        .option(REQUEST_TAG, b"r")
        .payload(&body[number * BLOCK..end])
}

fn send(peer: &mut Peer, numbers: impl IntoIterator<Item = usize>) -> Vec<Message> {
    for number in numbers {
        let piece = piece(peer, number).encode();
        peer.send(&piece);
    }
    peer.settled()
}

#[test]
fn rule42_a_body_is_put_together_from_bursts() {
    let broker = Broker::start();
    let mut peer = Peer::new(broker.address("coap"));
    // A whole set is continued, once.
    let answers = send(&mut peer, 0..10);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].kind, answers[0].code), (NON, CONTINUE));
    assert_eq!(answers[0].number(Q_BLOCK1), Some(9 << 4 | 8));
    // Two are lost, and told when the next set has begun.
    let answers = send(&mut peer, [10, 11, 13, 14, 15, 17, 18, 19, 20]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].code, answers[0].number(CONTENT_FORMAT)), (code(4, 8), Some(272)));
    assert_eq!(answers[0].payload, [12, 16]);
    assert!(send(&mut peer, [12, 16, 21, 22, 23]).iter().all(|answer| answer.code == CONTINUE));
    let answers = send(&mut peer, [24]);
    assert_eq!(answers.iter().map(|answer| answer.code).collect::<Vec<_>>(), [CREATED]);
    assert_eq!(peer.call(GET, "ps/q/a", b"").payload, body());
}

#[test]
fn rule42_what_is_missing_is_told_after_a_while() {
    let broker = Broker::start();
    let mut peer = Peer::new(broker.address("coap"));
    send(&mut peer, (0..10).filter(|&number| number != 4));
    let told = peer.take();
    assert_eq!((told.kind, told.code, &told.payload[..]), (NON, code(4, 8), &[4][..]));
}

#[test]
fn rule42_an_answer_comes_in_bursts() {
    let broker = Broker::start();
    let mut peer = Peer::new(broker.address("coap"));
    assert_eq!(peer.call(PUT, "ps/q/a", &body()).code, CREATED);
    let mut read = vec![None; 25];
    let mut ask = |peer: &mut Peer, wanted: &[u32]| {
        let mut request = Message::request(NON, GET, peer.id(), "ps/q/a").token(b"q");
        for &value in wanted {
            request = request.uint(Q_BLOCK2, value);
        }
        peer.send(&request.encode());
        let answers = peer.settled();
        for answer in &answers {
            assert_eq!((answer.code, &answer.token[..]), (CONTENT, &b"q"[..]));
            assert_eq!(answer.number(SIZE2), Some(BODY as u32));
            let value = answer.number(Q_BLOCK2).expect("Q-Block2");
            assert_eq!(value >> 3 & 1 == 1, value >> 4 < 24);
            read[value as usize >> 4] = Some(answer.payload.clone());
        }
        answers.len()
    };
    assert_eq!(ask(&mut peer, &[8]), 10);
    assert_eq!(ask(&mut peer, &[10 << 4 | 8]), 10);
    assert_eq!(ask(&mut peer, &[20 << 4, 22 << 4, 24 << 4]), 3);
    assert_eq!(ask(&mut peer, &[21 << 4 | 8]), 4);
    let read: Vec<u8> = read.into_iter().flatten().flatten().collect();
    assert_eq!(read, body());
}

#[test]
fn rule42_what_is_refused() {
    let broker = Broker::start();
    let mut peer = Peer::new(broker.address("coap"));
    assert_eq!(peer.call(PUT, "ps/q/a", &body()).code, CREATED);
    let put = |peer: &mut Peer| Message::request(CON, PUT, peer.id(), "ps/q/a").payload(&[0; BLOCK]);
    let get = |peer: &mut Peer| Message::request(CON, GET, peer.id(), "ps/q/a");
    let requests = [
        ("no Size1", put(&mut peer).uint(Q_BLOCK1, 8).option(REQUEST_TAG, b"r")),
        ("no Request-Tag", put(&mut peer).uint(Q_BLOCK1, 8).uint(SIZE1, 64)),
        ("both kinds of blocks", put(&mut peer).uint(Q_BLOCK1, 8).uint(BLOCK1, 8)),
        ("both kinds of blocks", get(&mut peer).uint(BLOCK2, 0).uint(Q_BLOCK2, 0)),
        ("the reserved size", get(&mut peer).uint(Q_BLOCK2, 7)),
        ("beyond the end", get(&mut peer).uint(Q_BLOCK2, 900 << 4)),
    ];
    for (name, request) in requests {
        assert_eq!(peer.ask(&request).code, code(4, 0), "{name}");
    }
    assert_eq!(peer.call(PUT, "ps/q/a", b"still there").code, CHANGED);
}
