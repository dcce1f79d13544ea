//! Many threads at one queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use super::{World, settings};
use crate::clock::Now;
use crate::consumer::{ConsumerOutbox, QueueDelivery};
use crate::effects::Effects;
use crate::message::{Properties, PropertyEncoding};
use crate::named_queue::{Consume, Consumption, Incoming, NamedQueue, Outcome, QueueKind, Settlement};
use crate::outbox::Pushed;

const PUBLISHERS: usize = 3;
const CONSUMERS: usize = 3;
const EACH: usize = 2000;

/// Keeps deliveries until its thread comes for them; has room for a few.
#[derive(Default)]
struct Slow {
    got: Mutex<Vec<(Settlement, String)>>,
}

impl ConsumerOutbox for Slow {
    fn deliver(&self, delivery: &QueueDelivery<'_>, _: &mut Effects) -> Pushed {
        let mut got = self.got.lock();
        if got.len() >= 7 {
            return Pushed::Full;
        }
        let settlement = Settlement {
            queue: Arc::clone(delivery.queue),
            sequence: delivery.sequence,
            consumption: Some(Arc::clone(delivery.consumption)),
            outcome: Outcome::Ack,
        };
        got.push((settlement, String::from_utf8(delivery.payload.to_vec()).unwrap()));
        Pushed::Accepted
    }

    fn cancelled(&self, _: &Consumption, _: &mut Effects) {}

    fn get_again(&self, _: &Arc<NamedQueue>, _: &mut Effects) {}
}

#[test]
fn every_message_reaches_somebody_once_and_in_the_order_of_its_publisher() {
    for no_ack in [false, true] {
        let mut world = World::default();
        let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
        let outboxes: Vec<_> = (0..CONSUMERS).map(|_| Arc::new(Slow::default())).collect();
        let consumptions: Vec<_> = outboxes
            .iter()
            .map(|outbox| {
                let request = Consume {
                    queue: "",
                    tag: "c".into(),
                    channel: 1,
                    no_ack,
                    exclusive: false,
                    priority: 0,
                    prefetch: 5,
                    arguments: Default::default(),
                    outbox: Arc::clone(outbox) as Arc<dyn ConsumerOutbox>,
                };
                world.with_context(|cx| queue.add_consumer(&request, "/", cx)).unwrap()
            })
            .collect();
        for consumption in &consumptions {
            world.vhost.start_consuming(consumption, world.now, &mut world.effects);
        }
        let (vhost, left) = (&world.vhost, &AtomicUsize::new(PUBLISHERS * EACH));
        let seen: Vec<_> = std::thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let queue = &queue;
                scope.spawn(move || publish(vhost, queue, publisher));
            }
            let consumers: Vec<_> = outboxes
                .iter()
                .zip(&consumptions)
                .map(|(outbox, consumption)| {
                    scope.spawn(move || consume(vhost, outbox, consumption, no_ack, left))
                })
                .collect();
            consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
        });
        let mut times = HashMap::new();
        for bodies in &seen {
            let mut last = [0; PUBLISHERS];
            for body in bodies {
                *times.entry(body.clone()).or_insert(0) += 1;
                let (publisher, number) = body.split_once(' ').unwrap();
                let (publisher, number): (usize, usize) =
                    (publisher.parse().unwrap(), number.parse().unwrap());
                assert!(number > last[publisher], "{body} after {}", last[publisher]);
                last[publisher] = number;
            }
        }
        assert_eq!(times.len(), PUBLISHERS * EACH);
        assert!(times.values().all(|times| *times == 1));
        let stats = queue.stats();
        assert_eq!((stats.ready, stats.unacked), (0, 0));
        assert_eq!(world.journal.held_messages(), 0);
    }
}

fn publish(vhost: &crate::vhost::Vhost, queue: &Arc<NamedQueue>, publisher: usize) {
    let mut effects = Effects::default();
    let (exchange, key): (Arc<str>, Arc<str>) = ("x".into(), "key".into());
    for number in 1..=EACH {
        // Some persistent, some not: the order is that of publishing all the same.
        let bytes = [0x10, 0, 1 + (number % 2) as u8];
        let properties = Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes };
        let body = format!("{publisher} {number}");
        let mut incoming = Incoming::published(&exchange, &key, properties, body.as_bytes());
        let now = Now::read();
        vhost.with_context(now, &mut effects, |cx| queue.enqueue(&mut incoming, cx));
        vhost.after_durable(now, &mut effects);
    }
}

fn consume(
    vhost: &crate::vhost::Vhost,
    outbox: &Slow,
    consumption: &Arc<Consumption>,
    no_ack: bool,
    left: &AtomicUsize,
) -> Vec<String> {
    let (mut effects, mut seen) = (Effects::default(), Vec::new());
    while left.load(SeqCst) > 0 {
        let got = std::mem::take(&mut *outbox.got.lock());
        let now = Now::read();
        let mut settlements = Vec::new();
        for (settlement, body) in got {
            seen.push(body);
            settlements.push(settlement);
            left.fetch_sub(1, SeqCst);
        }
        if settlements.is_empty() {
            std::thread::yield_now();
        }
        if !no_ack {
            vhost.settle(&settlements, now, &mut effects);
        }
        vhost.resume_consumers(std::slice::from_ref(consumption), now, &mut effects);
        vhost.after_durable(now, &mut effects);
    }
    seen
}
