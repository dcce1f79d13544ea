//! What becomes of messages that a queue cannot keep: what is written into them, and that they leave.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tercet_amqp::content::{BasicProperties, Properties};
use tercet_amqp::field::{ArrayBuf, Table, TableBuf, Value};

use super::{World, settings};
use crate::crossing::address::TopicMapping;
use crate::message::{Message, Payload, PropertyEncoding, Qos};
use crate::named_queue::dead_letter::{DeathReason, deaths};
use crate::named_queue::{Outcome, QueueKind, QueueOverflow, QueueSettings};
use crate::session::SessionId;

fn message(
    exchange: Option<&str>,
    key: &str,
    properties: BasicProperties<'_>,
    dead_lettered: bool,
) -> Message {
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    properties.encode(&mut list).unwrap().write(&mut bytes);
    Message {
        topic: key.into(),
        exchange: exchange.map(Arc::from),
        payload: Payload::copy_from(b"body"),
        properties: Bytes::from(bytes),
        encoding: PropertyEncoding::Amqp,
        qos: Qos::AtLeastOnce,
        retain: false,
        publisher: SessionId::BROKER,
        author: None,
        ingress_ms: 0,
        expires_at_ms: None,
        dead_lettered,
        blind_copies: None,
        shared: false,
        stored: Mutex::new(None),
    }
}

/// Writes down that a message has died.
fn died(message: &Message, queue: &str, reason: DeathReason, rerouted: bool, now_ms: u64) -> deaths::Written {
    deaths::record(&deaths::Dying {
        properties: Properties::from_bytes(&message.properties).unwrap(),
        exchange: message.exchange.as_deref().unwrap(),
        key: &message.topic,
        blind_copies: None,
        dead_lettered: message.dead_lettered,
        queue,
        reason,
        rerouted,
        now_ms,
    })
}

/// One death as text, in the order of its fields.
fn described(death: Table<'_>) -> String {
    let fields = death.iter().map(|(name, value)| {
        let name = String::from_utf8_lossy(name);
        match value {
            Value::LongStr(text) => format!("{name}={}", String::from_utf8_lossy(text)),
            Value::Array(keys) => {
                let keys: Vec<_> = keys.iter().filter_map(|key| key.as_str()).collect();
                format!("{name}={}", keys.join("+"))
            }
            other => format!("{name}={other:?}"),
        }
    });
    fields.collect::<Vec<_>>().join(" ")
}

fn deaths_of(properties: &[u8]) -> Vec<String> {
    let headers = Properties::from_bytes(properties).unwrap().headers().unwrap().unwrap();
    let Some(Value::Array(deaths)) = headers.get("x-death") else { panic!("no deaths") };
    let deaths = deaths.iter().map(|death| match death {
        Value::Table(table) => described(table),
        other => panic!("{other:?}"),
    });
    deaths.collect()
}

fn header(properties: &[u8], name: &str) -> Option<String> {
    let headers = Properties::from_bytes(properties).unwrap().headers().unwrap().unwrap();
    headers.get(name).and_then(|value| value.as_str()).map(str::to_owned)
}

