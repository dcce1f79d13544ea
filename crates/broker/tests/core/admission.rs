//! What is refused when the log is full or fails, and what goes on.

use crate::support::{Client, ConnectOptions, TestOutbox, World, subscription};
use tercet_broker::filter::RetainHandling;
use tercet_broker::journal::Admission;
use tercet_broker::outbox::ConnectionRef;
use tercet_broker::vhost::connection::{Connect, Ending, NoSession};
use tercet_broker::vhost::publishing::{Published, PublishedOnce};
use tercet_broker::vhost::subscribing::Refused;

fn connect(world: &mut World, client_id: &str, clean_start: bool, expiry: u32) -> Result<(), NoSession> {
    let connection = ConnectionRef { reactor: 0, slot: u32::MAX, generation: 0 };
    let request = Connect {
        client_id: client_id.into(),
        user: None,
        clean_start,
        expiry,
        window: 1,
        will: None,
        outbox: Box::new(TestOutbox { connection, line: Default::default() }),
    };
    world.vhost.connect(request, world.now, &mut world.effects).map(drop)
}

/// Readers of every kind, each with a topic of its own, and a publisher whose session is durable.
fn world() -> (World, Client, Client) {
    let mut world = World::default();
    let durable = world.connect(ConnectOptions::durable("durable"));
    for filter in ["session", "zero", "$share/durable/group"] {
        let qos = if filter == "zero" { 0 } else { 2 };
        world.subscribe(&durable, filter, qos);
    }
    let clean = world.connect(ConnectOptions::clean("clean"));
    for filter in ["clean", "$share/clean/members"] {
        world.subscribe(&clean, filter, 2);
    }
    let writer = world.connect(ConnectOptions::durable("writer"));
    (world, writer, durable)
}

#[test]
fn only_what_has_to_be_recorded_is_refused() {
    let table = [
        // topic, retain, refused
        ("session", false, true),
        ("group", false, true),
        ("zero", false, false),
        ("clean", false, false),
        ("members", false, false),
        ("nobody", false, false),
        ("nobody", true, true),
        ("clean", true, true),
    ];
    for admission in [Admission::Open, Admission::Busy, Admission::Full, Admission::Failed] {
        for (topic, retain, needs_log) in table {
            for qos in 0..3 {
                let (mut world, mut writer, _durable) = world();
                world.journal.set_admission(admission);
                let before = (world.journal.len(), world.vhost.retained().len(), world.vhost.census());
                let refused = needs_log && qos > 0 && admission >= Admission::Full;
                let why = format!("{admission:?} {topic} retain={retain} QoS {qos}");
                let published = match qos {
                    2 => match world.publish_once(&mut writer, 1, true, topic, "x", retain) {
                        PublishedOnce::New { published, taken, .. } => {
                            assert_eq!(taken, !refused, "{why}");
                            published
                        }
                        PublishedOnce::Repeated { .. } => panic!("{why}"),
                    },
                    _ => world.publish_with(&mut writer, topic, "x", qos, retain, None),
                };
                assert_eq!(published == Published::NoRoom, refused, "{why}");
                assert_eq!(world.vhost.is_unreleased(&writer.attachment, 1), qos == 2 && !refused, "{why}");
                if refused {
                    let after = (world.journal.len(), world.vhost.retained().len(), world.vhost.census());
                    assert_eq!(before, after, "{why}: nothing has changed");
                }
                world.journal.set_admission(Admission::Open);
                let healed = world.publish_once(&mut writer, 1, true, topic, "x", retain);
                assert_eq!(matches!(healed, PublishedOnce::New { .. }), qos < 2 || refused, "{why}");
            }
        }
    }
}

#[test]
fn new_durable_sessions_and_their_subscriptions_are_refused_and_all_others_go_on() {
    for admission in [Admission::Full, Admission::Failed] {
        let (mut world, _writer, durable) = world();
        let clean = world.connect(ConnectOptions::clean("another"));
        world.journal.set_admission(admission);
        assert_eq!(connect(&mut world, "new", false, 10), Err(NoSession::NoRoom));
        assert_eq!(connect(&mut world, "new", true, 10), Err(NoSession::NoRoom));
        assert!(world.vhost.sessions().get("new").is_none());
        assert_eq!(
            connect(&mut world, "writer", true, 10),
            Err(NoSession::NoRoom),
            "instead of the earlier one"
        );
        let records = world.journal.len();
        let mut subscribe = |client: &Client, filter: &str, qos: u8| {
            world.subscribe_with(client, filter, subscription(qos), RetainHandling::SendAtSubscribe).map(drop)
        };
        assert_eq!(subscribe(&durable, "t", 1), Err(Refused::NoRoom));
        assert_eq!(subscribe(&clean, "t", 1), Ok(()));
        for filter in ["session", "$share/durable/group"] {
            assert_eq!(subscribe(&durable, filter, 1), Err(Refused::NoRoom), "it changes the QoS");
            assert_eq!(subscribe(&durable, filter, 2), Ok(()), "it repeats what is there");
        }
        assert_eq!(world.journal.len(), records);
        assert_eq!(connect(&mut world, "new", true, 0), Ok(()));
        assert_eq!(connect(&mut world, "writer", false, 10), Ok(()), "it is there already");
        assert!(world.unsubscribe(&durable, "session").0);
        world.disconnect(durable, Ending::Normal);
        world.journal.set_admission(Admission::Open);
        assert_eq!(connect(&mut world, "late", false, 10), Ok(()));
        assert_eq!(world.effects.counters.refused_by_log, 6);
    }
}
