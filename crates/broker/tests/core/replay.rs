//! The log is the truth: what the records rebuild equals the durable part of what is in memory.

use std::sync::Arc;

use tercet_broker::body::Body;
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, RetainedRecord, SessionRecord};
use tercet_broker::session::SessionId;
use tercet_broker::vhost::connection::Ending;

use crate::support::{ConnectOptions, Traffic, World};

/// The durable state of a broker whose connections all end now.
fn durable_state(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    let mut online: Option<(SessionId, u32)> = None;
    let now = world.now.utc_ms;
    let end = |online: &mut Option<(SessionId, u32)>, lines: &mut Vec<String>| {
        if let Some((id, expiry)) = online.take() {
            let offline = SessionRecord::Offline { at_ms: now, expiry };
            lines.push(format!("{:?}", OwnedRecord::Session(id, offline)));
        }
    };
    for record in world.vhost.durable_records() {
        match &record {
            OwnedRecord::Session(_, SessionRecord::Offline { .. }) => online = None,
            OwnedRecord::Session(id, SessionRecord::Opened { expiry, .. }) => {
                end(&mut online, &mut lines);
                online = Some((*id, *expiry));
            }
            OwnedRecord::Retained(_) => end(&mut online, &mut lines),
            _ => {}
        }
        lines.push(line(&record));
    }
    end(&mut online, &mut lines);
    lines
}

/// A record in words. Whether its message is in memory besides makes no difference.
fn line(record: &OwnedRecord) -> String {
    let mut record = record.clone();
    let body = match &mut record {
        OwnedRecord::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }))
        | OwnedRecord::Group(_, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. })) => {
            Some(&mut entry.body)
        }
        OwnedRecord::Retained(RetainedRecord::Set { body, .. }) => Some(body),
        _ => None,
    };
    if let Some(body) = body
        && let Some(stored) = body.stored()
    {
        *body = Body::Log(stored);
    }
    format!("{record:?}")
}

fn assert_rebuilt(traffic: &Traffic, seed: u64) {
    let original = durable_state(&traffic.world);
    let rebuilt = traffic.world.restarted(usize::MAX);
    let state: Vec<String> = rebuilt.vhost.durable_records().iter().map(line).collect();
    if original != state {
        let first =
            original.iter().zip(&state).position(|(a, b)| a != b).unwrap_or(original.len().min(state.len()));
        panic!(
            "seed {seed}: the rebuilt state differs\n{}\noriginal: {:#?}\nrebuilt: {:#?}",
            traffic.done.join("\n"),
            original.iter().skip(first).take(3).collect::<Vec<_>>(),
            state.iter().skip(first).take(3).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn after_any_operation_the_records_rebuild_the_durable_state() {
    for seed in 0..2_000 {
        let mut traffic = Traffic::new(seed);
        for _ in 0..60 {
            traffic.step();
            if traffic.random.one_in(12) {
                assert_rebuilt(&traffic, seed);
            }
        }
        assert_rebuilt(&traffic, seed);
    }
}

#[test]
fn any_prefix_of_the_log_rebuilds_a_state_that_a_second_restart_repeats() {
    for seed in 0..500 {
        let mut traffic = Traffic::new(seed);
        for _ in 0..60 {
            traffic.step();
        }
        let most = traffic.world.journal.len();
        for _ in 0..4 {
            let cut = traffic.random.below(most + 1);
            let once = traffic.world.restarted(cut);
            let twice = World::at(once.now, once.vhost.limits(), Arc::new(once.journal.successor()));
            let mut recovery = twice.vhost.recover();
            let prefix = traffic.world.journal.records().into_iter().take(cut);
            for record in prefix.chain(once.journal.records()) {
                recovery.apply(record);
            }
            recovery.for_each_holder(|stored| twice.journal.adopt(stored));
            recovery.finish(twice.now);
            assert_eq!(durable_state(&once), durable_state(&twice), "seed {seed}, cut at {cut}");
            assert_eq!(twice.journal.len(), 0, "seed {seed}: a clean restart has nothing to add");
            assert_eq!(once.vhost.subscriptions(), twice.vhost.subscriptions());
        }
    }
}

#[test]
fn a_rebuilt_broker_carries_on_like_the_original() {
    for seed in 0..300 {
        let mut traffic = Traffic::new(seed);
        for _ in 0..50 {
            traffic.step();
        }
        let rebuilt = traffic.world.restarted(usize::MAX);
        let records = rebuilt.vhost.durable_records();
        let mut traffic = Traffic::new(seed + 1_000_000);
        traffic.world = rebuilt;
        for _ in 0..50 {
            traffic.step();
        }
        // The records before the restart and those after it rebuild the state together.
        let again = World::at(
            traffic.world.now,
            traffic.world.vhost.limits(),
            Arc::new(traffic.world.journal.successor()),
        );
        let mut recovery = again.vhost.recover();
        for record in records.into_iter().chain(traffic.world.journal.records()) {
            recovery.apply(record);
        }
        recovery.for_each_holder(|stored| again.journal.adopt(stored));
        recovery.finish(again.now);
        assert_eq!(durable_state(&traffic.world), durable_state(&again), "seed {seed}");
    }
}

#[test]
fn a_session_that_was_connected_gets_its_messages_again_after_a_restart() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in ["one", "two", "three"] {
        world.publish(&mut writer, "t", text, 2);
    }
    let sent = reader.take();
    world.acknowledge(&reader, &[tercet_broker::acknowledgement::Acknowledgement::Received(sent[0].id())]);

    let mut world = world.restarted(usize::MAX);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert!(reader.session_present);
    let again = reader.take();
    assert_eq!(again.iter().map(|got| got.payload()).collect::<Vec<_>>(), ["(release)", "two", "three"]);
    let ids = |got: &[crate::support::Got]| got.iter().map(crate::support::Got::id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&sent), "the packet identifiers of before");
    assert!(again.iter().skip(1).all(|got| matches!(got, crate::support::Got::Publish { dup: true, .. })));
}

#[test]
fn what_was_queued_for_an_absent_session_is_no_duplicate_after_a_restart() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 1);
    world.disconnect(reader, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 1);
    let mut world = world.restarted(usize::MAX);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert!(matches!(&reader.take()[..], [crate::support::Got::Publish { dup: false, .. }]));
}

