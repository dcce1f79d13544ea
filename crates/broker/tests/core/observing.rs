//! Clients without a session: they publish under conditions, read single values, and watch what changes.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tercet_broker::body::Body;
use tercet_broker::clock::Now;
use tercet_broker::crossing::coap::{KeptOptions, content_format};
use tercet_broker::limits::Limits;
use tercet_broker::message::{Author, Message, Properties, PropertyEncoding, Publication, Qos};
use tercet_broker::outbox::ConnectionRef;
use tercet_broker::permission::{Action, Permissions, RuleSet};
use tercet_broker::retained::Condition;
use tercet_broker::route::RouteCache;
use tercet_broker::vhost::observing::{PublishedValue, ValueTicket};
use tercet_broker::vhost::publishing::Published;
use tercet_broker::watch::{Change, Watch};
use tercet_coap::ContentFormat;
use tercet_log::sim::SimDisk;

use crate::support::{Client, ConnectOptions, LogWorld, World};

const OWNER: ConnectionRef = ConnectionRef::watch(0, 1);

fn author() -> Arc<Author> {
    Arc::new(Author { user: None, client_id: "device".into() })
}

fn publication<'a>(topic: &'a str, payload: &'a str, retain: bool) -> Publication<'a> {
    Publication {
        topic,
        payload: payload.as_bytes(),
        properties: Properties::NONE,
        qos: Qos::AtLeastOnce,
        retain,
        expiry: None,
        publisher: tercet_broker::session::SessionId(0),
    }
}

fn publish(
    world: &mut World,
    publication: Publication<'_>,
    condition: Option<Condition<'_>>,
) -> PublishedValue {
    let publication = Publication { publisher: world.vhost.publisher(), ..publication };
    let mut routes: RouteCache = RouteCache::default();
    let (now, effects) = (world.now, &mut world.effects);
    world.vhost.publish_as(&author(), &mut routes, &publication, condition, now, effects)
}

fn existed(published: PublishedValue) -> bool {
    match published {
        PublishedValue::Done { published: Published::Routed { .. }, existed } => existed,
        other => panic!("{other:?}"),
    }
}

/// What has changed, as text; `-` for what was cleared.
fn changes(watch: &Watch) -> Vec<String> {
    let mut all = Vec::new();
    watch.take(|topic, change| {
        all.push(match change {
            Change::Value(message) => format!("{topic}={}", String::from_utf8_lossy(&message.payload)),
            Change::Cleared => format!("{topic}-"),
        });
    });
    all
}

fn subscriber(world: &mut World, filter: &str) -> Client {
    let reader = world.connect(ConnectOptions::clean("reader"));
    world.subscribe(&reader, filter, 1);
    reader
}

#[test]
fn a_publication_depends_on_the_value_it_replaces() {
    let mut world = World::default();
    let reader = subscriber(&mut world, "t");
    let (fresh, there) = (|value: Option<&Body>| value.is_none(), |value: Option<&Body>| value.is_some());
    assert_eq!(publish(&mut world, publication("t", "0", true), Some(&there)), PublishedValue::Unmet);
    assert!(!existed(publish(&mut world, publication("t", "1", true), Some(&fresh))));
    assert_eq!(publish(&mut world, publication("t", "2", true), Some(&fresh)), PublishedValue::Unmet);
    assert!(existed(publish(&mut world, publication("t", "3", true), Some(&there))));
    assert!(!existed(publish(&mut world, publication("t", "event", false), None)), "it replaces nothing");
    assert!(existed(publish(&mut world, publication("t", "", true), Some(&there))), "cleared");
    assert_eq!(publish(&mut world, publication("t", "", true), Some(&there)), PublishedValue::Unmet);
    world.settle();
    assert_eq!(world.consume(&reader), ["1", "3", "event", ""], "nobody sees what was not met");
}

#[test]
fn a_value_that_has_expired_is_none() {
    let mut world = World::default();
    let brief = Publication { expiry: Some(2), ..publication("t", "1", true) };
    assert!(!existed(publish(&mut world, brief, None)));
    assert!(world.vhost.retained_value("t", world.now).is_some());
    world.now = world.now.after(Duration::from_secs(3));
    assert!(world.vhost.retained_value("t", world.now).is_none());
    assert!(!existed(publish(&mut world, brief, None)));
}

