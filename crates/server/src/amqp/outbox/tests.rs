use std::sync::Arc;

use tercet_amqp::field::Table;
use tercet_amqp::method::basic::Ack;
use tercet_amqp::{Limits as WireLimits, Method, Payload, decode};
use tercet_broker::actor::{Actor, AllRights, ConnectionId};
use tercet_broker::clock::Now;
use tercet_broker::exchange::request::DeclareQueue;
use tercet_broker::exchange::route_cache::ExchangeRoutes;
use tercet_broker::exchange_publication::ExchangePublication;
use tercet_broker::limits::Limits;
use tercet_broker::message::{Properties, PropertyEncoding};
use tercet_broker::named_queue::{Consume, Outcome, Settlement};
use tercet_broker::permission::Permissions;
use tercet_broker::vhost::Vhost;

use super::*;
use crate::event_log::EventLog;

const CONNECTION: ConnectionRef = ConnectionRef { reactor: 0, slot: 7, generation: 1 };

/// One connection that consumes from queue `q`, and somebody who publishes to it.
struct World {
    vhost: Arc<Vhost>,
    actor: Actor,
    outbox: Arc<AmqpOutbox>,
    effects: Effects,
    routes: ExchangeRoutes,
}

impl World {
    fn new(tells_cancel: bool) -> Self {
        let permissions = Permissions::allow_all();
        let vhost =
            Arc::new(Vhost::new(Limits::default(), permissions, None, Arc::new(EventLog), Arc::default()));
        let actor = Actor {
            user: Arc::from("guest"),
            vhost: Arc::from("/"),
            connection: ConnectionId(1),
            rights: Arc::new(AllRights),
        };
        let outbox = Arc::new(AmqpOutbox::new(CONNECTION, 131_072, tells_cancel, vhost.topic_mapping()));
        let mut effects = Effects::default();
        let request = DeclareQueue { name: "q", ..DeclareQueue::default() };
        vhost.declare_queue(&actor, &request, Now::read(), &mut effects).expect("declared");
        Self { vhost, actor, outbox, effects, routes: ExchangeRoutes::default() }
    }

    fn consume(&mut self, channel: u16, no_ack: bool, prefetch: u16) -> Arc<Consumption> {
        self.outbox.open_channel(channel);
        let request = Consume {
            queue: "q",
            tag: Arc::from(format!("on-{channel}")),
            channel,
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch,
            arguments: Table::default(),
            outbox: Arc::clone(&self.outbox) as Arc<dyn ConsumerOutbox>,
        };
        let consumption =
            self.vhost.consume(&self.actor, &request, Now::read(), &mut self.effects).expect("consuming");
        self.vhost.start_consuming(&consumption, Now::read(), &mut self.effects);
        consumption
    }

    fn publish(&mut self, payload: &[u8]) {
        let publication = ExchangePublication {
            exchange: "",
            routing_key: "q",
            properties: Properties { encoding: PropertyEncoding::Amqp, bytes: &[0, 0] },
            payload,
            mandatory: false,
        };
        let published = self.vhost.publish_to_exchange(
            &self.actor,
            &mut self.routes,
            &publication,
            Now::read(),
            &mut self.effects,
        );
        assert!(published.expect("published").routed);
    }

    fn settle(&mut self, channel: u16, tag: u64, multiple: bool, consumers: &[Arc<Consumption>]) -> bool {
        let mut settlements = Vec::new();
        let released = self
            .outbox
            .settle(channel, tag, multiple, Ack::ID, |held| match held {
                Held::Consumed(consumption, sequence) => settlements.push(Settlement {
                    queue: Arc::clone(&consumption.queue),
                    sequence,
                    consumption: Some(consumption),
                    outcome: Outcome::Ack,
                }),
                Held::Got(..) => panic!("nothing was fetched"),
            })
            .expect("outstanding");
        self.vhost.settle(&settlements, Now::read(), &mut self.effects);
        if released {
            self.vhost.resume_consumers(consumers, Now::read(), &mut self.effects);
        }
        released
    }

    /// What was written, as (channel, method) and bodies.
    fn drain(&mut self) -> Vec<(u16, String)> {
        let mut drained = Drained::default();
        self.outbox.drain(&mut drained);
        let mut found = Vec::new();
        let mut rest = &drained.bytes[..];
        assert!(drained.shared.is_empty());
        while let Some((frame, used)) = decode(rest, &WireLimits::default()).expect("well-formed") {
            rest = &rest[used..];
            match frame.payload {
                Payload::Method(Method::BasicDeliver(m)) => {
                    found.push((frame.channel, format!("deliver {} to {}", m.delivery_tag, m.consumer_tag)));
                }
                Payload::Method(method) => found.push((frame.channel, method.info().name.to_owned())),
                Payload::Header(_) | Payload::Body(_) | Payload::Heartbeat => {}
            }
        }
        found
    }
}

fn deliveries(channel: u16, tags: std::ops::RangeInclusive<u64>) -> Vec<(u16, String)> {
    tags.map(|tag| (channel, format!("deliver {tag} to on-{channel}"))).collect()
}

#[test]
fn answers_and_deliveries_go_out_in_the_order_in_which_they_were_made() {
    let mut world = World::new(true);
    let consumption = world.consume(1, true, 0);
    world.publish(b"a");
    world.outbox.write(&mut world.effects, |out| {
        content::put(&basic::CancelOk { consumer_tag: "on-1" }.into(), 1, out);
    });
    assert_eq!(world.effects.wakes, [CONNECTION], "it is woken once");
    let expected = [deliveries(1, 1..=1), vec![(1, "basic.cancel-ok".to_owned())]].concat();
    assert_eq!(world.drain(), expected);
    world.publish(b"b");
    assert_eq!(world.effects.wakes.len(), 2, "and again when there is more");
    assert_eq!(world.drain(), deliveries(1, 2..=2));
    world.vhost.cancel(&consumption, Now::read(), &mut world.effects);
    world.publish(b"c");
    assert_eq!(world.drain(), []);
}

