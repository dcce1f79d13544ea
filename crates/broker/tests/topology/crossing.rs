//! Between MQTT topics and queues, by the exchange that is the topic space.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tercet_amqp::content::BasicProperties;
use tercet_amqp::field::{Table, Value};
use tercet_broker::crossing::address::TopicMapping;
use tercet_broker::crossing::coap::{KeptOptions, content_format};
use tercet_broker::effects::Effects;
use tercet_broker::exchange::request::{DeclareQueue, Destination};
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};
use tercet_broker::message::{Author, Properties, Publication, Qos};
use tercet_broker::outbox::{CloseReason, ConnectionRef, Delivery, Drained, Outbox, Pushed};
use tercet_broker::route::RouteCache;
use tercet_broker::vhost::connection::{Attachment, Connect};
use tercet_broker::vhost::observing::PublishedValue;
use tercet_broker::vhost::publishing::Published;
use tercet_broker::vhost::subscribing::Subscribe;
use tercet_broker::watch::Change;
use tercet_coap::ContentFormat;

use crate::world::{World, table};

/// What a client of MQTT was sent: topic, payload, QoS.
type Got = Arc<Mutex<Vec<(String, String, u8)>>>;

struct Line(Got);

impl Outbox for Line {
    fn deliver(&mut self, delivery: &Delivery<'_>, _: &mut Effects) -> Pushed {
        let payload = String::from_utf8_lossy(delivery.payload).into_owned();
        self.0.lock().unwrap().push((delivery.topic.to_owned(), payload, delivery.qos as u8));
        Pushed::Accepted
    }
    fn release(&mut self, _: u16, _: &mut Effects) {}
    fn has_room(&self) -> bool {
        true
    }
    fn close(&mut self, _: CloseReason, _: &mut Effects) {}
    fn closing(&self) -> Option<CloseReason> {
        None
    }
    fn wake(&mut self, _: &mut Effects) {}
    fn drain(&mut self, _: &mut Drained) {}
    fn set_unwritten(&mut self, _: usize) {}
}

struct Client {
    attachment: Attachment,
    got: Got,
}

impl Client {
    fn topics(&self) -> Vec<String> {
        std::mem::take(&mut *self.got.lock().unwrap()).into_iter().map(|(topic, ..)| topic).collect()
    }
}

fn connect(world: &mut World, client_id: &str, filters: &[&str]) -> Client {
    let got = Got::default();
    let request = Connect {
        client_id: client_id.into(),
        user: None,
        clean_start: true,
        expiry: 0,
        window: 1000,
        will: None,
        outbox: Box::new(Line(Arc::clone(&got))) as Box<dyn Outbox>,
    };
    let attachment = world.vhost.connect(request, world.now, &mut world.effects).expect("room").attachment;
    world.vhost.start_redelivery(&attachment, world.now, &mut world.effects);
    let options =
        SubscriptionOptions { qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, id: None };
    for filter in filters {
        let (share, path) = match tercet_broker::vhost::subscribing::split_share(filter) {
            Some((share, path)) => (Some(share), path),
            None => (None, *filter),
        };
        let request =
            Subscribe { filter, share, path, options, retain_handling: RetainHandling::SendAtSubscribe };
        world.vhost.subscribe(&attachment, &request, &mut world.effects).expect("allowed");
    }
    world.vhost.resume(&attachment.session, attachment.epoch, world.now, &mut world.effects);
    Client { attachment, got }
}

fn publish_topic(world: &mut World, client: &mut Client, topic: &str, qos: Qos) -> bool {
    let publication = Publication {
        topic,
        payload: b"m",
        properties: Properties::NONE,
        qos,
        retain: false,
        expiry: None,
        publisher: client.attachment.session.id(),
    };
    let published = world.vhost.publish(&mut client.attachment, &publication, world.now, &mut world.effects);
    matches!(published, Published::Routed { matched: true, .. })
}