#[test]
fn the_will_of_a_durable_session_fires_after_a_restart_and_that_of_a_clean_one_does_not() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "#", 1);
    world.connect(ConnectOptions::durable("kept").will("kept", 0));
    world.connect(ConnectOptions::durable("later").will("later", 10));
    world.connect(ConnectOptions::clean("clean").will("clean", 0));

    let mut world = world.restarted(usize::MAX);
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.pass(1);
    let topics = |client: &crate::support::Client| {
        let got = client.take();
        got.iter()
            .map(|got| match got {
                crate::support::Got::Publish { topic, .. } => topic.clone(),
                crate::support::Got::Release(_) => "(release)".to_owned(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(topics(&reader), ["kept"]);
    world.pass(10);
    assert_eq!(topics(&reader), ["later"]);
}

#[test]
fn a_session_that_outlived_its_expiry_while_the_broker_was_down_ends() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader").expiry(60));
    world.subscribe(&reader, "t", 1);
    world.disconnect(reader, Ending::Abnormal);
    world.now = world.now.after(std::time::Duration::from_secs(61));
    let mut world = world.restarted(usize::MAX);
    world.tick();
    assert!(world.vhost.sessions().is_empty());
    assert_eq!(world.vhost.subscriptions(), 0);
}

#[test]
fn what_members_held_on_loan_is_ready_again_after_a_restart() {
    let mut world = World::default();
    let one = world.connect(ConnectOptions::durable("one"));
    let two = world.connect(ConnectOptions::durable("two"));
    world.subscribe(&one, "$share/g/t", 1);
    world.subscribe(&two, "$share/g/t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in ["a", "b", "c", "d"] {
        world.publish(&mut writer, "t", text, 1);
    }
    let first = one.take();
    world.acknowledge(&one, &[tercet_broker::acknowledgement::Acknowledgement::Done(first[0].id())]);

    let mut world = world.restarted(usize::MAX);
    let two = world.connect(ConnectOptions::durable("two"));
    assert_eq!(world.consume(&two), ["b", "c", "d"]);
}

#[test]
fn retained_messages_that_were_still_to_be_sent_are_sent_after_a_restart() {
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for topic in ["r/1", "r/2", "r/3"] {
        world.publish_retained(&mut writer, topic, topic, 1);
    }
    let reader = world.connect(ConnectOptions::durable("reader"));
    reader.line().reading = false;
    world.subscribe(&reader, "r/#", 1);
    let cut = world.journal.len();
    world.set_reading(&reader, true);
    assert_eq!(world.consume(&reader), ["r/1", "r/2", "r/3"]);

    let mut before = world.restarted(cut);
    let reader = before.connect(ConnectOptions::durable("reader"));
    assert_eq!(before.consume(&reader), ["r/1", "r/2", "r/3"], "a restart before they were sent");
    let mut after = world.restarted(usize::MAX);
    let reader = after.connect(ConnectOptions::durable("reader"));
    assert!(after.consume(&reader).is_empty(), "a restart after they were acknowledged");
}