#[test]
fn each_death_is_written_down() {
    let mut others = ArrayBuf::new();
    others.push("more").unwrap();
    let mut headers = TableBuf::new();
    headers.put("z", "stays").unwrap();
    headers.put("CC", others.as_array()).unwrap();
    headers.put("x-death", "a client's own").unwrap();
    let asked = BasicProperties {
        content_type: Some("text/plain"),
        headers: Some(headers.as_table()),
        expiration: Some("50"),
        delivery_mode: Some(2),
        ..BasicProperties::default()
    };
    let first = message(Some("x"), "key", asked, false);
    let death = died(&first, "a", DeathReason::Expired, false, 5_999);
    assert_eq!(
        deaths_of(&death.properties),
        [
            "original-expiration=50 count=I64(1) reason=expired queue=a time=Timestamp(5) exchange=x routing-keys=key+more"
        ]
    );
    let changed = Properties::from_bytes(&death.properties).unwrap().decode(10).unwrap();
    assert_eq!(
        (changed.content_type, changed.expiration, changed.delivery_mode),
        (Some("text/plain"), None, Some(2))
    );
    let names: Vec<_> =
        changed.headers.unwrap().iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    assert_eq!(
        names,
        [
            "CC",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "x-last-death-exchange",
            "x-last-death-queue",
            "x-last-death-reason",
            "z"
        ]
    );
    assert_eq!(death.excluded.iter().map(|name| &**name).collect::<Vec<_>>(), ["a"]);

    let again = |before: &[u8], exchange: &str, key: &str| {
        let mut next = message(Some(exchange), key, BasicProperties::default(), true);
        next.properties = Bytes::copy_from_slice(before);
        next
    };
    let second = again(&death.properties, "dlx", "other");
    let death = died(&second, "b", DeathReason::Rejected, true, 7_000);
    assert_eq!(
        deaths_of(&death.properties)[0],
        "count=I64(1) reason=rejected queue=b time=Timestamp(7) exchange=dlx routing-keys=other+more"
    );
    assert_eq!(deaths_of(&death.properties).len(), 2);
    assert!(death.excluded.is_empty(), "somebody has rejected it");
    let changed = Properties::from_bytes(&death.properties).unwrap().headers().unwrap().unwrap();
    assert_eq!(changed.get("CC"), None, "with another key the others lead nowhere");
    let first_and_last = ["first", "last"].map(|which| {
        ["queue", "reason", "exchange"]
            .map(|what| header(&death.properties, &format!("x-{which}-death-{what}")).unwrap())
    });
    assert_eq!(first_and_last, [["a", "expired", "x"], ["b", "rejected", "dlx"]]);

    // Back in the first queue: its entry comes to the front, counts on, and is otherwise as it was.
    let third = again(&death.properties, "elsewhere", "third");
    let death = died(&third, "a", DeathReason::Expired, false, 9_000);
    let deaths = deaths_of(&death.properties);
    assert_eq!(
        deaths[0],
        "original-expiration=50 count=I64(2) reason=expired queue=a time=Timestamp(5) exchange=x routing-keys=key+more"
    );
    assert!(deaths[1].contains("reason=rejected queue=b") && deaths.len() == 2);
    assert_eq!(
        death.excluded.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["a"],
        "behind it, it was rejected"
    );
    let death = died(&third, "c", DeathReason::MaxLength, false, 9_000);
    assert_eq!(deaths_of(&death.properties).len(), 3);
}

#[test]
fn a_message_of_another_protocol_is_one_of_the_topic_exchange() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| {
        settings.dead_letter_exchange = Some("dlx".into());
        settings.max_length = Some(0);
    }));
    let publication = crate::message::Publication {
        topic: "a/b.c",
        payload: b"21.5",
        properties: crate::message::Properties::NONE,
        qos: Qos::AtLeastOnce,
        retain: false,
        expiry: Some(60),
        publisher: SessionId(7),
    };
    let topic: Arc<str> = "a/b.c".into();
    let mut incoming = crate::named_queue::Incoming::from_topic(&publication, &topic);
    world.with_context(|cx| queue.enqueue(&mut incoming, cx));
    let letter = world.effects.dead_letters.pop().unwrap().write(1_000, TopicMapping::Exact).unwrap().message;
    assert_eq!(
        (&*letter.topic, letter.exchange.as_deref(), letter.expires_at_ms),
        ("a.b%2Ec", Some("dlx"), None)
    );
    assert_eq!(
        deaths_of(&letter.properties),
        [
            "original-expiration=60000 count=I64(1) reason=maxlen queue=q1 time=Timestamp(1) exchange=amq.topic \
             routing-keys=a.b%2Ec"
        ]
    );
    assert_eq!(Properties::from_bytes(&letter.properties).unwrap().delivery_mode(), Ok(Some(2)));
}

fn with_dlx(settings: &mut QueueSettings) {
    settings.dead_letter_exchange = Some("dlx".into());
    settings.dead_letter_key = Some("dead".into());
}

/// Takes the letters away that the effects hold, as they would be published.
fn letters(world: &mut World) -> Vec<(String, String)> {
    let dead = std::mem::take(&mut world.effects.dead_letters);
    let letters = dead.iter().map(|dead| {
        let letter = dead.write(world.now.utc_ms, TopicMapping::Exact).expect("there is somewhere to go");
        let message = &letter.message;
        assert_eq!((message.exchange.as_deref(), &*message.topic), (Some("dlx"), "dead"));
        let reason = header(&message.properties, "x-last-death-reason").unwrap();
        (String::from_utf8(message.payload.to_vec()).unwrap(), reason)
    });
    letters.collect()
}

