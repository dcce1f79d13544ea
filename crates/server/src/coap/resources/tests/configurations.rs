//! Configured topics, operation by operation (draft-ietf-core-coap-pubsub-21).

use std::sync::Arc;
use std::time::Duration;

use tercet_coap::{Code, ContentFormat};

use super::world::{Ask, World, format, text};
use crate::coap::answer::{Answer, Lease};
use crate::coap::resources::topics::properties::{Properties, TOPIC_DATA};
use crate::coap::resources::{SharedResources, expire};
use crate::coap::response::Response;

fn named(name: &str) -> Properties {
    Properties { name: Some(name.into()), resource_type: Some(TOPIC_DATA.into()), ..Properties::default() }
}

fn create(world: &mut World, properties: &Properties) -> Response {
    world.ask(&Ask::new(Code::POST, "/ps").format(606).payload(properties.encode()))
}

/// Creates a topic and says where its configuration is.
fn created(world: &mut World, properties: &Properties) -> String {
    let response = create(world, properties);
    assert_eq!((response.code, response.content_format), (Code::CREATED, format(606)));
    format!("/{}", response.location.join("/"))
}

fn shown(response: &Response) -> Properties {
    Properties::decode(response.body.as_bytes()).unwrap()
}

#[test]
fn a_topic_is_created_read_and_deleted() {
    let mut world = World::default();
    let path = created(&mut world, &Properties { topic_type: Some("temp".into()), ..named("a/b") });
    let full = Properties { data: Some("/ps/a/b".into()), topic_type: Some("temp".into()), ..named("a/b") };
    let read = world.ask(&Ask::new(Code::GET, &path));
    assert_eq!((read.code, shown(&read)), (Code::CONTENT, full.clone()));
    assert_eq!(world.code(&Ask::new(Code::GET, &path).accept(60)), Code::NOT_ACCEPTABLE);
    let link = format!("<{path}>;rt=\"core.ps.conf\";ct=606");
    for ask in [
        Ask::new(Code::GET, "/ps"),
        Ask::new(Code::GET, "/ps?rt=core.ps.conf"),
        Ask::new(Code::GET, "/.well-known/core?rt=core.ps.conf"),
        Ask::new(Code::FETCH, "/ps").format(606).payload(named("a/b").encode()),
    ] {
        let listed = world.ask(&ask);
        assert_eq!((text(&listed), listed.content_format), (link.clone(), format(40)));
    }
    let other = Ask::new(Code::FETCH, "/ps").format(606).payload(named("other").encode());
    assert_eq!(text(&world.ask(&other)), "");
    for (format, payload, code) in [
        (60, &b"\x82\x01\x04"[..], Code::CONTENT),
        (606, b"\x82\x01\x04", Code::UNSUPPORTED_CONTENT_FORMAT),
        (60, b"\xa0", Code::BAD_REQUEST),
    ] {
        let part = world.ask(&Ask::new(Code::FETCH, &path).format(format).payload(payload));
        assert_eq!(part.code, code);
        if code == Code::CONTENT {
            let expected = Properties {
                data: full.data.clone(),
                topic_type: full.topic_type.clone(),
                ..Properties::default()
            };
            assert_eq!(shown(&part), expected);
        }
    }
    assert_eq!(world.code(&Ask::new(Code::PUT, &path)), Code::METHOD_NOT_ALLOWED);
    assert_eq!(world.code(&Ask::new(Code::DELETE, &path)), Code::DELETED);
    for method in [Code::DELETE, Code::GET, Code::POST, Code::IPATCH, Code::FETCH] {
        assert_eq!(world.code(&Ask::new(method, &path)), Code::NOT_FOUND);
    }
}

