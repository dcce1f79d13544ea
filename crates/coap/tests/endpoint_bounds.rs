//! What the message layer remembers is bounded, whatever arrives.

use tercet_coap::{
    Code, Kind, Time, Writer,
    endpoint::{Bounds, Endpoint, Heading, Incoming, Outgoing, Refused, Settings, Tag},
};

const NOW: Time = Time::from_secs(1_000);

fn post(id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::datagram(&mut bytes, Kind::Confirmable, id, Code::POST, b"t").payload(b"x");
    bytes
}

#[test]
fn spoofed_sources_cannot_fill_the_memory() {
    let bounds = Bounds { peers: 1_000, seen: 2_000, seen_per_peer: 8, ..Bounds::default() };
    let mut endpoint: Endpoint<u32> = Endpoint::new(Settings { bounds, ..Settings::default() }, 3);
    let mut out = Outgoing::new();
    for peer in 0..100_000_u32 {
        for id in 0..2 {
            let request = post(id);
            assert!(matches!(endpoint.receive(peer, &request, NOW, &mut out), Incoming::Request { .. }));
        }
        assert!(endpoint.peer_count() <= 1_000 && endpoint.seen_count() <= 2_000);
    }
    // One that talks all the time keeps its last ones all the same.
    for id in 0..20_000_u16 {
        let request = post(id);
        assert!(matches!(endpoint.receive(0, &request, NOW, &mut out), Incoming::Request { .. }));
        assert!(matches!(endpoint.receive(0, &request, NOW, &mut out), Incoming::Nothing), "{id}");
        assert!(endpoint.seen_count() <= 2_000);
    }
    assert_eq!(endpoint.statistics().evicted, 99_001);
}

#[test]
fn long_answers_cannot_fill_the_memory() {
    let bounds = Bounds { kept: 100_000, ..Bounds::default() };
    let mut endpoint: Endpoint<u32> = Endpoint::new(Settings { bounds, ..Settings::default() }, 3);
    let mut out = Outgoing::new();
    for id in 0..50 {
        for peer in 0..100 {
            let request = post(id);
            let Incoming::Request { reply, message } = endpoint.receive(peer, &request, NOW, &mut out) else {
                continue;
            };
            let write = |writer: &mut Writer<'_>| {
                writer.payload(&[0; 1000]);
            };
            endpoint.respond(reply, Code::CHANGED, message.token, write, NOW, &mut out);
            out.clear();
            assert!(endpoint.kept_bytes() <= 101_100, "{}", endpoint.kept_bytes());
            assert!(matches!(endpoint.receive(peer, &request, NOW, &mut out), Incoming::Nothing));
            assert_eq!(out.byte_len(), 1006);
            out.clear();
        }
    }
}

#[test]
fn rule14_a_peer_that_asks_too_fast_is_answered_and_not_notified() {
    let mut endpoint: Endpoint<u32> = Endpoint::new(Settings::default(), 3);
    let mut out = Outgoing::new();
    let mut request = post(0);
    request[0] |= 0x10;
    request[1] = Code::GET.0;
    for _ in 0..100_000 {
        let Incoming::Request { reply, message } = endpoint.receive(0, &request, NOW, &mut out) else {
            continue;
        };
        endpoint.respond(reply, Code::CONTENT, message.token, |_| {}, NOW, &mut out);
    }
    assert_eq!(out.len(), 100_000);
    assert!(endpoint.statistics().reused_ids > 0);
    let heading = Heading { code: Code::CONTENT, token: b"t", tag: Tag(1) };
    let refused = endpoint.send_non_confirmable(0, heading, |_| {}, NOW, &mut out);
    assert_eq!(refused, Err(Refused::NoMessageId));
}

#[test]
fn peers_with_messages_under_way_are_not_forgotten_for_others() {
    let bounds = Bounds { peers: 10, ..Bounds::default() };
    let mut endpoint: Endpoint<u32> = Endpoint::new(Settings { bounds, ..Settings::default() }, 3);
    let mut out = Outgoing::new();
    let heading = Heading { code: Code::CONTENT, token: b"t", tag: Tag(1) };
    for peer in 0..10 {
        endpoint.send_confirmable(peer, heading, |_| {}, NOW, &mut out).expect("room");
    }
    let one_more = endpoint.send_confirmable(10, heading, |_| {}, NOW, &mut out);
    assert_eq!(one_more, Err(Refused::TooManyPeers));
    // A request of one more is carried out all the same.
    let request = post(1);
    assert!(matches!(endpoint.receive(11, &request, NOW, &mut out), Incoming::Request { .. }));
    let mut failed = 0;
    let mut now = NOW;
    while let Some(due) = endpoint.next_due() {
        now = now.max(due);
        endpoint.run_due(now, &mut out, |_| failed += 1);
    }
    assert_eq!((failed, endpoint.exchange_count(), endpoint.peer_count()), (10, 0, 0));
}
