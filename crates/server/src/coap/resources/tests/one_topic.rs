//! `/ps/<topic>`, the root, and credentials.

use std::time::Duration;

use tercet_broker::limits::Limits;
use tercet_coap::{Code, Number};

use super::world::{Ask, World, format, text};
use crate::coap::answer::Answer;

#[test]
fn a_value_is_published_read_and_cleared() {
    let mut world = World::default();
    for (ask, code, body) in [
        (Ask::new(Code::GET, "/ps/a/b"), Code::NOT_FOUND, ""),
        (Ask::new(Code::PUT, "/ps/a/b").payload("1"), Code::CREATED, ""),
        (Ask::new(Code::PUT, "/ps/a/b").payload("2").unconfirmed(), Code::CHANGED, ""),
        (Ask::new(Code::POST, "/ps/a/b").payload("event"), Code::CHANGED, ""),
        (Ask::new(Code::POST, "/ps/a/b"), Code::CHANGED, ""),
        (Ask::new(Code::GET, "/ps/a/b"), Code::CONTENT, "2"),
        (Ask::new(Code::PUT, "/ps/a/b"), Code::BAD_REQUEST, "a value is not empty; DELETE clears it"),
        (Ask::new(Code::DELETE, "/ps/a/b"), Code::DELETED, ""),
        (Ask::new(Code::DELETE, "/ps/a/b"), Code::DELETED, ""),
        (Ask::new(Code::GET, "/ps/a/b"), Code::NOT_FOUND, ""),
        (Ask::new(Code::POST, "/ps/a/b?retain=true").payload("3"), Code::CREATED, ""),
        (Ask::new(Code::PUT, "/ps/a/b?r=0").payload("4"), Code::CHANGED, ""),
        (Ask::new(Code::GET, "/ps/a/b"), Code::CONTENT, "3"),
        (Ask::new(Code::FETCH, "/ps/a/b"), Code::METHOD_NOT_ALLOWED, ""),
        (Ask::new(Code::IPATCH, "/ps/a/b"), Code::METHOD_NOT_ALLOWED, ""),
        (Ask::new(Code(31), "/ps/a/b"), Code::METHOD_NOT_ALLOWED, ""),
        (Ask::new(Code::PUT, "/"), Code::METHOD_NOT_ALLOWED, ""),
        (Ask::new(Code::GET, "/nowhere"), Code::NOT_FOUND, ""),
    ] {
        let response = world.ask(&ask);
        assert_eq!((response.code, text(&response).as_str()), (code, body));
    }
    assert_eq!(world.code(&Ask::new(Code::GET, "/")), Code::CONTENT);
}

#[test]
fn paths_that_are_no_topics_are_refused() {
    let mut world = World::default();
    for path in ["/ps/", "/ps/.", "/ps/a/..", "/ps/a+/b", "/ps/#/b"] {
        for method in [Code::GET, Code::PUT, Code::POST, Code::DELETE] {
            assert_eq!(world.code(&Ask::new(method, path).payload("x")), Code::BAD_REQUEST, "{path}");
        }
    }
    let slash = Ask::new(Code::PUT, "/ps").option(Number::URI_PATH, b"a/b").payload("x");
    assert_eq!(world.code(&slash), Code::BAD_REQUEST);
    for path in ["/ps/a/+", "/ps/#"] {
        for method in [Code::PUT, Code::POST, Code::DELETE] {
            assert_eq!(world.code(&Ask::new(method, path).payload("x")), Code::BAD_REQUEST, "{path}");
        }
    }
    assert!(world.shared.vhost.retained().is_empty());
}