#[test]
fn what_is_published_to_a_topic_reaches_the_queues_that_are_bound_to_it() {
    let mut world = World::default();
    let mut client = connect(&mut world, "c", &[]);
    assert!(!publish_topic(&mut world, &mut client, "a/b", Qos::AtMostOnce));
    for (queue, pattern) in [("exact", "a.b"), ("one", "a.*"), ("many", "#"), ("escaped", "v1%2E0.#")] {
        world.queue(queue);
        world.bind("amq.topic", queue, pattern);
    }
    // Twice over, and still once.
    world.bind("amq.topic", "many", "a.#");
    assert!(publish_topic(&mut world, &mut client, "a/b", Qos::AtLeastOnce));
    assert!(publish_topic(&mut world, &mut client, "v1.0/x", Qos::AtMostOnce));
    assert_eq!(world.messages("exact").len(), 1);
    assert_eq!(world.messages("one").len(), 1);
    assert_eq!(world.messages("many").len(), 2);
    assert_eq!(world.messages("escaped").len(), 1);
    let message = &world.messages("exact")[0];
    assert_eq!(
        (message.exchange.as_deref(), &*message.topic),
        (None, "a/b"),
        "it is translated when it is delivered"
    );
    world.unbind("amq.topic", "exact", "a.b");
    publish_topic(&mut world, &mut client, "a/b", Qos::AtMostOnce);
    assert_eq!(world.messages("exact").len(), 1, "the route was found anew");
}

#[test]
fn topics_that_have_no_key_do_not_cross() {
    let mut world = World::default();
    let mut client = connect(&mut world, "c", &[]);
    world.queue("q");
    world.bind("amq.topic", "q", "#");
    world.bind("amq.topic", "q", "$x.#");
    assert!(!publish_topic(&mut world, &mut client, "$x/y", Qos::AtMostOnce));
    assert!(!publish_topic(&mut world, &mut client, &"x".repeat(256), Qos::AtMostOnce));
    assert!(publish_topic(&mut world, &mut client, &"x".repeat(255), Qos::AtMostOnce));
}

#[test]
fn from_the_topic_space_a_message_goes_on_through_other_exchanges() {
    let mut world = World::default();
    let mut client = connect(&mut world, "c", &[]);
    world.exchange("x", "direct");
    world.exchange("y", "fanout");
    for queue in ["direct", "both", "beyond"] {
        world.queue(queue);
    }
    world.bind("amq.topic", "both", "a.b");
    world.bind_exchange("amq.topic", "x", "a.#");
    world.bind("x", "direct", "a.b");
    world.bind("x", "both", "a.b");
    world.bind_exchange("x", "y", "a.b");
    world.bind_exchange("y", "amq.topic", "");
    world.bind("y", "beyond", "");
    assert!(publish_topic(&mut world, &mut client, "a/b", Qos::AtMostOnce));
    for queue in ["direct", "both", "beyond"] {
        assert_eq!(world.messages(queue).len(), 1, "{queue}");
    }
    publish_topic(&mut world, &mut client, "a/c", Qos::AtMostOnce);
    assert_eq!(world.messages("beyond").len(), 1);
}

#[test]
fn what_is_published_to_the_exchange_reaches_subscribers() {
    let mut world = World::default();
    let client = connect(&mut world, "c", &["a/+", "$share/g/a/#"]);
    let all = connect(&mut world, "all", &["#"]);
    world.queue("q");
    world.bind("amq.topic", "q", "a.*");
    assert!(world.publish("amq.topic", "a.b", "m"));
    assert_eq!(client.topics(), ["a/b", "a/b"], "by itself, and as the only member of a shared subscription");
    assert_eq!(all.topics(), ["a/b"]);
    assert_eq!(world.payloads("q"), ["m"]);
    assert!(world.publish("amq.topic", "v1%2E0", "m"), "to a subscriber alone");
    assert_eq!(all.topics(), ["v1.0"]);
    for key in ["$a.b", "a/b", "", "a.+", "a.#"] {
        assert_eq!(world.publish("amq.topic", key, "m"), ["a.+", "a.#"].contains(&key), "{key}");
        assert!(all.topics().is_empty(), "{key} has no topic");
    }
}

