//! Retained messages: kept, cleared, expired, and streamed to subscribers.

use crate::support::{Client, ConnectOptions, Got, World, subscription};
use tercet_broker::filter::RetainHandling;
use tercet_broker::journal::Position;
use tercet_broker::limits::Limits;
use tercet_broker::vhost::connection::Ending;
use tercet_broker::vhost::publishing::Published;

fn topics(client: &Client) -> Vec<String> {
    let told = |got: &Got| match got {
        Got::Publish { topic, retain: true, .. } => topic.clone(),
        other => panic!("{other:?}"),
    };
    client.take().iter().map(told).collect()
}

fn fill(world: &mut World, count: usize, qos: u8) {
    let mut writer = world.connect(ConnectOptions::clean("filler"));
    for number in 0..count {
        world.publish_retained(&mut writer, &format!("r/{number:05}"), "x", qos);
    }
}

#[test]
fn the_last_value_of_a_topic_is_kept_until_an_empty_one_clears_it() {
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_retained(&mut writer, "t", "one", 0);
    world.publish_retained(&mut writer, "t", "two", 1);
    let reader = world.connect(ConnectOptions::clean("reader"));
    world.subscribe(&reader, "t", 1);
    assert_eq!(world.consume(&reader), ["two"]);
    world.publish_retained(&mut writer, "t", "", 1);
    assert_eq!(world.consume(&reader), [""], "the clearing is published like any message");
    world.subscribe(&reader, "t", 1);
    assert!(reader.take().is_empty());
    assert_eq!((world.vhost.retained().len(), world.vhost.retained().bytes()), (0, 0));
}

#[test]
fn retain_handling_decides_who_is_sent_the_values() {
    for (handling, first, second) in [
        (RetainHandling::SendAtSubscribe, 1, 1),
        (RetainHandling::SendIfNew, 1, 0),
        (RetainHandling::DoNotSend, 0, 0),
    ] {
        let mut world = World::default();
        fill(&mut world, 1, 1);
        let reader = world.connect(ConnectOptions::clean("reader"));
        for expected in [first, second] {
            world.subscribe_with(&reader, "r/#", subscription(0), handling).unwrap();
            assert_eq!(reader.take().len(), expected, "{handling:?}");
        }
    }
}

#[test]
fn each_overlapping_filter_brings_the_value_once() {
    let mut world = World::default();
    fill(&mut world, 1, 1);
    let reader = world.connect(ConnectOptions::clean("reader"));
    for filter in ["r/#", "r/+", "#"] {
        world.subscribe(&reader, filter, 1);
        assert_eq!(world.consume(&reader).len(), 1);
    }
}

#[test]
fn a_value_expires_and_its_remaining_time_is_told() {
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_with(&mut writer, "t", "x", 1, true, Some(10));
    world.pass(4);
    let reader = world.connect(ConnectOptions::clean("reader"));
    world.subscribe(&reader, "t", 1);
    assert!(matches!(&reader.take()[..], [Got::Publish { expiry: Some(6), .. }]));
    world.now = world.now.after(std::time::Duration::from_secs(6));
    world.subscribe(&reader, "t", 1);
    assert!(reader.take().is_empty(), "not even before the sweep");
    assert_eq!(world.vhost.retained().len(), 1);
    world.tick();
    assert_eq!(world.vhost.retained().len(), 0);
}

#[test]
fn a_full_store_refuses_new_topics_and_routes_the_message_all_the_same() {
    let mut world = World::with(Limits { max_retained: 1, ..Limits::default() });
    let reader = world.connect(ConnectOptions::clean("reader"));
    world.subscribe(&reader, "#", 0);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    assert!(matches!(world.publish_retained(&mut writer, "a", "1", 1), Published::Routed { .. }));
    assert_eq!(
        world.publish_retained(&mut writer, "b", "2", 1),
        Published::NotRetained { position: Position::NONE }
    );
    assert!(matches!(world.publish_retained(&mut writer, "a", "3", 1), Published::Routed { .. }));
    assert_eq!(reader.payloads(), ["1", "2", "3"]);
}

