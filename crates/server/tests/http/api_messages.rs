//! Messages by the control API: looking at them, moving and dropping them; and consumers whose rights go.

use std::sync::Arc;

use parking_lot::Mutex;
use tercet_amqp::content::BasicProperties;
use tercet_amqp::field::{Table, TableBuf};
use tercet_broker::actor::{Actor, AllRights, ConnectionId};
use tercet_broker::clock::Now;
use tercet_broker::consumer::{ConsumerOutbox, QueueDelivery};
use tercet_broker::effects::Effects;
use tercet_broker::exchange::route_cache::ExchangeRoutes;
use tercet_broker::exchange_publication::ExchangePublication;
use tercet_broker::message::{Properties, PropertyEncoding};
use tercet_broker::named_queue::{Consume, Consumption, NamedQueue};
use tercet_broker::outbox::Pushed;
use tercet_server::RunningServer;
use tercet_server::config::Durability;

use crate::api::ask;
use crate::client::{Answer, eventually, start};

fn done(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
}

fn json(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn publish(server: &RunningServer, queue: &str, payload: &[u8], properties: BasicProperties<'_>) {
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    properties.encode(&mut list).unwrap().write(&mut bytes);
    let actor = Actor {
        user: "test".into(),
        vhost: "/".into(),
        connection: ConnectionId(u64::MAX),
        rights: Arc::new(AllRights),
    };
    let publication = ExchangePublication {
        exchange: "",
        routing_key: queue,
        properties: Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes },
        payload,
        mandatory: false,
    };
    let mut effects = Effects::default();
    let vhost = &server.shared().vhost;
    let published = vhost.publish_to_exchange(
        &actor,
        &mut ExchangeRoutes::default(),
        &publication,
        Now::read(),
        &mut effects,
    );
    let position = published.unwrap().position;
    tercet_server::housekeeping::carry_out(server.shared(), &mut effects);
    eventually(true, || vhost.durable() >= position);
}

fn sequences(peeked: &serde_json::Value) -> Vec<u64> {
    peeked["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn looking_takes_nothing_out_and_goes_on_where_it_ended() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "queues/%2F/q", "{}"), 201);
    for number in 0..25 {
        publish(&server, "q", format!("message {number}").as_bytes(), BasicProperties::default());
    }
    let first = json(&ask(&server, "GET", "queues/%2F/q/messages?limit=10", ""));
    let next = first["next"].as_u64().unwrap();
    let second = json(&ask(&server, "GET", &format!("queues/%2F/q/messages?limit=20&from={next}"), ""));
    assert_eq!((sequences(&first).len(), sequences(&second).len()), (10, 15));
    assert_eq!(
        (&first["items"][0]["payload"], &second["items"][0]["payload"]),
        (&"message 0".into(), &"message 10".into())
    );
    assert_eq!(second["next"], serde_json::Value::Null, "that was all of it");
    let again = json(&ask(&server, "GET", "queues/%2F/q/messages?limit=10", ""));
    assert_eq!(again, first, "nothing has changed by looking");
    let queue = json(&ask(&server, "GET", "queues/%2F/q", ""));
    assert_eq!((&queue["ready"], &queue["unacked"]), (&25.into(), &0.into()));
    for query in ["limit=0", "limit=1001", "from=x", "truncate=-1"] {
        done(&ask(&server, "GET", &format!("queues/%2F/q/messages?{query}"), ""), 400);
    }
}

#[test]
fn messages_are_shown_with_everything_about_them() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "queues/%2F/q", "{}"), 201);
    let mut headers = TableBuf::new();
    headers.put("trace", "abc").unwrap().put("n", 7_i64).unwrap();
    let properties = BasicProperties {
        content_type: Some("text/plain"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        reply_to: Some("<script>"),
        ..BasicProperties::default()
    };
    publish(&server, "q", "grün".as_bytes(), properties);
    publish(&server, "q", b"\xff\x00", BasicProperties::default());
    publish(&server, "q", &vec![b'x'; 100_000], BasicProperties::default());
    let peeked = json(&ask(&server, "GET", "queues/%2F/q/messages?truncate=3", ""));
    let item = &peeked["items"][0];
    assert_eq!((&item["payload"], &item["payload_bytes"]), (&"gr".into(), &5.into()));
    assert_eq!(
        (&item["exchange"], &item["routing_key"], &item["state"]),
        (&"".into(), &"q".into(), &"ready".into())
    );
    assert_eq!(item["properties"]["headers"], serde_json::json!({"trace": "abc", "n": 7}));
    assert_eq!(item["properties"]["delivery_mode"], 2);
    assert_eq!(peeked["items"][1]["payload"], serde_json::json!({"base64": "/wA="}));
    assert_eq!(
        (&peeked["items"][2]["payload"], &peeked["items"][2]["payload_bytes"]),
        (&"xxx".into(), &100_000.into())
    );
}