#[test]
fn who_cannot_be_heard_changes_nothing() {
    let mut world = World::with(Limits { max_retained: 1, ..Limits::default() });
    let reader = subscriber(&mut world, "#");
    assert!(!existed(publish(&mut world, publication("t", "1", true), None)));
    let full = publish(&mut world, publication("u", "1", true), None);
    assert!(
        matches!(full, PublishedValue::Done { published: Published::NotRetained { .. }, .. }),
        "{full:?}"
    );
    let own = publish(&mut world, publication("$SYS/x", "1", false), None);
    assert!(matches!(own, PublishedValue::Done { published: Published::Denied, .. }), "{own:?}");
    world.settle();
    assert_eq!(world.consume(&reader), ["1"]);
    world.vhost.set_permissions(Permissions::new(&RuleSet::default()));
    let denied = publish(&mut world, publication("t", "2", true), None);
    assert!(matches!(denied, PublishedValue::Done { published: Published::Denied, .. }), "{denied:?}");
    let subject = author();
    assert!(!world.vhost.may(&subject.subject(), Action::Receive, "t"));
    let Some(Body::Memory(message)) = world.vhost.retained_value("t", world.now) else { panic!() };
    assert!(!world.vhost.may_see(&subject.subject(), &message));
}

#[test]
fn a_watch_is_told_what_clients_of_every_kind_publish() {
    let mut world = World::default();
    let (exact, wild) = (world.vhost.watch("a/b", OWNER), world.vhost.watch("a/#", OWNER));
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "a/b", "1", 0);
    world.publish_retained(&mut writer, "a/b", "2", 1);
    world.publish(&mut writer, "a/c", "3", 1);
    world.publish(&mut writer, "b", "4", 1);
    assert_eq!(changes(&exact), ["a/b=2"]);
    assert_eq!(changes(&wild), ["a/b=2", "a/c=3"]);
    publish(&mut world, publication("a/b", "", true), None);
    assert_eq!(world.effects.wakes, [OWNER, OWNER]);
    assert_eq!((changes(&exact), changes(&wild)), (vec!["a/b-".to_owned()], vec!["a/b-".to_owned()]));
    world.vhost.unwatch(&exact);
    world.publish(&mut writer, "a/b", "5", 0);
    assert_eq!((changes(&exact), changes(&wild)), (vec![], vec!["a/b=5".to_owned()]));
    assert_eq!(world.vhost.subscriptions(), 1);
}

#[test]
fn all_who_get_a_publication_share_one_copy() {
    let mut world = World::default();
    let watches = [world.vhost.watch("t", OWNER), world.vhost.watch("+", OWNER)];
    publish(&mut world, publication("t", "1", true), None);
    let Some(Body::Memory(value)) = world.vhost.retained_value("t", world.now) else { panic!() };
    for watch in &watches {
        watch.take(|_, change| assert!(matches!(&change, Change::Value(got) if Arc::ptr_eq(got, &value))));
    }
}

#[test]
fn what_changes_before_a_watch_begins_is_told() {
    let mut world = World::default();
    publish(&mut world, publication("t", "1", true), None);
    let since = world.vhost.reading_from();
    let watch = world.vhost.watch("t", OWNER);
    world.vhost.catch_up(&watch, since, true, &mut world.effects);
    assert!(changes(&watch).is_empty(), "nothing has changed");
    publish(&mut world, publication("t/longer", "x", true), None);
    world.vhost.catch_up(&watch, since, true, &mut world.effects);
    assert!(changes(&watch).is_empty(), "something else has changed");
    world.vhost.unwatch(&watch);
    publish(&mut world, publication("t", "2", true), None);
    let late = world.vhost.watch("t", OWNER);
    world.vhost.catch_up(&late, since, true, &mut world.effects);
    assert_eq!(changes(&late), ["t=2"]);
    let wild = world.vhost.watch("t/#", OWNER);
    world.vhost.catch_up(&wild, since, false, &mut world.effects);
    assert_eq!(changes(&wild), ["t=2", "t/longer=x"]);
    publish(&mut world, publication("t", "", true), None);
    let later = world.vhost.watch("t", OWNER);
    for (had_value, told) in [(false, vec![]), (true, vec!["t-".to_owned()])] {
        world.vhost.catch_up(&later, since, had_value, &mut world.effects);
        assert_eq!(changes(&later), told);
    }
}

