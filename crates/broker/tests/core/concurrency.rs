//! Many threads on one virtual host: the end is consistent, and there is one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Client, Got, Line, Random, TestJournal, TestOutbox, World};
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};
use tercet_broker::limits::Limits;
use tercet_broker::message::{Properties, Publication, Qos};
use tercet_broker::outbox::ConnectionRef;
use tercet_broker::vhost::Vhost;
use tercet_broker::vhost::connection::{Connect, Ending};
use tercet_broker::vhost::subscribing::{Subscribe, split_share};

/// A thread's view of the virtual host: it drives its own connections, as a reactor does.
pub struct Reactor {
    pub vhost: Arc<Vhost>,
    pub effects: Effects,
    pub now: Now,
    pub random: Random,
    slot: u32,
}

impl Reactor {
    pub fn new(vhost: &Arc<Vhost>, seed: u64) -> Self {
        Self {
            vhost: Arc::clone(vhost),
            effects: Effects::default(),
            now: Now::read(),
            random: Random::new(seed),
            slot: 0,
        }
    }

    pub fn connect(&mut self, client_id: &str, clean_start: bool, expiry: u32, window: u16) -> Client {
        self.slot += 1;
        let connection = ConnectionRef { reactor: 0, slot: self.slot, generation: 0 };
        let line =
            Line { room: 1000, limit: 100_000, max_packet: usize::MAX, reading: true, ..Line::default() };
        let line = Arc::new(Mutex::new(line));
        let request = Connect {
            client_id: client_id.into(),
            user: None,
            clean_start,
            expiry,
            window,
            will: None,
            outbox: Box::new(TestOutbox { connection, line: Arc::clone(&line) }),
        };
        let connected = self.vhost.connect(request, self.now, &mut self.effects).unwrap();
        self.vhost.start_redelivery(&connected.attachment, self.now, &mut self.effects);
        let session_present = connected.session_present;
        Client { attachment: connected.attachment, line, session_present, connection }
    }

    pub fn subscribe(&mut self, client: &Client, filter: &str, qos: Qos) {
        let (share, path) = match split_share(filter) {
            Some((share, path)) => (Some(share), path),
            None => (None, filter),
        };
        let options = SubscriptionOptions { qos, no_local: false, retain_as_published: false, id: None };
        let retain_handling = RetainHandling::SendAtSubscribe;
        let request = Subscribe { filter, share, path, options, retain_handling };
        // Another thread may have taken the session over.
        let _ = self.vhost.subscribe(&client.attachment, &request, &mut self.effects);
    }

    pub fn publish(&mut self, client: &mut Client, topic: &str, payload: &str, qos: Qos) {
        let publication = Publication {
            topic,
            payload: payload.as_bytes(),
            properties: Properties::NONE,
            qos,
            retain: false,
            expiry: None,
            publisher: client.attachment.session.id(),
        };
        self.vhost.publish(&mut client.attachment, &publication, self.now, &mut self.effects);
    }

    /// Drains a connection and answers what it was sent; returns the payloads.
    pub fn serve(&mut self, client: &Client) -> Vec<String> {
        let mut drained = tercet_broker::outbox::Drained::default();
        let session = &client.attachment.session;
        let mut payloads = Vec::new();
        if session.drain(client.attachment.epoch, &mut drained).is_err() {
            return payloads;
        }
        while drained.resume
            && self.vhost.resume(session, client.attachment.epoch, self.now, &mut self.effects)
        {}
        let mut answers = Vec::new();
        for got in client.take() {
            match got {
                Got::Release(id) => answers.push(Acknowledgement::Completed(id)),
                Got::Publish { payload, qos, id, .. } => {
                    payloads.push(payload);
                    match qos {
                        1 => answers.push(Acknowledgement::Done(id)),
                        2 => answers.push(Acknowledgement::Received(id)),
                        _ => {}
                    }
                }
            }
        }
        if !answers.is_empty() {
            self.vhost.acknowledge(&client.attachment, &answers, self.now, &mut self.effects, |_| {});
        }
        payloads
    }
}

