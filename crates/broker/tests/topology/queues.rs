//! Declaring, deleting and purging queues.

use tercet_amqp::field::Value;
use tercet_broker::exchange::request::{DeclareQueue, Destination};

use crate::world::{World, refused, table};

fn plain() -> DeclareQueue<'static> {
    DeclareQueue { name: "q", ..DeclareQueue::default() }
}

const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be \
                      originally declared on another connection or the exclusive property value does not match that of \
                      the original declaration.";

#[test]
fn a_queue_is_what_it_was_declared_as() {
    let mut world = World::default();
    let limited = table(&[("x-max-length", Value::I32(5))]);
    let request = DeclareQueue { arguments: limited.as_table(), ..plain() };
    let declared = world.try_queue(&request).unwrap();
    assert_eq!((&*declared.name, declared.ready, declared.consumers), ("q", 0, 0));
    world.publish("", "q", "1");
    assert_eq!(world.try_queue(&request).unwrap().ready, 1);
    let passive = DeclareQueue { passive: true, durable: true, ..plain() };
    assert_eq!(world.try_queue(&passive).unwrap().ready, 1, "who only asks compares nothing");
    for (request, difference) in [
        (DeclareQueue { durable: true, ..request }, "'durable' R 'true' C 'false'"),
        (DeclareQueue { auto_delete: true, ..request }, "'auto_delete' R 'true' C 'false'"),
        (plain(), "'x-max-length' R none C the value '5' of type 'signedint'"),
    ] {
        let expected = difference
            .replace(" R ", " for queue 'q' in vhost '/': received ")
            .replace(" C ", " but current is ");
        assert_eq!(
            refused(world.try_queue(&request)),
            format!("PRECONDITION_FAILED - inequivalent arg {expected}")
        );
    }
    let wide = table(&[("x-max-length", Value::I64(5)), ("foo", Value::Bool(true))]);
    assert!(world.try_queue(&DeclareQueue { arguments: wide.as_table(), ..plain() }).is_ok());
}

#[test]
fn what_does_not_exist_is_said_so() {
    let mut world = World::default();
    let passive = DeclareQueue { passive: true, ..plain() };
    assert_eq!(refused(world.try_queue(&passive)), "NOT_FOUND - no queue 'q' in vhost '/'");
    assert_eq!(world.delete_queue("q"), 0, "it is deleted already");
    let purged = world.vhost.purge_queue(&world.actor, "q", world.now, &mut world.effects);
    assert_eq!(refused(purged), "NOT_FOUND - no queue 'q' in vhost '/'");
}

#[test]
fn an_exclusive_queue_is_locked_for_others_whatever_they_do() {
    let mut world = World::default();
    let exclusive = DeclareQueue { exclusive: true, durable: true, ..plain() };
    world.try_queue(&exclusive).unwrap();
    assert!(world.try_queue(&exclusive).is_ok());
    assert_eq!(refused(world.try_queue(&plain())), LOCKED, "the owner, without saying so");
    world.bind("amq.direct", "q", "bound");
    world.as_connection(2, |world| {
        let other_arguments = DeclareQueue { auto_delete: true, ..plain() };
        for request in [exclusive, plain(), other_arguments, DeclareQueue { passive: true, ..plain() }] {
            assert_eq!(refused(world.try_queue(&request)), LOCKED);
        }
        let bound =
            world.try_bind("amq.direct", Destination::Queue("q"), "k", tercet_amqp::field::Table::default());
        assert_eq!(refused(bound), LOCKED);
        let unbound =
            |world: &mut World, key: &str| world.try_unbind("amq.direct", Destination::Queue("q"), key);
        assert_eq!(unbound(world, "never bound"), Ok(()), "there is nothing to touch");
        assert_eq!(refused(unbound(world, "bound")), LOCKED);
        let (actor, now, effects) = (&world.actor, world.now, &mut world.effects);
        assert_eq!(refused(world.vhost.purge_queue(actor, "q", now, effects)), LOCKED);
        assert_eq!(refused(world.vhost.delete_queue(actor, "q", false, false, now, effects)), LOCKED);
        // To publish needs no access.
        assert!(world.publish("", "q", "m"));
    });
    world.vhost.connection_closed(world.actor.connection, world.now, &mut world.effects);
    assert!(world.vhost.find_queue("q").is_none(), "it went with its connection");
    world.queue("q");
    assert_eq!(refused(world.try_queue(&exclusive)), LOCKED, "nobody's is not mine");
}

