//! Many threads above a log that moves in its own time: everything durable is delivered once, and nobody is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tercet_broker::clock::Now;
use tercet_broker::limits::Limits;
use tercet_broker::message::Qos;
use tercet_log::sim::SimDisk;

use crate::concurrency::Reactor;
use crate::support::LogWorld;

/// Longest wait for anything; reaching it fails the test.
const LONG: Duration = Duration::from_secs(60);
const PUBLISHERS: usize = 3;
const MESSAGES: usize = 1_500;

/// What a reactor does at the end of a turn.
fn end_turn(reactor: &mut Reactor) {
    reactor.vhost.flush();
    reactor.vhost.after_durable(reactor.now, &mut reactor.effects);
    reactor.effects.wakes.clear();
}

#[test]
fn whoever_waits_for_the_log_is_served_by_whichever_thread_it_was_left_to() {
    let (_log, world) = LogWorld::open(SimDisk::new(), Now::read(), Limits::default(), false);
    let expected = PUBLISHERS * MESSAGES;
    let members_got = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = ["alone", "member", "other"]
        .into_iter()
        .map(|name| {
            let mut reactor = Reactor::new(&world.vhost, 1);
            let client = reactor.connect(name, true, 60, 20);
            let filter = if name == "alone" { "t/#" } else { "$share/g/t/#" };
            reactor.subscribe(&client, filter, Qos::ExactlyOnce);
            let got = if name == "alone" { Arc::default() } else { Arc::clone(&members_got) };
            thread::spawn(move || {
                let end = Instant::now() + LONG;
                let mut all = Vec::new();
                while got.load(Ordering::SeqCst) < expected {
                    assert!(Instant::now() < end, "{name}: {} of {expected}", got.load(Ordering::SeqCst));
                    let payloads = reactor.serve(&client);
                    got.fetch_add(payloads.len(), Ordering::SeqCst);
                    all.extend(payloads);
                    end_turn(&mut reactor);
                    thread::yield_now();
                }
                // What is left to this thread may be somebody else's.
                while !reactor.effects.deferred.is_empty() {
                    assert!(Instant::now() < end, "{name}: {:?}", reactor.effects.deferred);
                    reactor.serve(&client);
                    end_turn(&mut reactor);
                }
                all
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let mut reactor = Reactor::new(&world.vhost, 10 + number as u64);
            thread::spawn(move || {
                let end = Instant::now() + LONG;
                let mut client = reactor.connect(&format!("publisher-{number}"), true, 0, 10);
                for message in 0..MESSAGES {
                    let qos = if message % 3 == 0 { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
                    let topic = format!("t/{number}");
                    reactor.publish(&mut client, &topic, &format!("{number}-{message}"), qos);
                    if reactor.random.one_in(4) {
                        end_turn(&mut reactor);
                    }
                }
                while !reactor.effects.deferred.is_empty() {
                    assert!(Instant::now() < end, "{:?}", reactor.effects.deferred);
                    end_turn(&mut reactor);
                    thread::yield_now();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.join().expect("no publisher panics");
    }
    let mut got = readers.into_iter().map(|reader| reader.join().expect("no reader panics"));
    let alone = got.next().unwrap_or_default();
    for number in 0..PUBLISHERS {
        let own: Vec<_> = alone.iter().filter(|payload| payload.starts_with(&format!("{number}-"))).collect();
        let wanted: Vec<_> = (0..MESSAGES).map(|message| format!("{number}-{message}")).collect();
        assert!(own.into_iter().eq(&wanted), "publisher {number}: in order, each once");
    }
    let mut members: Vec<_> = got.flatten().collect();
    assert_eq!(members.len(), expected);
    members.sort();
    members.dedup();
    assert_eq!(members.len(), expected, "each message to one member, once");
}