#[test]
fn messages_are_moved_and_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let begin = || {
        start(|config| {
            config.server.durability = Durability::Fsync;
            config.server.data = directory.path().join("data");
        })
    };
    let server = begin();
    for queue in ["from", "to"] {
        done(&ask(&server, "PUT", &format!("queues/%2F/{queue}"), "{}"), 201);
    }
    let persistent = BasicProperties { delivery_mode: Some(2), ..BasicProperties::default() };
    for number in 0..5 {
        publish(&server, "from", format!("{number}").as_bytes(), persistent);
    }
    let moved = json(&ask(&server, "POST", "queues/%2F/from/move", r#"{"to":"to","limit":3}"#));
    assert_eq!(moved["messages"], 3);
    done(&ask(&server, "POST", "queues/%2F/from/move", r#"{"to":"from"}"#), 409);
    done(&ask(&server, "POST", "queues/%2F/from/move", r#"{"to":"none"}"#), 404);
    done(&ask(&server, "POST", "queues/%2F/from/move", r#"{"to":"to","limit":-1}"#), 400);
    let payloads = |server: &RunningServer, queue: &str| -> Vec<String> {
        let peeked = json(&ask(server, "GET", &format!("queues/%2F/{queue}/messages"), ""));
        peeked["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["payload"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(payloads(&server, "to"), ["0", "1", "2"]);
    drop(server);
    let server = begin();
    assert_eq!(
        (payloads(&server, "from"), payloads(&server, "to")),
        (vec!["3".into(), "4".into()], vec!["0".into(), "1".into(), "2".into()])
    );
    assert_eq!(json(&ask(&server, "POST", "queues/%2F/to/purge", ""))["messages"], 3);
    done(&ask(&server, "DELETE", "queues/%2F/from?if-empty", ""), 409);
    assert_eq!(json(&ask(&server, "DELETE", "queues/%2F/from", ""))["messages"], 2);
    drop(server);
    let server = begin();
    assert!(payloads(&server, "to").is_empty(), "what was purged stays away");
}

/// A connection that consumes; keeps the tags of the consumers that were ended.
#[derive(Default)]
struct Line {
    cancelled: Mutex<Vec<String>>,
}

impl ConsumerOutbox for Line {
    fn deliver(&self, _: &QueueDelivery<'_>, _: &mut Effects) -> Pushed {
        Pushed::Full
    }

    fn get_again(&self, _: &Arc<NamedQueue>, _: &mut Effects) {}

    fn cancelled(&self, consumption: &Consumption, _: &mut Effects) {
        self.cancelled.lock().push(consumption.tag.to_string());
    }
}

#[test]
fn consumers_end_when_the_right_to_read_goes() {
    let server = start(|_| {});
    for queue in ["mine", "theirs"] {
        done(&ask(&server, "PUT", &format!("queues/%2F/{queue}"), "{}"), 201);
    }
    done(&ask(&server, "PUT", "users/ann", r#"{"password":"pw"}"#), 201);
    let permission = |read: &str| format!(r#"{{"configure":"","write":"","read":"{read}"}}"#);
    done(&ask(&server, "PUT", "permissions/%2F/ann", &permission(".*")), 204);
    let shared = server.shared();
    let rights = shared.authenticator.access().rights("ann", "/").unwrap();
    let actor = Actor { user: "ann".into(), vhost: "/".into(), connection: ConnectionId(9), rights };
    let line = Arc::new(Line::default());
    let consume = |queue: &str| {
        let request = Consume {
            queue,
            tag: queue.into(),
            channel: 1,
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            arguments: Table::default(),
            outbox: Arc::clone(&line) as Arc<dyn ConsumerOutbox>,
        };
        shared.vhost.consume(&actor, &request, Now::read(), &mut Effects::default())
    };
    consume("mine").unwrap();
    consume("theirs").unwrap();
    done(&ask(&server, "PUT", "permissions/%2F/ann", &permission("^mine")), 204);
    eventually(vec!["theirs".to_owned()], || line.cancelled.lock().clone());
    assert_eq!(json(&ask(&server, "GET", "queues/%2F/mine", ""))["consumers"], 1);
    assert_eq!(json(&ask(&server, "GET", "queues/%2F/theirs", ""))["consumers"], 0);
    assert!(consume("theirs").is_err());
    done(&ask(&server, "DELETE", "users/ann", ""), 204);
    eventually(2, || line.cancelled.lock().len());
}