#[test]
fn a_slow_subscriber_gets_every_value_in_topic_order_while_others_are_served() {
    for qos in 0..2 {
        let mut world = World::default();
        fill(&mut world, 3000, qos);
        let slow =
            world.connect(ConnectOptions { room: 10, limit: 10, ..ConnectOptions::clean("slow").window(5) });
        slow.line().reading = false;
        world.subscribe(&slow, "r/#", 1);
        assert!(slow.line().got.len() <= 10, "QoS {qos}");
        let quick = world.connect(ConnectOptions::clean("quick"));
        world.subscribe(&quick, "r/00001", 1);
        assert_eq!(quick.take().len(), 1);
        world.set_reading(&slow, true);
        let expected: Vec<String> = (0..3000).map(|number| format!("r/{number:05}")).collect();
        let mut seen = Vec::new();
        loop {
            let got = slow.take();
            if got.is_empty() {
                break;
            }
            for item in got {
                let Got::Publish { topic, id, qos, .. } = item else { panic!("no release") };
                seen.push(topic);
                if qos > 0 {
                    world.acknowledge(&slow, &[tercet_broker::acknowledgement::Acknowledgement::Done(id)]);
                }
            }
        }
        assert_eq!(seen, expected, "QoS {qos}");
        assert_eq!(world.effects.counters.dropped_outbox_full, 0);
    }
}

#[test]
fn a_value_that_changes_during_the_stream_comes_as_it_is_published_and_not_again() {
    let mut world = World::default();
    fill(&mut world, 1000, 1);
    let reader = world.connect(ConnectOptions { room: 4, ..ConnectOptions::clean("reader").window(1000) });
    reader.line().reading = false;
    world.subscribe(&reader, "r/#", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_retained(&mut writer, "r/00999", "new", 1);
    world.publish_retained(&mut writer, "r/00000", "newer", 1);
    world.publish_retained(&mut writer, "r/00500", "", 1);
    world.set_reading(&reader, true);
    let payloads = world.consume(&reader);
    assert_eq!(payloads.iter().filter(|text| *text == "new").count(), 1);
    assert_eq!(payloads.iter().filter(|text| *text == "newer").count(), 1);
    assert_eq!(payloads.iter().filter(|text| text.is_empty()).count(), 1);
    assert_eq!(payloads.iter().filter(|text| *text == "x").count(), 997);
}

#[test]
fn a_stream_that_was_cut_goes_on_when_the_session_comes_back() {
    let mut world = World::default();
    fill(&mut world, 2000, 1);
    let options = || ConnectOptions { room: 4, ..ConnectOptions::durable("reader").window(1000) };
    let first = world.connect(options());
    first.line().reading = false;
    world.subscribe(&first, "r/#", 1);
    world.disconnect(first, Ending::Abnormal);
    let second = world.connect(options());
    let payloads = world.consume(&second);
    assert_eq!(payloads.len(), 2000);
}

#[test]
fn unsubscribing_ends_the_stream() {
    let mut world = World::default();
    fill(&mut world, 2000, 0);
    let reader = world.connect(ConnectOptions { room: 4, limit: 4, ..ConnectOptions::clean("reader") });
    reader.line().reading = false;
    world.subscribe(&reader, "r/#", 0);
    let before = reader.line().got.len();
    world.unsubscribe(&reader, "r/#");
    world.set_reading(&reader, true);
    assert_eq!(topics(&reader).len(), before);
}

#[test]
fn the_stream_does_not_fill_the_queue_beyond_its_bound() {
    let mut world = World::with(Limits { max_queued_messages: 5, ..Limits::default() });
    fill(&mut world, 5000, 1);
    let reader = world.connect(ConnectOptions::clean("reader").window(1));
    world.subscribe(&reader, "r/#", 1);
    assert!(reader.attachment.session.backlog().0 <= 1024 + 256);
    assert_eq!(world.consume(&reader).len(), 5000, "bounded, but nothing is dropped");
}
