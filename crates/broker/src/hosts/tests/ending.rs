//! Virtual hosts are made and end, with everything in them.

use std::sync::Arc;

use tercet_log::sim::SimDisk;

use super::World;
use crate::clock::Now;
use crate::definitions::{POLICIES, key_in};
use crate::exchange::request::{Bind, DeclareExchange, DeclareQueue, Destination};
use crate::hosts::{DEFAULT_NAME, HostError, VhostId};
use crate::message::{Properties, PropertyEncoding};
use crate::named_queue::Incoming;
use crate::vhost::Vhost;

/// A durable queue that holds a message, bound to a durable exchange.
fn furnish(world: &mut World, host: &Arc<Vhost>) {
    let actor = World::actor(host);
    let queue = DeclareQueue { name: "q", durable: true, ..DeclareQueue::default() };
    let exchange = DeclareExchange { name: "e", kind: "fanout", durable: true, ..DeclareExchange::default() };
    let bind =
        Bind { source: "e", destination: Destination::Queue("q"), key: "", arguments: Default::default() };
    let (now, effects) = (world.now, &mut world.effects);
    host.declare_queue(&actor, &queue, now, effects).expect("declared");
    host.declare_exchange(&actor, &exchange, now, effects).expect("declared");
    host.bind(&actor, &bind, now, effects).expect("bound");
    let persistent = [0x10, 0, 2];
    let properties = Properties { encoding: PropertyEncoding::Amqp, bytes: &persistent };
    let (exchange, key) = (Arc::from("e"), Arc::from(""));
    let mut incoming = Incoming::published(&exchange, &key, properties, b"kept");
    let queue = host.find_queue("q").expect("declared");
    host.with_context(now, effects, |cx| queue.enqueue(&mut incoming, cx));
}

#[test]
fn each_host_has_what_is_its_own() {
    let mut world = World::open(SimDisk::new(), Now::read());
    let (a, _) = world.hosts.create("a").expect("made");
    let (b, _) = world.hosts.create("b").expect("made");
    furnish(&mut world, &a);
    assert!(b.find_queue("q").is_none() && world.hosts.default_host().find_queue("q").is_none());
    let again = world.restarted();
    let found = again.hosts.find("a").expect("is there");
    assert_eq!(found.find_queue("q").expect("is there").ready_and_consumers(), (1, 0));
    assert_eq!(found.id(), a.id());
    assert!(again.hosts.find("b").expect("is there").find_queue("q").is_none());
    assert!(again.hosts.default_host().find_queue("q").is_none());
}

#[test]
fn a_host_that_ended_leaves_nothing_even_under_its_name() {
    for checkpointed in [false, true] {
        let mut world = World::open(SimDisk::new(), Now::read());
        let (host, _) = world.hosts.create("a").expect("made");
        furnish(&mut world, &host);
        world.hosts.definitions().put(POLICIES, &key_in("a", "p"), b"");
        world.hosts.definitions().put(POLICIES, &key_in("b", "p"), b"");
        world.settle();
        assert!(world.journal.total_live() > 0);
        if checkpointed {
            let journal = Arc::clone(&world.journal);
            world.hosts.checkpoint(&journal, super::world::PATIENCE).expect("is written");
        }
        world.hosts.delete("a", world.now, &mut world.effects).expect("ends");
        assert_eq!(world.journal.total_live(), 0);
        assert!(world.hosts.find("a").is_none() && world.hosts.by_id(host.id()).is_none());
        let (next, _) = world.hosts.create("a").expect("made again");
        assert!(next.id() > host.id());
        let again = world.restarted();
        let found = again.hosts.find("a").expect("made again");
        assert_eq!(found.id(), next.id());
        assert!(found.find_queue("q").is_none() && found.find_exchange("e").is_none());
        assert_eq!(again.hosts.definitions().of_class(POLICIES).len(), 1);
        assert_eq!(again.journal.total_live(), 0);
    }
}

#[test]
fn numbers_of_ended_hosts_are_not_given_out_again() {
    let mut world = World::open(SimDisk::new(), Now::read());
    let (host, _) = world.hosts.create("a").expect("made");
    world.hosts.delete("a", world.now, &mut world.effects).expect("ends");
    let journal = Arc::clone(&world.journal);
    world.hosts.checkpoint(&journal, super::world::PATIENCE).expect("is written");
    let again = world.restarted();
    assert!(again.hosts.create("b").expect("made").0.id() > host.id());
}

#[test]
fn hosts_are_judged_by_their_names() {
    let mut world = World::open(SimDisk::new(), Now::read());
    let long = "x".repeat(256);
    for name in ["", "a\0b", "a\nb", &long] {
        assert_eq!(world.hosts.create(name).err(), Some(HostError::Name), "{name:?}");
    }
    assert_eq!(world.hosts.create(DEFAULT_NAME).err(), Some(HostError::Exists(DEFAULT_NAME.into())));
    world.hosts.create("a").expect("made");
    assert_eq!(world.hosts.create("a").err(), Some(HostError::Exists("a".into())));
    let (now, effects) = (world.now, &mut world.effects);
    assert_eq!(world.hosts.delete(DEFAULT_NAME, now, effects).err(), Some(HostError::Default));
    assert_eq!(world.hosts.delete("b", now, effects).err(), Some(HostError::NotFound("b".into())));
    assert_eq!(world.hosts.default_host().id(), VhostId::DEFAULT);
}