#[test]
fn what_a_queue_cannot_keep_is_dead_lettered_with_its_reason() {
    let mut world = World::default();
    let queue = world.queue(
        QueueKind::Classic,
        true,
        settings(|settings| {
            with_dlx(settings);
            settings.max_length = Some(2);
            settings.delivery_limit = Some(0);
        }),
    );
    let got = |world: &mut World| world.get(&queue).unwrap();
    world.persist(&queue, "a");
    for (outcome, reason) in [
        (Outcome::Reject { requeue: false }, "rejected"),
        (Outcome::Nack { requeue: false }, "rejected"),
        (Outcome::Reject { requeue: true }, "delivery_limit"),
    ] {
        world.persist(&queue, "a");
        let fetched = got(&mut world);
        let settlement = crate::named_queue::Settlement {
            queue: Arc::clone(&queue),
            sequence: fetched.sequence,
            consumption: None,
            outcome,
        };
        world.with_context(|cx| queue.settle(std::iter::once(&settlement), cx));
        assert_eq!(queue.stats().unacked, 0);
        let dead = world.effects.dead_letters.pop().unwrap();
        assert_eq!(
            header(&dead.write(0, TopicMapping::Exact).unwrap().message.properties, "x-last-death-reason")
                .unwrap(),
            reason
        );
        world.vhost.bury(&dead, world.now, &mut world.effects);
    }
    assert_eq!((queue.stats().ready, world.journal.held_messages()), (1, 1));
    world.drain(&queue);
    assert_eq!(world.journal.held_messages(), 0);
}

#[test]
fn what_a_full_queue_lets_go_of_or_refuses_is_dead_lettered() {
    for (overflow, expected) in [
        (QueueOverflow::DropHead, Some("1")),
        (QueueOverflow::RejectPublish, None),
        (QueueOverflow::RejectPublishDlx, Some("2")),
    ] {
        let mut world = World::default();
        let queue = world.transient(settings(|settings| {
            with_dlx(settings);
            settings.max_length = Some(1);
            settings.overflow = overflow;
        }));
        world.publish(&queue, "1");
        let (exchange, key): (Arc<str>, Arc<str>) = ("x".into(), "key".into());
        let mut second =
            crate::named_queue::Incoming::published(&exchange, &key, crate::message::Properties::NONE, b"2");
        world.with_context(|cx| queue.enqueue(&mut second, cx));
        let expected: Vec<_> =
            expected.map(|body| (body.to_owned(), "maxlen".to_owned())).into_iter().collect();
        assert_eq!(letters(&mut world), expected, "{overflow:?}");
    }
}

#[test]
fn what_is_only_in_the_log_is_read_back_before_it_is_dead_lettered() {
    let mut world = World::default();
    let queue = world.queue(
        QueueKind::Classic,
        true,
        settings(|settings| {
            with_dlx(settings);
            settings.message_ttl_ms = Some(10);
        }),
    );
    for body in ["1", "2"] {
        world.persist(&queue, body);
    }
    let durable = world.vhost.durable();
    queue.with_queue(|queue| queue.cool(durable, 0, 10));
    world.now = world.now.after(std::time::Duration::from_millis(10));
    world.with_context(|cx| queue.time_passed(cx.now.utc_ms, cx));
    assert!(world.effects.dead_letters.is_empty());
    assert_eq!(queue.stats().ready, 0);
    let journal = Arc::clone(&world.journal);
    let fetched = world.with_context(|cx| {
        let reach = crate::queue::Reach { entries: 10, bytes: 1000 };
        let ahead = queue.ahead(reach);
        let stored: Vec<_> = ahead.cold.iter().map(|(_, stored)| *stored).collect();
        let read = crate::read_back::Bodies::read(&*journal, &stored);
        let read = ahead
            .cold
            .iter()
            .zip(read)
            .map(|((sequence, stored), read)| (*sequence, *stored, read))
            .collect();
        queue.put_back(&ahead, read, cx);
        ahead.cold.len()
    });
    assert_eq!(fetched, 2);
    let expired = |body: &str| (body.to_owned(), "expired".to_owned());
    assert_eq!(letters(&mut world), [expired("1"), expired("2")]);
}