#[test]
fn values_that_are_only_in_the_log_come_to_whoever_asked() {
    let mut world = World::with(Limits { message_memory: 0, ..Limits::default() });
    for topic in ["a", "b", "c"] {
        publish(&mut world, publication(topic, topic, true), None);
        world.sync();
    }
    // One more lets go of those before it.
    publish(&mut world, publication("d", "d", true), None);
    let Some(Body::Log(stored)) = world.vhost.retained_value("a", world.now) else { panic!() };
    let Some(Body::Log(damaged)) = world.vhost.retained_value("b", world.now) else { panic!() };
    world.journal.damage(damaged);
    let ticket = ValueTicket { reactor: 3, number: 7 };
    world.vhost.fetch_values(["a", "b", "none"].map(Arc::from).to_vec(), ticket);
    let mut effects = std::mem::take(&mut world.effects);
    assert!(world.vhost.read_back(&*world.journal, world.now, &mut effects));
    let fetched = effects.values.pop().unwrap();
    assert_eq!(fetched.ticket, ticket);
    let [(_, Ok(Some(a))), (_, Err(_)), (none, Ok(None))] = &fetched.values[..] else {
        panic!("{fetched:?}")
    };
    assert_eq!((&*a.payload, &**none), (&b"a"[..], "none"));
    assert_eq!(*a.stored.lock(), Some(stored), "it can be told from a later one");
    // A condition is shown where the value lies.
    let seen = Cell::new(None);
    let look = |value: Option<&Body>| {
        seen.set(value.and_then(Body::stored));
        false
    };
    world.effects = effects;
    assert_eq!(publish(&mut world, publication("a", "2", true), Some(&look)), PublishedValue::Unmet);
    assert_eq!(seen.get(), Some(stored));
}

#[test]
fn messages_of_coap_outlive_the_process() {
    let (log, mut world) = LogWorld::open(SimDisk::default(), Now::read(), Limits::default(), true);
    for (topic, format) in [("untyped", None), ("text", Some(0)), ("cbor", Some(60)), ("large", Some(11_050))]
    {
        let kept = KeptOptions::new(format.map(ContentFormat));
        let typed = Publication { properties: kept.properties(), ..publication(topic, "1", true) };
        publish(&mut world, Publication { expiry: Some(3600), ..typed }, None);
    }
    let (_log, world) = log.restarted(&world);
    for (topic, format, encoding) in [
        ("untyped", None, PropertyEncoding::None),
        ("text", Some(0), PropertyEncoding::Coap),
        ("cbor", Some(60), PropertyEncoding::Coap),
        ("large", Some(11_050), PropertyEncoding::Coap),
    ] {
        let message: Arc<Message> = match world.vhost.retained_value(topic, world.now) {
            Some(Body::Memory(message)) => message,
            Some(Body::Log(stored)) => Arc::new(world.journal.log().read(&stored).unwrap()),
            None => panic!("{topic}"),
        };
        assert_eq!((&*message.payload, message.encoding), (&b"1"[..], encoding), "{topic}");
        assert_eq!(content_format(message.properties()).0, format.map(ContentFormat), "{topic}");
        assert_eq!(message.remaining_expiry(world.now), Some(3600));
    }
}

#[test]
fn a_page_of_values_goes_on_where_the_last_one_ended() {
    let mut world = World::default();
    for number in 0..10 {
        publish(&mut world, publication(&format!("p/{number}"), "x", true), None);
    }
    let (mut after, mut topics) = (None, Vec::new());
    loop {
        let page = world.vhost.retained_page("p/+", after.as_ref(), 3);
        assert!(page.values.len() <= 3);
        topics.extend(page.values.into_iter().map(|(topic, _)| topic.to_string()));
        after = page.resume_after;
        if after.is_none() {
            break;
        }
    }
    assert!(topics.into_iter().eq((0..10).map(|number| format!("p/{number}"))));
}
