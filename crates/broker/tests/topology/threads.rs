//! Everything at once, from several threads: nobody waits for ever, and nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use tercet_amqp::field::{Table, TableBuf, Value};
use tercet_broker::actor::AllRights;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::exchange::request::{Bind, DeclareExchange, DeclareQueue, Destination};
use tercet_broker::exchange::route_cache::ExchangeRoutes;
use tercet_broker::exchange_publication::ExchangePublication;
use tercet_broker::message::{Properties, PropertyEncoding};
use tercet_broker::policy::{ApplyTo, Policy, PolicyKind};
use tercet_broker::vhost::Vhost;

use crate::world::{World, actor, table};

const ROUNDS: usize = 3_000;
const EXCHANGES: [(&str, &str); 4] =
    [("x", "direct"), ("y", "fanout"), ("z", "topic"), ("amq.topic", "topic")];
const QUEUES: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: [&str; 5] = ["a", "a.b", "#", "*.b", "%2E.a"];

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

fn change(vhost: &Vhost, seed: u64) {
    let (me, mut effects, mut dice) = (actor(seed, Arc::new(AllRights)), Effects::default(), Dice(seed));
    let dead_letters =
        table(&[("x-dead-letter-exchange", Value::from("z")), ("x-max-length", Value::I32(3))]);
    for _ in 0..ROUNDS {
        let now = Now::read();
        let (exchange, queue, key) =
            (EXCHANGES[dice.roll(4)], QUEUES[dice.roll(4)], KEYS[dice.roll(KEYS.len())]);
        let destination = match dice.roll(3) {
            0 => Destination::Exchange(EXCHANGES[dice.roll(4)].0),
            _ => Destination::Queue(queue),
        };
        let bind = Bind { source: exchange.0, destination, key, arguments: Table::default() };
        // What has been deleted meanwhile is refused, as it should be.
        match dice.roll(12) {
            0 => drop(vhost.delete_queue(&me, queue, false, false, now, &mut effects)),
            1 => drop(vhost.delete_exchange(&me, exchange.0, false, now, &mut effects)),
            2 | 3 => {
                let (name, kind) = exchange;
                let auto_delete = name == "y";
                let request = DeclareExchange { name, kind, auto_delete, ..Default::default() };
                drop(vhost.declare_exchange(&me, &request, now, &mut effects));
            }
            4 | 5 => {
                let arguments = dead_letters.as_table();
                let request = DeclareQueue { name: queue, arguments, ..Default::default() };
                drop(vhost.declare_queue(&me, &request, now, &mut effects));
            }
            6 => drop(vhost.unbind(&me, &bind, now, &mut effects)),
            7 => {
                let definition = table(&[("max-length", Value::I32(2))]);
                let policy =
                    Policy::new(PolicyKind::User, "p", "[ab]", ApplyTo::All, 0, &definition.as_table())
                        .unwrap();
                vhost.set_policy(PolicyKind::User, policy, now, &mut effects);
                vhost.clear_policy(PolicyKind::User, "p", now, &mut effects);
            }
            _ => drop(vhost.bind(&me, &bind, now, &mut effects)),
        }
    }
}

fn publish(vhost: &Vhost, seed: u64, done: &AtomicBool) {
    let (me, mut effects, mut dice) = (actor(seed, Arc::new(AllRights)), Effects::default(), Dice(seed));
    let mut routes = ExchangeRoutes::default();
    while !done.load(Relaxed) {
        let publication = ExchangePublication {
            exchange: if dice.roll(5) == 0 { "" } else { EXCHANGES[dice.roll(4)].0 },
            routing_key: ["a", "a.b", "x.b", "%2E.a"][dice.roll(4)],
            properties: Properties { encoding: PropertyEncoding::Amqp, bytes: &[0, 0] },
            payload: b"m",
            mandatory: false,
        };
        drop(vhost.publish_to_exchange(&me, &mut routes, &publication, Now::read(), &mut effects));
        effects.wakes.clear();
    }
}

#[test]
fn changes_and_publications_do_not_hinder_each_other() {
    let mut world = World::default();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..2)
            .map(|n| {
                scope.spawn({
                    let (vhost, done) = (&world.vhost, &done);
                    move || publish(vhost, 77 + n, done)
                })
            })
            .collect();
        let changers: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn({
                    let vhost = &world.vhost;
                    move || change(vhost, 5 + n)
                })
            })
            .collect();
        changers.into_iter().for_each(|changer| changer.join().expect("no panic"));
        done.store(true, Relaxed);
        publishers.into_iter().for_each(|publisher| publisher.join().expect("no panic"));
    });
    for queue in QUEUES {
        world.delete_queue(queue);
    }
    for (exchange, _) in EXCHANGES.into_iter().take(3) {
        world.try_delete_exchange(exchange, false).unwrap();
    }
    let loops = world.vhost.bindings();
    for binding in &loops {
        assert_eq!((&*binding.source, &*binding.destination), ("amq.topic", "amq.topic"));
        world.try_unbind("amq.topic", Destination::Exchange("amq.topic"), &binding.key).unwrap();
    }
    assert!(world.vhost.bindings().is_empty());
    assert_eq!(world.vhost.subscriptions(), 0, "nothing is left in the topic space");
    assert!(!world.publish_with("amq.topic", "a.b", &TableBuf::new(), "m"));
}