#[test]
fn a_representation_has_its_format_its_tag_and_its_time() {
    let mut world = World::default();
    world.ask(&Ask::new(Code::PUT, "/ps/a").format(50).max_age(60).payload("{}"));
    world.now = world.now.after(Duration::from_secs(20));
    let response = world.ask(&Ask::new(Code::GET, "/ps/a"));
    assert_eq!((response.content_format, response.max_age), (format(50), Some(40)));
    let tag = response.etag.unwrap();
    for (ask, code) in [
        (Ask::new(Code::GET, "/ps/a").option(Number::ETAG, &tag), Code::VALID),
        (Ask::new(Code::GET, "/ps/a").option(Number::ETAG, b"other").option(Number::ETAG, &tag), Code::VALID),
        (Ask::new(Code::GET, "/ps/a").option(Number::ETAG, b"other"), Code::CONTENT),
        (Ask::new(Code::GET, "/ps/a").accept(50), Code::CONTENT),
        (Ask::new(Code::GET, "/ps/a").accept(60), Code::NOT_ACCEPTABLE),
    ] {
        let response = world.ask(&ask);
        assert_eq!((response.code, response.body.as_bytes().is_empty()), (code, code != Code::CONTENT));
    }
    world.now = world.now.after(Duration::from_secs(41));
    assert_eq!(world.code(&Ask::new(Code::GET, "/ps/a")), Code::NOT_FOUND, "it has expired");
    assert_eq!(world.code(&Ask::new(Code::PUT, "/ps/a?expiry=5").payload("x")), Code::CREATED);
    assert_eq!(world.ask(&Ask::new(Code::GET, "/ps/a")).max_age, Some(5));
    world.retain("untyped", "x");
    assert_eq!(world.ask(&Ask::new(Code::GET, "/ps/untyped").accept(42)).content_format, format(42));
}

#[test]
fn conditions_are_kept() {
    let mut world = World::default();
    world.ask(&Ask::new(Code::PUT, "/ps/a").payload("1"));
    let tag = world.ask(&Ask::new(Code::GET, "/ps/a")).etag.unwrap();
    let put = |path| Ask::new(Code::PUT, path).payload("2");
    for (ask, code) in [
        (put("/ps/a").option(Number::IF_NONE_MATCH, b""), Code::PRECONDITION_FAILED),
        (put("/ps/a").option(Number::IF_MATCH, b"other"), Code::PRECONDITION_FAILED),
        (put("/ps/b").option(Number::IF_MATCH, b""), Code::PRECONDITION_FAILED),
        (Ask::new(Code::DELETE, "/ps/b").option(Number::IF_MATCH, b""), Code::PRECONDITION_FAILED),
        (Ask::new(Code::POST, "/ps/b").option(Number::IF_MATCH, b""), Code::PRECONDITION_FAILED),
        (Ask::new(Code::POST, "/ps/a").option(Number::IF_MATCH, &tag), Code::CHANGED),
        (put("/ps/b").option(Number::IF_NONE_MATCH, b""), Code::CREATED),
        (put("/ps/a").option(Number::IF_MATCH, &tag), Code::CHANGED),
        (Ask::new(Code::DELETE, "/ps/a").option(Number::IF_MATCH, &tag), Code::PRECONDITION_FAILED),
        (Ask::new(Code::DELETE, "/ps/a").option(Number::IF_MATCH, b""), Code::DELETED),
    ] {
        assert_eq!(world.code(&ask), code);
    }
}

#[test]
fn observers_are_told_the_latest_and_the_end() {
    let mut world = World::default();
    let (first, observation, watch) = world.observe(Ask::new(Code::GET, "/ps/a"));
    assert_eq!((first.code, first.body.as_bytes()), (Code::CONTENT, &b""[..]), "there is no value yet");
    assert!(world.told(&observation, &watch).is_none());
    world.ask(&Ask::new(Code::PUT, "/ps/a").payload("1"));
    world.ask(&Ask::new(Code::POST, "/ps/a").payload("2"));
    let told = world.told(&observation, &watch).unwrap();
    assert_eq!((told.code, text(&told)), (Code::CONTENT, "2".to_owned()));
    world.ask(&Ask::new(Code::DELETE, "/ps/a"));
    assert_eq!(world.told(&observation, &watch).unwrap().code, Code::NOT_FOUND);
}

#[test]
fn notifications_keep_the_first_format() {
    let mut world = World::default();
    world.ask(&Ask::new(Code::PUT, "/ps/a").format(50).payload("{}"));
    let (_, observation, watch) = world.observe(Ask::new(Code::GET, "/ps/a"));
    for (format, code) in [(50, Code::CONTENT), (60, Code::NOT_ACCEPTABLE)] {
        world.ask(&Ask::new(Code::PUT, "/ps/a").format(format).payload("{}"));
        assert_eq!(world.told(&observation, &watch).unwrap().code, code);
    }
    world.retain("a", "untyped");
    assert_eq!(world.told(&observation, &watch).unwrap().code, Code::NOT_ACCEPTABLE);
}

