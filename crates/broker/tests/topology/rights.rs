//! Which rights are asked for.

use std::sync::Arc;

use tercet_amqp::field::{Table, Value};
use tercet_broker::actor::Right;
use tercet_broker::exchange::request::{DeclareExchange, DeclareQueue, Destination};
use tercet_broker::refusal::Refusal;

use crate::world::{Denied, World, refused, table};

/// What becomes of `act` without one right; it is allowed with all of them.
fn without(right: Right, name: &str, act: impl Fn(&mut World) -> Result<(), Refusal>) -> String {
    let prepared = |rights: &Arc<Denied>| {
        let mut world = World::with_rights(rights);
        world.exchange("x", "topic");
        world.exchange("y", "fanout");
        world.queue("q");
        world
    };
    let rights = Arc::new(Denied::default());
    assert_eq!(act(&mut prepared(&rights)), Ok(()));
    let mut world = prepared(&rights);
    rights.deny(right, name);
    refused(act(&mut world))
}

fn text(right: &str, what: &str) -> String {
    format!("ACCESS_REFUSED - {right} access to {what} in vhost '/' refused for user 'guest'")
}

#[test]
fn each_operation_needs_its_rights() {
    use Right::{Configure, Read, Write};
    let new_exchange = |world: &mut World| {
        let arguments = table(&[("alternate-exchange", Value::from("y"))]);
        world.try_declare(&DeclareExchange {
            name: "n",
            kind: "direct",
            arguments: arguments.as_table(),
            ..Default::default()
        })
    };
    assert_eq!(without(Configure, "n", new_exchange), text("configure", "exchange 'n'"));
    assert_eq!(without(Read, "n", new_exchange), text("read", "exchange 'n'"));
    assert_eq!(without(Write, "y", new_exchange), text("write", "exchange 'y'"));
    let new_queue = |world: &mut World| {
        let arguments = table(&[("x-dead-letter-exchange", Value::from("y"))]);
        let request = DeclareQueue { name: "n", arguments: arguments.as_table(), ..Default::default() };
        world.try_queue(&request)?;
        // Once more, without being asked for more than the right to declare it.
        world.try_queue(&request).map(drop)
    };
    assert_eq!(without(Configure, "n", new_queue), text("configure", "queue 'n'"));
    assert_eq!(without(Read, "n", new_queue), text("read", "queue 'n'"));
    assert_eq!(without(Write, "y", new_queue), text("write", "exchange 'y'"));
    let bind = |world: &mut World| world.try_bind("x", Destination::Queue("q"), "k", Table::default());
    let unbind = |world: &mut World| world.try_unbind("x", Destination::Queue("q"), "k");
    for act in [&bind as &dyn Fn(&mut World) -> Result<(), Refusal>, &unbind] {
        assert_eq!(without(Write, "q", act), text("write", "queue 'q'"));
        assert_eq!(without(Read, "x", act), text("read", "exchange 'x'"));
    }
    let to_exchange =
        |world: &mut World| world.try_bind("x", Destination::Exchange("y"), "k", Table::default());
    assert_eq!(without(Write, "y", to_exchange), text("write", "exchange 'y'"));
    let delete = |world: &mut World| world.try_delete_exchange("x", false);
    assert_eq!(without(Configure, "x", delete), text("configure", "exchange 'x'"));
    let purge = |world: &mut World| {
        world.vhost.purge_queue(&world.actor, "q", world.now, &mut world.effects).map(drop)
    };
    assert_eq!(without(Read, "q", purge), text("read", "queue 'q'"));
    let delete = |world: &mut World| {
        world.vhost.delete_queue(&world.actor, "q", false, false, world.now, &mut world.effects).map(drop)
    };
    assert_eq!(without(Configure, "q", delete), text("configure", "queue 'q'"));
}

#[test]
fn to_bind_a_topic_needs_the_right_to_read_it() {
    let rights = Arc::new(Denied::default());
    let mut world = World::with_rights(&rights);
    world.exchange("d", "direct");
    world.queue("q");
    rights.deny_topic(Right::Read, "secret.#");
    let bind = |world: &mut World, exchange: &str| {
        world.try_bind(exchange, Destination::Queue("q"), "secret.#", Table::default())
    };
    assert_eq!(
        refused(bind(&mut world, "amq.topic")),
        "ACCESS_REFUSED - read access to topic 'secret.#' in exchange 'amq.topic' in vhost '/' refused for user 'guest'"
    );
    assert_eq!(bind(&mut world, "d"), Ok(()));
}

#[test]
fn who_has_no_right_at_all_does_not_learn_whether_something_exists() {
    let rights = Arc::new(Denied::default());
    let mut world = World::with_rights(&rights);
    world.queue("q");
    let ask = |world: &mut World, name: &str| {
        world.try_queue(&DeclareQueue { name, passive: true, ..Default::default() }).map(drop)
    };
    rights.deny(Right::Configure, "q");
    rights.deny(Right::Write, "q");
    assert_eq!(ask(&mut world, "q"), Ok(()), "one right is enough");
    for name in ["q", "missing"] {
        [Right::Configure, Right::Write, Right::Read].iter().for_each(|right| rights.deny(*right, name));
        assert!(refused(ask(&mut world, name)).starts_with("ACCESS_REFUSED"), "{name}");
    }
}
