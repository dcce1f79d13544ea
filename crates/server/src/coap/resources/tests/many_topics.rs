//! `/ps/<filter>`, and what can be found.

use tercet_broker::watch::TOPICS;
use tercet_coap::Code;
use tercet_coap::senml::{Pack, Value};

use super::world::{Ask, World, format, text};
use crate::coap::answer::Answer;

#[test]
fn a_filter_is_a_map_of_its_topics() {
    let mut world = World::default();
    world.retain("a/x", "1");
    world.retain("a/y", "2");
    world.retain("b", "3");
    let map = world.ask(&Ask::new(Code::GET, "/ps/a/+"));
    assert_eq!(map.content_format, format(60));
    assert_eq!(map.body.as_bytes(), b"\xa2\x63a/x\x611\x63a/y\x612");
    let senml = world.ask(&Ask::new(Code::GET, "/ps/#").accept(110));
    assert_eq!(senml.content_format, format(110));
    let pack = Pack::from_json(&text(&senml), 10).unwrap();
    assert_eq!(pack.records.len(), 3);
    assert_eq!(pack.records[2].value, Some(Value::Number(3.0)));
    assert_eq!(world.code(&Ask::new(Code::GET, "/ps/+").accept(50)), Code::NOT_ACCEPTABLE);
    assert_eq!(world.code(&Ask::new(Code::FETCH, "/ps/+")), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn an_observer_of_many_topics_is_told_those_that_changed() {
    let mut world = World::default();
    world.retain("a/old", "1");
    let (_, observation, watch) = world.observe(Ask::new(Code::GET, "/ps/a/#"));
    world.retain("a/new", "1");
    world.retain("a/new", "2");
    world.retain("b", "3");
    assert_eq!(world.told(&observation, &watch).unwrap().body.as_bytes(), b"\xa1\x65a/new\x612");
    world.retain("a/new", "");
    assert_eq!(world.told(&observation, &watch).unwrap().body.as_bytes(), b"\xa1\x65a/new\xf6");
    for number in 0..=TOPICS {
        world.retain(&format!("a/{number}"), "x");
    }
    let all = world.told(&observation, &watch).unwrap();
    let has_old = all.body.as_bytes().windows(5).any(|window| window == b"a/old");
    assert!(has_old, "nobody knows what has changed: everything is told");
}

#[test]
fn a_map_has_what_its_reader_may_receive() {
    let mut world = World::default();
    world.retain("a/open", "1");
    world.retain("a/secret", "2");
    world.permit("topic read a/open\ntopic read a/deny\ntopic write a/secret\n");
    assert_eq!(world.ask(&Ask::new(Code::GET, "/ps/a/+")).body.as_bytes(), b"\xa1\x66a/open\x611");
    let (_, observation, watch) = world.observe(Ask::new(Code::GET, "/ps/a/+"));
    world.retain("a/secret", "3");
    assert!(world.told(&observation, &watch).is_none());
    assert_eq!(world.code(&Ask::new(Code::GET, "/ps/b/+")), Code::FORBIDDEN);
}

#[test]
fn the_collection_is_a_list_of_links_or_observed_as_a_map() {
    let mut world = World::default();
    world.ask(&Ask::new(Code::PUT, "/ps/a b").format(50).payload("{}"));
    for (path, accept, code, body) in [
        ("/ps", None, Code::CONTENT, ""),
        ("/ps?rt=core.ps.data", None, Code::CONTENT, "</ps/a%20b>;rt=\"core.ps.data\";ct=50;obs"),
        ("/ps?rt=core.ps.d*", Some(40), Code::CONTENT, "</ps/a%20b>;rt=\"core.ps.data\";ct=50;obs"),
        ("/ps?rt=core.ps.data&ct=60", None, Code::CONTENT, ""),
        ("/ps?rt=temperature", None, Code::CONTENT, ""),
        ("/ps", Some(60), Code::NOT_ACCEPTABLE, ""),
    ] {
        let ask = Ask::new(Code::GET, path);
        let response = world.ask(&accept.into_iter().fold(ask, Ask::accept));
        assert_eq!((response.code, text(&response).as_str()), (code, body), "{path} {accept:?}");
    }
    let (first, observation, _) = world.observe(Ask::new(Code::GET, "/ps"));
    assert_eq!((first.content_format, &*observation.filter), (format(60), "#"));
    let as_links = world.answer(&Ask::new(Code::GET, "/ps").accept(40).observing());
    assert!(matches!(as_links, Answer::Now(_)), "links are not observed");
    assert_eq!(world.code(&Ask::new(Code::PUT, "/ps").payload("x")), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn everything_is_linked_from_the_well_known_place() {
    let mut world = World::default();
    world.retain("a", "1");
    let found = |world: &mut World, query: &str| {
        text(&world.ask(&Ask::new(Code::GET, &format!("/.well-known/core{query}"))))
    };
    let all = found(&mut world, "");
    for link in ["</ps>", "</ps/a>", "</mqtt/connection>", "</.well-known/core>"] {
        assert!(all.contains(link), "{link}: {all}");
    }
    let collection = "</ps>;rt=\"core.ps core.ps.coll\";ct=\"40 60 110 112\";obs";
    for (query, expected) in [
        ("?rt=core.ps", collection),
        ("?rt=core.ps.coll", collection),
        ("?rt=core.ps.c*", collection),
        ("?href=/ps/*", "</ps/a>;rt=\"core.ps.data\";obs"),
        ("?rt=nothing", ""),
    ] {
        assert_eq!(found(&mut world, query), expected, "{query}");
    }
    world.permit("topic read b\n");
    assert!(!found(&mut world, "").contains("</ps/a>"));
    assert_eq!(world.code(&Ask::new(Code::GET, "/.well-known/core").accept(60)), Code::NOT_ACCEPTABLE);
    assert_eq!(world.code(&Ask::new(Code::POST, "/.well-known/core")), Code::METHOD_NOT_ALLOWED);
}