#[test]
fn a_window_counts_what_consumers_of_the_channel_have_and_the_prefetch_what_each_has() {
    let mut world = World::new(true);
    let first = world.consume(1, false, 0);
    world.outbox.set_window(1, 3);
    (0..5).for_each(|_| world.publish(b"x"));
    assert_eq!(world.drain(), deliveries(1, 1..=3));
    assert!(world.settle(1, 2, true, std::slice::from_ref(&first)));
    assert_eq!(world.drain(), deliveries(1, 4..=5));
    assert!(!world.settle(1, 3, false, &[]), "nobody waits");
    assert!(world.outbox.settle(1, 3, false, Ack::ID, |_| {}).is_err(), "settled already");
    let second = world.consume(2, false, 1);
    world.outbox.set_window(1, 1);
    (0..3).for_each(|_| world.publish(b"y"));
    assert_eq!(world.drain(), deliveries(2, 1..=1), "one has a full window, the other its prefetch");
    world.settle(2, 1, false, &[second]);
    assert_eq!(world.drain(), deliveries(2, 2..=2));
}

#[test]
fn a_consumer_without_acknowledgements_is_bounded_by_the_output_alone_and_goes_on_when_it_is_written() {
    let mut world = World::new(true);
    let consumption = world.consume(1, true, 0);
    world.outbox.set_window(1, 1);
    let payload = vec![0; 4000];
    let count = ROOM / payload.len() + 50;
    (0..count).for_each(|_| world.publish(&payload));
    let mut drained = Drained::default();
    world.outbox.drain(&mut drained);
    assert!(drained.resume, "somebody waits for room");
    assert!(drained.bytes.len() < ROOM + 2 * payload.len(), "{}", drained.bytes.len());
    world.vhost.resume_consumers(&[consumption], Now::read(), &mut world.effects);
    let rest = world.drain();
    assert!(rest.len() >= 50, "{}", rest.len());
    assert_eq!(rest.last(), deliveries(1, count as u64..=count as u64).last(), "none is left out");
    world.outbox.set_unwritten(ROOM);
    world.publish(b"x");
    assert_eq!(world.drain(), [], "what the socket has not taken counts");
}

#[test]
fn large_and_small_messages_come_out_whole_and_in_order_however_many_buffers_they_fill() {
    let mut world = World::new(true);
    // One kept by the queue and shared, the others straight from the publisher.
    let kept = vec![7; 30_000];
    world.publish(&kept);
    let _consumption = world.consume(1, true, 0);
    let sizes = [10, 20_000, 5_000, 100_000, 1, 140_000, 60_000, 200_000, 4_097, 90_000];
    for (n, size) in sizes.iter().enumerate() {
        world.publish(&vec![n as u8; *size]);
    }
    let mut drained = Drained::default();
    world.outbox.drain(&mut drained);
    let (mut stream, mut taken) = (Vec::new(), 0);
    for (offset, part) in &drained.shared {
        stream.extend_from_slice(&drained.bytes[taken..*offset]);
        stream.extend_from_slice(part);
        taken = *offset;
    }
    stream.extend_from_slice(&drained.bytes[taken..]);
    assert!(drained.shared.len() > 2, "several buffers were filled");
    let (mut rest, mut bodies) = (&stream[..], Vec::new());
    while let Some((frame, used)) = decode(rest, &WireLimits::default()).expect("well-formed") {
        rest = &rest[used..];
        match (frame.payload, bodies.last_mut()) {
            (Payload::Header(_), _) => bodies.push(Vec::new()),
            (Payload::Body(part), Some(body)) => body.extend_from_slice(part),
            _ => {}
        }
    }
    let expected = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]);
    let expected: Vec<Vec<u8>> = std::iter::once(kept).chain(expected).collect();
    assert!(bodies == expected, "{:?}", bodies.iter().map(Vec::len).collect::<Vec<_>>());
}

#[test]
fn what_a_closed_channel_has_comes_back_in_order_and_nothing_is_delivered_on_it() {
    let mut world = World::new(true);
    let _consumption = world.consume(1, false, 0);
    (0..3).for_each(|_| world.publish(b"x"));
    world.drain();
    let held: Vec<u64> = world
        .outbox
        .close_channel(1)
        .into_iter()
        .map(|held| match held {
            Held::Consumed(_, sequence) | Held::Got(_, sequence) => sequence,
        })
        .collect();
    assert!(held.len() == 3 && held.is_sorted(), "{held:?}");
    world.publish(b"y");
    assert_eq!(world.drain(), []);
}

#[test]
fn who_understands_it_hears_that_a_consumer_has_ended() {
    for tells_cancel in [true, false] {
        let mut world = World::new(tells_cancel);
        let _consumption = world.consume(1, false, 0);
        world.drain();
        let (vhost, actor) = (Arc::clone(&world.vhost), world.actor.clone());
        vhost.delete_queue(&actor, "q", false, false, Now::read(), &mut world.effects).expect("deleted");
        let told: Vec<_> = tells_cancel.then(|| (1, "basic.cancel".to_owned())).into_iter().collect();
        assert_eq!(world.drain(), told);
        let ended = world.outbox.take_ended();
        assert_eq!(ended, [(1, Arc::from("on-1"))]);
        assert_eq!(world.outbox.take_ended(), []);
    }
}