#[test]
fn another_exchange_may_lead_into_the_topic_space() {
    let mut world = World::default();
    let all = connect(&mut world, "all", &["#"]);
    world.exchange("x", "fanout");
    world.bind_exchange("x", "amq.topic", "");
    world.exchange_with("y", "direct", &table(&[("alternate-exchange", Value::from("amq.topic"))]));
    assert!(world.publish("x", "a.b", "m"));
    assert!(world.publish("y", "c.d", "m"));
    assert!(world.publish("x", "a.b", "m"));
    assert_eq!(all.topics(), ["a/b", "c/d", "a/b"]);
    // A route that is kept sees who subscribes and who leaves.
    let late = connect(&mut world, "late", &["a/b"]);
    world.publish("x", "a.b", "m");
    assert_eq!(late.topics(), ["a/b"]);
}

#[test]
fn copies_reach_subscribers_under_their_own_topics() {
    let mut world = World::default();
    let client = connect(&mut world, "c", &["b"]);
    let keys = crate::world::array(&["b"]);
    let headers = table(&[("CC", Value::Array(keys.as_array()))]);
    assert!(world.publish_with("amq.topic", "a", &headers, "m"));
    assert_eq!(client.topics(), ["b"]);
}

#[test]
fn persistent_messages_are_sent_at_least_once_and_may_be_retained() {
    let mut world = World::default();
    let client = connect(&mut world, "c", &["a"]);
    let headers = table(&[("x-retain", Value::Bool(true))]);
    let properties =
        BasicProperties { delivery_mode: Some(2), headers: Some(headers.as_table()), ..Default::default() };
    assert!(world.try_publish("amq.topic", "a", &properties, "m").unwrap().routed);
    world.publish("amq.topic", "a", "transient");
    let got = client.got.lock().unwrap().clone();
    assert_eq!(got, [("a".into(), "m".into(), 1), ("a".into(), "transient".into(), 0)]);
    let late = connect(&mut world, "late", &["a"]);
    assert_eq!(late.got.lock().unwrap().clone(), [("a".into(), "m".into(), 1)], "the retained one");
}

#[test]
fn a_dead_letter_may_go_to_a_topic() {
    let mut world = World::default();
    let client = connect(&mut world, "c", &["dead/letters"]);
    let arguments = table(&[
        ("x-message-ttl", Value::I32(0)),
        ("x-dead-letter-exchange", Value::from("amq.topic")),
        ("x-dead-letter-routing-key", Value::from("dead.letters")),
    ]);
    world
        .try_queue(&DeclareQueue { name: "q", arguments: arguments.as_table(), ..Default::default() })
        .unwrap();
    world.publish("", "q", "m");
    world.pass(1);
    assert_eq!(client.topics(), ["dead/letters"]);
}

#[test]
fn with_the_plain_swap_dots_and_slashes_change_places() {
    let mut world = World::default();
    world.vhost.set_topic_mapping(TopicMapping::Swap);
    let mut client = connect(&mut world, "c", &["#"]);
    world.queue("q");
    world.bind("amq.topic", "q", "a.b/c");
    assert!(publish_topic(&mut world, &mut client, "a/b.c", Qos::AtMostOnce));
    assert_eq!(world.messages("q").len(), 1);
    client.topics();
    world.publish("amq.topic", "a.b/c", "m");
    assert_eq!(client.topics(), ["a/b.c"]);
    assert_eq!(world.messages("q").len(), 2);
}

