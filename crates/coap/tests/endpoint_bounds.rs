//! What the message layer remembers is bounded, whatever arrives.

use proptest::prelude::*;
use tercet_coap::{
    Code, Kind, Limits, Time, Writer,
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

/// A datagram that is more often nearly right than not.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let nearly = (0..4_u8, 0..10_u8, prop_oneof![Just(0_u8), 1..8_u8, Just(0x45), any::<u8>()], 0..6_u8);
    prop_oneof![
        4 => (nearly, proptest::collection::vec(any::<u8>(), 0..12)).prop_map(|((kind, token, code, id), rest)| {
            [&[0x40 | kind << 4 | token.min(4), code, 0, id][..], &rest].concat()
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    /// Whatever arrives in whatever order, and whatever is sent meanwhile, nothing panics, the bounds hold and all ends.
    #[test]
    fn whatever_arrives(
        seed: u64, steps in proptest::collection::vec((0..6_u8, 0..4_u32, datagram(), 0..20_000_u64), 0..150),
    ) {
        let bounds = Bounds {
            peers: 3, seen_per_peer: 4, seen: 8, kept: 100, waiting_per_peer: 2, exchanges: 5, resettable_per_peer: 2,
        };
        let mut endpoint: Endpoint<u32> = Endpoint::new(Settings { bounds, ..Settings::default() }, seed);
        let mut out = Outgoing::new();
        let mut now = NOW;
        let mut kept = Vec::new();
        let heading = Heading { code: Code::CONTENT, token: b"t", tag: Tag(1) };
        for (what, peer, bytes, wait) in steps {
            match what {
                0 => now += Time::from_millis(wait),
                1 => drop(endpoint.send_confirmable(peer, heading, |_| {}, now, &mut out)),
                2 => drop(endpoint.send_non_confirmable(peer, heading, |_| {}, now, &mut out)),
                _ => match endpoint.receive(peer, &bytes, now, &mut out) {
                    Incoming::Request { mut reply, message } => match wait % 4 {
                        0 => drop(endpoint.respond(reply, Code::CHANGED, message.token, |_| {}, now, &mut out)),
                        1 => endpoint.reject(reply, now, &mut out),
                        2 => endpoint.suppress(reply, now, &mut out),
                        _ => {
                            endpoint.acknowledge_later(&mut reply, now, &mut out);
                            kept.push(reply);
                        }
                    },
                    Incoming::Response { receipt, .. } if wait % 2 == 0 => endpoint.accept(receipt, &mut out),
                    Incoming::Response { receipt, .. } => endpoint.refuse(receipt, &mut out),
                    _ => {}
                },
            }
            if kept.len() > 2 {
                endpoint.respond(kept.remove(0), Code::CONTENT, b"late", |_| {}, now, &mut out);
            }
            endpoint.run_due(now, &mut out, |_| {});
            prop_assert!(endpoint.peer_count() <= 3 && endpoint.seen_count() <= 8 && endpoint.exchange_count() <= 5);
            for (_, sent) in out.iter() {
                prop_assert!(tercet_coap::datagram::decode(sent, &Limits::default()).is_ok(), "{sent:x?}");
            }
            out.clear();
        }
        while let Some(due) = endpoint.next_due() {
            now = now.max(due);
            endpoint.run_due(now, &mut out, |_| {});
        }
        prop_assert_eq!((endpoint.exchange_count(), endpoint.peer_count(), endpoint.seen_count()), (0, 0, 0));
    }
}