#[test]
fn rights_are_those_of_the_topic() {
    let mut world = World::default();
    world.retain("read", "x");
    world.retain("secret", "x");
    world.permit("topic read read\ntopic write write\ntopic read $SYS/#\n");
    for (ask, code) in [
        (Ask::new(Code::GET, "/ps/read"), Code::CONTENT),
        (Ask::new(Code::GET, "/ps/secret"), Code::FORBIDDEN),
        (Ask::new(Code::GET, "/ps/secret").observing(), Code::FORBIDDEN),
        (Ask::new(Code::GET, "/ps/none"), Code::FORBIDDEN),
        (Ask::new(Code::PUT, "/ps/read").payload("y"), Code::FORBIDDEN),
        (Ask::new(Code::DELETE, "/ps/read"), Code::FORBIDDEN),
        (Ask::new(Code::PUT, "/ps/write").payload("y"), Code::CREATED),
        (Ask::new(Code::GET, "/ps/write"), Code::FORBIDDEN),
        (Ask::new(Code::PUT, "/ps/$SYS/x").payload("y"), Code::FORBIDDEN),
    ] {
        assert_eq!(world.code(&ask), code);
    }
    let (_, observation, watch) = world.observe(Ask::new(Code::GET, "/ps/read"));
    world.permit("topic write read\n");
    world.retain("read", "z");
    assert_eq!(world.told(&observation, &watch).unwrap().code, Code::FORBIDDEN, "the right is gone");
    world.caller.admitted = false;
    assert_eq!(world.code(&Ask::new(Code::GET, "/ps/read")), Code::UNAUTHORIZED);
    assert_eq!(world.code(&Ask::new(Code::GET, "/ps/read?c=x&u=a&p=b")), Code::UNAUTHORIZED);
}

#[test]
fn a_store_that_is_full_is_unavailable_for_a_while() {
    let mut world = World::with(Limits { max_retained: 1, ..Limits::default() });
    assert_eq!(world.code(&Ask::new(Code::PUT, "/ps/a").payload("1")), Code::CREATED);
    let full = world.ask(&Ask::new(Code::PUT, "/ps/b").payload("1"));
    assert_eq!((full.code, full.max_age), (Code::SERVICE_UNAVAILABLE, Some(5)));
    assert_eq!(world.code(&Ask::new(Code::POST, "/ps/b").payload("1")), Code::CHANGED);
}

#[test]
fn a_connection_is_opened_used_and_closed() {
    let mut world = World::default();
    world.permit("pattern readwrite own/%c\n");
    let opened = world.ask(&Ask::new(Code::POST, "/mqtt/connection?clientid=dev&username=u&password=p"));
    assert_eq!(opened.code, Code::CREATED);
    let token = text(&opened);
    for (method, path, code) in [
        (Code::PUT, format!("/ps/own/dev?clientid=dev&token={token}"), Code::CREATED),
        (Code::GET, format!("/ps/own/dev?c=dev&t={token}"), Code::CONTENT),
        (Code::GET, "/ps/own/dev".into(), Code::FORBIDDEN),
        (Code::GET, "/ps/own/dev?c=dev".into(), Code::CONTENT),
        (Code::GET, format!("/ps/own/dev?c=other&t={token}"), Code::UNAUTHORIZED),
        (Code::PUT, format!("/mqtt/connection?clientid=dev&token={token}"), Code::CHANGED),
        (Code::PUT, "/mqtt/connection?clientid=dev&token=1".into(), Code::UNAUTHORIZED),
        (Code::PUT, "/mqtt/connection?clientid=dev".into(), Code::BAD_REQUEST),
        (Code::POST, "/mqtt/connection".into(), Code::BAD_REQUEST),
        (Code::GET, "/mqtt/connection?clientid=dev".into(), Code::METHOD_NOT_ALLOWED),
        (Code::DELETE, format!("/mqtt/connection?clientid=dev&token={token}"), Code::DELETED),
        (Code::GET, format!("/ps/own/dev?c=dev&t={token}"), Code::UNAUTHORIZED),
        (Code::PUT, "/ps/own/dev?qos=7".into(), Code::BAD_REQUEST),
    ] {
        assert_eq!(world.code(&Ask::new(method, &path).payload("x")), code, "{path}");
    }
    let named = world.answer(&Ask::new(Code::GET, "/ps/own/dev?c=dev").observing());
    assert!(matches!(named, Answer::Observe(_, observation) if observation.observer.is_some()));
}