#[test]
fn what_is_no_topic_is_not_created() {
    let mut world = World::default();
    created(&mut world, &named("taken"));
    for (what, properties) in [
        ("no name", Properties { name: None, ..named("x") }),
        ("no type", Properties { resource_type: None, ..named("x") }),
        ("a name that is taken", named("taken")),
        ("data that is taken", Properties { data: Some("/ps/taken".into()), ..named("x") }),
        ("a wildcard", named("a/#")),
        ("an initial value without format", Properties { initialize: Some(vec![1]), ..named("x") }),
    ] {
        assert_eq!(create(&mut world, &properties).code, Code::BAD_REQUEST, "{what}");
    }
    let post = || Ask::new(Code::POST, "/ps").payload(named("x").encode());
    assert_eq!(world.code(&post()), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(world.code(&post().format(50)), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(world.code(&post().format(606).payload("x")), Code::BAD_REQUEST);
    assert_eq!(world.code(&post().format(60)), Code::CREATED, "606 is not registered yet");
}

#[test]
fn data_lives_between_half_and_fully_created() {
    let mut world = World::default();
    created(&mut world, &Properties { content_format: Some(ContentFormat(50)), ..named("a") });
    let (get, put) = (Ask::new(Code::GET, "/ps/a"), Ask::new(Code::PUT, "/ps/a").payload("{}"));
    for (ask, code) in [
        (get.clone(), Code::NOT_FOUND),
        (get.clone().observing(), Code::NOT_FOUND),
        (put.clone(), Code::UNSUPPORTED_CONTENT_FORMAT),
        (put.clone().format(60), Code::UNSUPPORTED_CONTENT_FORMAT),
        (put.clone().format(50), Code::CREATED),
        (put.clone().format(50), Code::CHANGED),
        (get.clone(), Code::CONTENT),
        (Ask::new(Code::DELETE, "/ps/a"), Code::DELETED),
        (get.clone().observing(), Code::NOT_FOUND),
        (put.format(50), Code::CREATED),
    ] {
        assert_eq!(world.code(&ask), code);
    }
    let first = Properties {
        content_format: Some(ContentFormat(0)),
        initialize: Some(b"21".to_vec()),
        ..named("ready")
    };
    assert!(shown(&create(&mut world, &first)).initialize.is_none());
    let value = world.ask(&Ask::new(Code::GET, "/ps/ready"));
    assert_eq!((text(&value), value.content_format), ("21".to_owned(), format(0)));
}

#[test]
fn a_configuration_is_replaced_or_patched() {
    let mut world = World::default();
    let path = created(&mut world, &Properties { topic_type: Some("t".into()), ..named("a") });
    let change = |world: &mut World, method, given: &Properties| {
        world.ask(&Ask::new(method, &path).format(606).payload(given.encode()))
    };
    let some = Properties { max_subscribers: Some(5), ..Properties::default() };
    let patched = change(&mut world, Code::IPATCH, &some);
    assert_eq!(patched.code, Code::CHANGED);
    let whole = shown(&patched);
    assert_eq!((whole.max_subscribers, whole.topic_type.as_deref()), (Some(5), Some("t")));
    let replaced = change(&mut world, Code::POST, &Properties { observer_check: Some(60), ..named("a") });
    let whole = shown(&replaced);
    assert_eq!((replaced.code, whole.observer_check), (Code::CHANGED, Some(60)));
    assert_eq!((whole.max_subscribers, whole.topic_type), (None, None), "what is left out has its default");
    assert_eq!(whole.data.as_deref(), Some("/ps/a"));
    for method in [Code::POST, Code::IPATCH] {
        for (what, given) in [
            ("another name", named("b")),
            ("other data", Properties { data: Some("/ps/b".into()), ..Properties::default() }),
            ("another type", Properties { resource_type: Some("x".into()), ..Properties::default() }),
            ("a first value", Properties { initialize: Some(vec![1]), ..Properties::default() }),
            ("a date in the past", Properties { expires_ms: Some(1), ..Properties::default() }),
        ] {
            assert_eq!(change(&mut world, method, &given).code, Code::BAD_REQUEST, "{what}");
        }
    }
    let untyped = Ask::new(Code::IPATCH, &path).payload(some.encode());
    assert_eq!(world.code(&untyped), Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[test]
fn as_many_observe_as_the_topic_says() {
    let mut world = World::default();
    let some = Properties { max_subscribers: Some(1), observer_check: Some(60), ..named("a") };
    let path = created(&mut world, &some);
    world.retain("a", "1");
    let (_, mut observation, watch) = world.observe(Ask::new(Code::GET, "/ps/a"));
    assert_eq!(observation.check_within, Duration::from_secs(60));
    let refused = world.answer(&Ask::new(Code::GET, "/ps/a").observing());
    assert!(matches!(refused, Answer::Now(response) if response.code == Code::CONTENT));
    let none = Properties { max_subscribers: Some(0), ..Properties::default() };
    world.ask(&Ask::new(Code::IPATCH, &path).format(606).payload(none.encode()));
    assert_eq!(world.effects.wakes, [watch.owner()], "who observes is to give way");
    assert!(observation.lease.as_mut().is_some_and(Lease::give_way));
}

#[test]
fn a_topic_ends_with_its_data_and_its_observers() {
    let mut world = World::default();
    let deleted = created(&mut world, &named("a"));
    let ends_at = Some(world.now.utc_ms + 5_000);
    let expiring = created(&mut world, &Properties { expires_ms: ends_at, ..named("b") });
    for topic in ["a", "b"] {
        world.retain(topic, "1");
    }
    let (_, on_a, watch_a) = world.observe(Ask::new(Code::GET, "/ps/a"));
    let (_, on_b, watch_b) = world.observe(Ask::new(Code::GET, "/ps/b"));
    world.ask(&Ask::new(Code::DELETE, &deleted));
    assert_eq!(world.told(&on_a, &watch_a).unwrap().code, Code::NOT_FOUND);
    let shared = Arc::clone(&world.shared);
    expire(&shared, world.now, &mut world.effects);
    assert!(world.told(&on_b, &watch_b).is_none());
    world.now = world.now.after(Duration::from_secs(5));
    expire(&shared, world.now, &mut world.effects);
    assert_eq!(world.told(&on_b, &watch_b).unwrap().code, Code::NOT_FOUND);
    assert_eq!(world.code(&Ask::new(Code::GET, &expiring)), Code::NOT_FOUND);
    assert_eq!(world.code(&Ask::new(Code::GET, "/ps/b")), Code::NOT_FOUND);
}

#[test]
fn who_may_publish_configures_and_who_may_receive_reads() {
    let mut world = World::default();
    let path = created(&mut world, &named("a"));
    let patch = Ask::new(Code::IPATCH, &path).format(606).payload(b"\xa0");
    for (acl, read, write, listed) in [
        ("topic read a\n", Code::CONTENT, Code::FORBIDDEN, true),
        ("topic write a\n", Code::CONTENT, Code::CHANGED, false),
        ("topic read b\n", Code::FORBIDDEN, Code::FORBIDDEN, false),
    ] {
        world.permit(acl);
        assert_eq!(world.code(&Ask::new(Code::GET, &path)), read, "{acl}");
        assert_eq!(world.code(&patch), write, "{acl}");
        assert_eq!(!text(&world.ask(&Ask::new(Code::GET, "/ps"))).is_empty(), listed, "{acl}");
        assert_eq!(create(&mut world, &named("c")).code, Code::FORBIDDEN);
    }
    assert_eq!(world.code(&Ask::new(Code::DELETE, &path)), Code::FORBIDDEN);
}

#[test]
fn configurations_outlive_the_process() {
    let mut world = World::default();
    created(&mut world, &Properties { max_subscribers: Some(3), ..named("a") });
    let again = SharedResources::open(world.shared.hosts.definitions());
    let topic = again.topics.of_data("a").unwrap();
    assert_eq!(topic.properties.max_subscribers, Some(3));
}
