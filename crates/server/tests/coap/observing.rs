//! Observers.

use tercet_coap::{Code, Kind, Number, OwnedMessage};
use tercet_server::config::Limit;

use super::client::{Client, Reply, request, start, with_payload};

fn observe(path: &str, wish: &[u8], token: &[u8]) -> OwnedMessage {
    let mut message = request(Code::GET, path);
    message.token = tercet_coap::Token::new(token).unwrap();
    message.add(Number::OBSERVE, wish);
    message
}

fn acknowledge(client: &Client, reply: &Reply) {
    if reply.kind == Kind::Confirmable {
        client.send_as(Kind::Acknowledgement, reply.id, &OwnedMessage::new(Code::EMPTY));
    }
}

#[test]
fn observers_hear_of_changes_until_they_have_heard_enough() {
    let server = start(|_| {});
    let (mut observer, mut publisher) = (Client::new(&server), Client::new(&server));
    let first = observer.ask(&observe("ps/o", &[], b"tk"));
    assert_eq!((first.code(), first.payload()), (Code::CONTENT, &b""[..]));
    let mut before = first.uint(Number::OBSERVE).unwrap();
    for n in 0..12_u8 {
        publisher.ask(&with_payload(Code::PUT, "ps/o", &[b'a' + n]));
        let reply = observer.receive();
        acknowledge(&observer, &reply);
        assert_eq!((reply.code(), reply.payload()), (Code::CONTENT, &[b'a' + n][..]));
        assert_eq!(reply.message.token.as_bytes(), b"tk");
        // The first one and every tenth from there on.
        assert_eq!(reply.kind == Kind::Confirmable, n % 10 == 0, "{n}");
        let sequence = reply.uint(Number::OBSERVE).unwrap();
        assert!(sequence > before);
        before = sequence;
    }
    let last = observer.ask(&observe("ps/o", &[1], b"tk"));
    assert_eq!((last.code(), last.uint(Number::OBSERVE)), (Code::CONTENT, None));
    publisher.ask(&with_payload(Code::PUT, "ps/o", b"unheard"));
    assert_eq!(observer.ask(&request(Code::GET, "ps/o")).payload(), b"unheard");
}

#[test]
fn who_rejects_a_notification_hears_no_more() {
    let server = start(|_| {});
    let (mut observer, mut publisher) = (Client::new(&server), Client::new(&server));
    observer.ask(&observe("ps/r", &[], b"x"));
    publisher.ask(&with_payload(Code::PUT, "ps/r", b"1"));
    let reply = observer.receive();
    observer.send_as(Kind::Reset, reply.id, &OwnedMessage::new(Code::EMPTY));
    publisher.ask(&with_payload(Code::PUT, "ps/r", b"2"));
    assert_eq!(observer.ask(&request(Code::GET, "ps/r")).payload(), b"2");
}

#[test]
fn a_value_that_is_cleared_ends_its_observation() {
    let server = start(|_| {});
    let (mut observer, mut publisher) = (Client::new(&server), Client::new(&server));
    publisher.ask(&with_payload(Code::PUT, "ps/c", b"1"));
    assert_eq!(observer.ask(&observe("ps/c", &[], b"x")).payload(), b"1");
    assert_eq!(publisher.ask(&request(Code::DELETE, "ps/c")).code(), Code::DELETED);
    let last = observer.receive();
    acknowledge(&observer, &last);
    assert_eq!((last.code(), last.uint(Number::OBSERVE)), (Code::NOT_FOUND, None));
}

#[test]
fn while_one_notification_is_under_way_the_next_ones_take_its_place() {
    let server = start(|config| config.coap.ack_timeout = std::time::Duration::from_millis(300));
    let (mut observer, mut publisher) = (Client::new(&server), Client::new(&server));
    observer.ask(&observe("ps/l", &[], b"x"));
    publisher.ask(&with_payload(Code::PUT, "ps/l", b"1"));
    let first = observer.receive();
    assert_eq!((first.kind, first.payload()), (Kind::Confirmable, &b"1"[..]));
    publisher.ask(&with_payload(Code::PUT, "ps/l", b"2"));
    publisher.ask(&with_payload(Code::PUT, "ps/l", b"3"));
    let again = observer.receive();
    assert_eq!((again.kind, again.payload()), (Kind::Confirmable, &b"3"[..]));
    assert_ne!(again.id, first.id);
    acknowledge(&observer, &again);
    assert_eq!(observer.ask(&request(Code::GET, "ps/l")).payload(), b"3");
}

#[test]
fn who_observes_enough_is_answered_without_being_told_of_changes() {
    let limit = std::num::NonZeroU32::new(2).unwrap();
    let server = start(|config| config.coap.max_observers_per_peer = Limit::At(limit));
    let (mut observer, mut other) = (Client::new(&server), Client::new(&server));
    for (token, path, is_told) in [(b"1", "ps/a", true), (b"2", "ps/b", true), (b"3", "ps/c", false)] {
        let reply = observer.ask(&observe(path, &[], token));
        assert_eq!((reply.code(), reply.uint(Number::OBSERVE).is_some()), (Code::CONTENT, is_told));
    }
    // The same relation again is not one more.
    assert!(observer.ask(&observe("ps/b", &[], b"2")).uint(Number::OBSERVE).is_some());
    assert!(other.ask(&observe("ps/c", &[], b"1")).uint(Number::OBSERVE).is_some());
}

#[test]
fn notifications_come_in_blocks_of_the_size_that_was_asked_for() {
    let server = start(|_| {});
    let (mut observer, mut publisher) = (Client::new(&server), Client::new(&server));
    let mut wish = observe("ps/big", &[], b"x");
    wish.set_uint(Number::BLOCK2, 2);
    observer.ask(&wish);
    publisher.ask(&with_payload(Code::PUT, "ps/big", &[7; 100]));
    let reply = observer.receive();
    assert_eq!((reply.payload().len(), reply.uint(Number::BLOCK2)), (64, Some(8 | 2)));
    assert_eq!(reply.uint(Number::SIZE2), Some(100));
}