#[test]
fn names_are_the_servers_or_ones_own() {
    let mut world = World::default();
    let mut names: Vec<String> = (0..50)
        .map(|_| world.try_queue(&DeclareQueue { name: "", ..plain() }).unwrap().name.to_string())
        .collect();
    assert!(names.iter().all(|name| name.len() == 30 && name.starts_with("amq.gen-")), "{names:?}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 50);
    assert_eq!(
        refused(world.try_queue(&DeclareQueue { name: "amq.mine", ..plain() })),
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"
    );
    let quorum = table(&[("x-queue-type", Value::from("quorum"))]);
    let unnamed = DeclareQueue { name: "", durable: true, arguments: quorum.as_table(), ..plain() };
    assert_eq!(
        refused(world.try_queue(&unnamed)),
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type quorum"
    );
    world.queue("with\r\nbreak");
    assert!(world.vhost.find_queue("withbreak").is_some());
}

#[test]
fn a_queue_is_deleted_under_conditions_only_if_they_hold() {
    let mut world = World::default();
    world.queue("q");
    world.publish("", "q", "1");
    let delete = |world: &mut World, if_unused, if_empty| {
        let (now, effects) = (world.now, &mut world.effects);
        world.vhost.delete_queue(&world.actor, "q", if_unused, if_empty, now, effects)
    };
    let not_empty = "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty";
    assert_eq!(refused(delete(&mut world, false, true)), not_empty);
    assert_eq!(delete(&mut world, true, false).unwrap().0, 1);
    assert!(!world.publish("", "q", "2"));
}

#[test]
fn a_virtual_host_has_as_many_queues_as_it_may() {
    let mut world = World::default();
    world.vhost.set_max_queues(Some(1));
    world.queue("q");
    world.queue("q");
    assert_eq!(
        refused(world.try_queue(&DeclareQueue { name: "r", ..plain() })),
        "PRECONDITION_FAILED - cannot declare queue 'r': queue limit in vhost '/' (1) is reached"
    );
    world.vhost.set_max_queues(Some(0));
    world.delete_queue("q");
    assert!(world.try_queue(&plain()).is_err());
    world.vhost.set_max_queues(None);
    assert!(world.try_queue(&plain()).is_ok());
}

#[test]
fn a_queue_that_nobody_uses_goes_when_its_time_has_come() {
    let mut world = World::default();
    let arguments = table(&[("x-expires", Value::I32(1000))]);
    world.try_queue(&DeclareQueue { arguments: arguments.as_table(), ..plain() }).unwrap();
    world.bind("amq.fanout", "q", "");
    world.pass(999);
    world.try_queue(&DeclareQueue { arguments: arguments.as_table(), ..plain() }).unwrap();
    world.pass(999);
    assert!(world.vhost.find_queue("q").is_some(), "it was declared again");
    world.pass(1);
    assert!(world.vhost.find_queue("q").is_none());
    assert!(world.vhost.bindings().is_empty());
}

#[test]
fn a_dead_letter_goes_where_its_exchange_leads() {
    let mut world = World::default();
    world.queue("dead");
    world.bind("amq.direct", "dead", "gone");
    let arguments = table(&[
        ("x-message-ttl", Value::I32(10)),
        ("x-dead-letter-exchange", Value::from("amq.direct")),
        ("x-dead-letter-routing-key", Value::from("gone")),
    ]);
    world.try_queue(&DeclareQueue { arguments: arguments.as_table(), ..plain() }).unwrap();
    world.publish("", "q", "late");
    world.pass(11);
    assert_eq!(world.payloads("dead"), ["late"]);
    assert!(world.payloads("q").is_empty());
    let letter = &world.messages("dead")[0];
    assert_eq!((letter.exchange.as_deref(), &*letter.topic), (Some("amq.direct"), "gone"));
}