#[test]
fn clients_that_fight_over_their_sessions_leave_a_consistent_broker() {
    const THREADS: u64 = 4;
    const STEPS: usize = 15_000;
    let world =
        World::at(Now::read(), Limits { max_queued_messages: 50, ..Limits::default() }, Arc::default());
    let names = ["ann", "bob", "cid"];
    let filters = ["#", "a/+", "b", "$share/g/a/#", "$share/g/#", "$queue/b"];
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| {
            let mut reactor = Reactor::new(&world.vhost, seed + 1);
            thread::spawn(move || {
                let mut client: Option<Client> = None;
                for step in 0..STEPS {
                    let Some(mut held) = client.take() else {
                        let name = *reactor.random.pick(&names);
                        let clean_start = reactor.random.one_in(3);
                        let expiry = *reactor.random.pick(&[0, 60]);
                        let window = *reactor.random.pick(&[1, 20]);
                        client = Some(reactor.connect(name, clean_start, expiry, window));
                        continue;
                    };
                    let filter = *reactor.random.pick(&filters);
                    match reactor.random.below(10) {
                        0 => {
                            let ending = *reactor.random.pick(&[Ending::Normal, Ending::Abnormal]);
                            let (now, effects) = (reactor.now, &mut reactor.effects);
                            reactor.vhost.disconnect(&held.attachment, ending, None, now, effects);
                            continue;
                        }
                        1 => continue,
                        2 => reactor.subscribe(&held, filter, Qos::ExactlyOnce),
                        3 => {
                            let (now, effects) = (reactor.now, &mut reactor.effects);
                            reactor.vhost.unsubscribe(&held.attachment, filter, now, effects);
                        }
                        4..8 => {
                            let topic = *reactor.random.pick(&["a/x", "a/y", "b"]);
                            let qos = Qos::from_number(reactor.random.below(3) as u8).unwrap();
                            reactor.publish(&mut held, topic, &step.to_string(), qos);
                        }
                        _ => {
                            reactor.serve(&held);
                        }
                    }
                    reactor.effects.wakes.clear();
                    client = Some(held);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }

    // The log tells the same as the memory, and everything can be taken down to nothing.
    let rebuilt = world.restarted(usize::MAX);
    let without_offline = |world: &World| {
        let records = world.vhost.durable_records();
        let lines = records.iter().map(|record| format!("{record:?}"));
        lines.filter(|line| !line.contains("Offline {")).collect::<Vec<_>>()
    };
    assert_eq!(without_offline(&world), without_offline(&rebuilt));
    let mut effects = Effects::default();
    for name in names {
        world.vhost.remove_session(name, world.now, &mut effects);
    }
    assert_eq!(world.vhost.sessions().len(), 0);
    assert_eq!(world.vhost.subscriptions(), 0);
    assert!(world.vhost.durable_records().is_empty());
}

#[test]
fn a_shared_subscription_served_by_many_threads_loses_and_repeats_nothing() {
    const PUBLISHERS: usize = 2;
    const MEMBERS: usize = 3;
    const MESSAGES: usize = 8_000;
    let journal = Arc::new(TestJournal::default());
    let world = World::at(Now::read(), Limits::default(), Arc::clone(&journal));
    let received = Arc::new(AtomicU64::new(0));
    let expected = (PUBLISHERS * MESSAGES) as u64;
    // All members are there before the first message.
    let members: Vec<_> = (0..MEMBERS)
        .map(|number| {
            let mut reactor = Reactor::new(&world.vhost, 100 + number as u64);
            let client = reactor.connect(&format!("member{number}"), true, 60, 2);
            reactor.subscribe(&client, "$share/g/t", Qos::AtLeastOnce);
            (reactor, client)
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let mut reactor = Reactor::new(&world.vhost, number as u64);
            thread::spawn(move || {
                let mut client = reactor.connect(&format!("publisher{number}"), true, 0, 10);
                for message in 0..MESSAGES {
                    reactor.publish(&mut client, "t", &format!("{number}-{message}"), Qos::AtLeastOnce);
                    reactor.effects.wakes.clear();
                }
            })
        })
        .collect();
    let members: Vec<_> = members
        .into_iter()
        .map(|(mut reactor, client)| {
            let received = Arc::clone(&received);
            thread::spawn(move || {
                let mut all = Vec::new();
                // Bounded: a message that nobody is told of would keep this from ending.
                for _ in 0..50_000_000_u64 {
                    if received.load(Ordering::SeqCst) >= expected {
                        break;
                    }
                    let got = reactor.serve(&client);
                    received.fetch_add(got.len() as u64, Ordering::SeqCst);
                    if got.is_empty() {
                        thread::yield_now();
                    }
                    all.extend(got);
                    reactor.effects.wakes.clear();
                }
                all
            })
        })
        .collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let mut all: Vec<String> = members.into_iter().flat_map(|member| member.join().unwrap()).collect();
    assert_eq!(all.len() as u64, expected);
    all.sort();
    all.dedup();
    assert_eq!(all.len() as u64, expected, "each message once");
    assert!(
        world
            .restarted(usize::MAX)
            .vhost
            .durable_records()
            .iter()
            .all(|record| { !format!("{record:?}").contains("Enqueued") })
    );
}

#[test]
fn order_per_publisher_holds_while_a_reader_reconnects() {
    const MESSAGES: usize = 8_000;
    let world = World::default();
    let mut reactor = Reactor::new(&world.vhost, 7);
    let mut reader = reactor.connect("reader", false, 60, 5);
    reactor.subscribe(&reader, "t", Qos::ExactlyOnce);
    let mut writer_reactor = Reactor::new(&world.vhost, 8);
    let writer = thread::spawn(move || {
        let mut writer = writer_reactor.connect("writer", true, 0, 10);
        for message in 0..MESSAGES {
            writer_reactor.publish(&mut writer, "t", &message.to_string(), Qos::ExactlyOnce);
            writer_reactor.effects.wakes.clear();
        }
    });
    let mut all: Vec<usize> = Vec::new();
    let mut round = 0_u64;
    while all.last() != Some(&(MESSAGES - 1)) {
        round += 1;
        assert!(round < 50_000_000, "{} of {MESSAGES} after {round} rounds", all.len());
        if reactor.random.one_in(50) {
            reader = reactor.connect("reader", false, 60, 5);
        }
        let payloads = reactor.serve(&reader);
        all.extend(payloads.iter().map(|text| text.parse::<usize>().unwrap()));
        reactor.effects.wakes.clear();
    }
    writer.join().unwrap();
    // What was under way when the connection ended comes again; nothing else does, and never out of order.
    let mut seen = 0;
    for number in all {
        assert!(number <= seen, "{number} came before {seen}");
        seen = seen.max(number + 1);
    }
    assert_eq!(seen, MESSAGES);
}