#[test]
fn a_binding_that_asks_gets_the_last_values_once() {
    let mut world = World::default();
    let retained = table(&[("x-retain", Value::Bool(true))]);
    for n in 0..600 {
        world.publish_with("amq.topic", &format!("room.{n}.v"), &retained, &n.to_string());
    }
    world.publish_with("amq.topic", "room.7.other", &retained, "other");
    world.publish_with("amq.topic", "room.8.v", &retained, "");
    for (queue, key, arguments, count) in [
        ("wild", "room.*.v", table(&[("x-retained", Value::Bool(true))]), 599),
        ("middle", "#.v", table(&[("x-retained", Value::Bool(true))]), 599),
        ("exact", "room.7.other", table(&[("x-retained", Value::Bool(true))]), 1),
        ("no", "room.#", table(&[("x-retained", Value::Bool(false))]), 0),
        ("silent", "room.#", table(&[]), 0),
    ] {
        world.queue(queue);
        world.try_bind("amq.topic", Destination::Queue(queue), key, arguments.as_table()).unwrap();
        assert_eq!(world.messages(queue).len(), count, "{queue}");
    }
    assert_eq!(world.payloads("exact"), ["other"]);
    world.queue("elsewhere");
    let asked = table(&[("x-retained", Value::Bool(true))]);
    world.try_bind("amq.fanout", Destination::Queue("elsewhere"), "room.#", asked.as_table()).unwrap();
    assert!(world.messages("elsewhere").is_empty());
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["[ab.%*]{0,3}", Just("%2E".to_owned())], 1..4)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_message_comes_to_the_same_topic_both_ways(topic in topic()) {
        let mut world = World::default();
        let mut client = connect(&mut world, "c", &[&topic]);
        let key = TopicMapping::Exact.to_amqp(&topic).unwrap();
        world.queue("q");
        // A key that is a pattern by chance would be escaped.
        world.try_bind("amq.topic", Destination::Queue("q"), &key, Table::default()).unwrap();
        prop_assert!(publish_topic(&mut world, &mut client, &topic, Qos::AtMostOnce));
        prop_assert_eq!(client.topics(), [topic.clone()]);
        prop_assert_eq!(world.messages("q").len(), 1);
        prop_assert!(world.publish("amq.topic", &key, "m"));
        prop_assert_eq!(client.topics(), [topic]);
        prop_assert_eq!(world.messages("q").len(), 2);
    }
}

#[test]
fn what_comes_by_coap_reaches_queues_and_what_goes_to_exchanges_reaches_who_watches() {
    let mut world = World::default();
    world.queue("q");
    world.bind("amq.topic", "q", "a.*");
    let kept = KeptOptions::new(Some(ContentFormat::CBOR));
    let publication = Publication {
        topic: "a/b",
        payload: b"\x01",
        properties: kept.properties(),
        qos: Qos::AtLeastOnce,
        retain: false,
        expiry: None,
        publisher: world.vhost.publisher(),
    };
    let author = Arc::new(Author { user: None, client_id: "device".into() });
    let mut routes: RouteCache = RouteCache::default();
    let published =
        world.vhost.publish_as(&author, &mut routes, &publication, None, world.now, &mut world.effects);
    assert!(matches!(
        published,
        PublishedValue::Done { published: Published::Routed { matched: true, .. }, existed: false }
    ));
    assert_eq!(world.messages("q").len(), 1);

    let watch = world.vhost.watch("a/#", ConnectionRef::watch(0, 1));
    let json = BasicProperties { content_type: Some("application/json"), ..BasicProperties::default() };
    assert!(world.try_publish("amq.topic", "a.c", &json, "{}").expect("allowed").routed);
    let mut seen = Vec::new();
    watch.take(|topic, change| {
        if let Change::Value(message) = change {
            seen.push((topic.to_string(), content_format(message.properties()).0, message.payload.to_vec()));
        }
    });
    assert_eq!(seen, [("a/c".to_owned(), Some(ContentFormat::JSON), b"{}".to_vec())]);
}
