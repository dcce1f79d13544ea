//! Exchanges, queues, bindings and policies by the control API.

use crate::api::{ask, ask_as};
use crate::client::{Answer, start};

fn done(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
}

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn exchanges_queues_and_bindings_are_made_shown_and_removed() {
    let server = start(|_| {});
    let exchange = r#"{"type":"topic","arguments":{"alternate-exchange":"amq.fanout"}}"#;
    done(&ask(&server, "PUT", "exchanges/%2F/orders", exchange), 201);
    done(&ask(&server, "PUT", "exchanges/%2F/orders", exchange), 204);
    done(&ask(&server, "PUT", "exchanges/%2F/orders", r#"{"type":"fanout"}"#), 409);
    done(&ask(&server, "PUT", "exchanges/%2F/amq.mine", r#"{"type":"fanout"}"#), 403);
    let shown = json(&ask(&server, "GET", "exchanges/%2F/orders", ""));
    assert_eq!((&shown["type"], &shown["durable"]), (&"topic".into(), &true.into()));
    assert_eq!(shown["arguments"]["alternate-exchange"], "amq.fanout");
    assert_eq!(ask(&server, "GET", "exchanges/%2F/amq.default", "").status, 200);

    let queue = r#"{"arguments":{"x-max-length":5}}"#;
    done(&ask(&server, "PUT", "queues/%2F/a%2Fb", queue), 201);
    done(&ask(&server, "PUT", "queues/%2F/a%2Fb", queue), 204);
    done(&ask(&server, "PUT", "queues/%2F/a%2Fb", "{}"), 409);
    done(&ask(&server, "PUT", "queues/%2F/x", r#"{"exclusive":true}"#), 400);
    done(&ask(&server, "PUT", "queues/%2F/x", r#"{"arguments":{"x-max-length":"many"}}"#), 409);
    let shown = json(&ask(&server, "GET", "queues/%2F/a%2Fb", ""));
    assert_eq!((&shown["name"], &shown["ready"]), (&"a/b".into(), &0.into()));
    assert_eq!(shown["effective"]["max-length"], 5);

    let binding = r#"{"source":"orders","destination":"a/b","routing_key":"eu.#"}"#;
    done(&ask(&server, "POST", "bindings/%2F", binding), 201);
    done(&ask(&server, "POST", "bindings/%2F", r#"{"source":"none","destination":"a/b"}"#), 404);
    let bindings = json(&ask(&server, "GET", "queues/%2F/a%2Fb/bindings", ""));
    let sources: Vec<_> = bindings["items"].as_array().unwrap().iter().map(|item| &item["source"]).collect();
    assert_eq!(sources, [&serde_json::Value::from(""), &"orders".into()]);
    assert_eq!(json(&ask(&server, "GET", "bindings?source=orders", ""))["total"], 1);
    done(&ask(&server, "DELETE", "exchanges/%2F/orders?if-unused", ""), 409);
    done(&ask(&server, "DELETE", "bindings/%2F", binding), 204);
    assert_eq!(json(&ask(&server, "GET", "bindings?source=orders", ""))["total"], 0);
    done(&ask(&server, "DELETE", "exchanges/%2F/orders?if-unused", ""), 204);
    done(&ask(&server, "GET", "exchanges/%2F/orders", ""), 404);
    assert_eq!(json(&ask(&server, "DELETE", "queues/%2F/a%2Fb", ""))["messages"], 0);
    done(&ask(&server, "DELETE", "queues/%2F/a%2Fb", ""), 404);
}

#[test]
fn rights_are_those_of_amqp() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "users/ann", r#"{"password":"pw","tags":"management"}"#), 201);
    for queue in ["ann-jobs", "bob-jobs"] {
        done(&ask(&server, "PUT", &format!("queues/%2F/{queue}"), "{}"), 201);
    }
    let ann = |method: &str, path: &str, body: &str| ask_as(&server, "ann:pw", method, path, body);
    done(&ann("GET", "queues/%2F/ann-jobs", ""), 403);
    done(&ann("PUT", "queues/%2F/ann-new", "{}"), 403);
    let permission = r#"{"configure":"^ann-","write":"^ann-","read":"^ann-"}"#;
    done(&ask(&server, "PUT", "permissions/%2F/ann", permission), 204);
    for (method, path, body) in [
        ("PUT", "queues/%2F/bob-new", "{}"),
        ("DELETE", "queues/%2F/bob-jobs", ""),
        ("POST", "queues/%2F/bob-jobs/purge", ""),
        ("POST", "queues/%2F/bob-jobs/pause", ""),
        ("GET", "queues/%2F/bob-jobs/messages", ""),
        ("POST", "queues/%2F/bob-jobs/move", r#"{"to":"ann-jobs"}"#),
        ("POST", "queues/%2F/ann-jobs/move", r#"{"to":"bob-jobs"}"#),
        ("PUT", "exchanges/%2F/bob", r#"{"type":"fanout"}"#),
        ("POST", "bindings/%2F", r#"{"source":"amq.fanout","destination":"ann-jobs"}"#),
        ("PUT", "policies/%2F/p", r#"{"pattern":"","definition":{"max-length":1}}"#),
        ("GET", "queues/none", ""),
    ] {
        let answer = ann(method, path, body);
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    assert!(
        ann("DELETE", "queues/%2F/bob-jobs", "")
            .body
            .contains("configure access to queue 'bob-jobs' in vhost '/' refused for user 'ann'")
    );
    done(&ann("POST", "queues/%2F/ann-jobs/purge", ""), 200);
    done(&ann("GET", "queues/%2F/ann-jobs/messages", ""), 200);
    done(&ann("PUT", "queues/%2F/ann-new", "{}"), 201);
    // A right that is taken away is gone with the next request.
    done(&ask(&server, "DELETE", "permissions/%2F/ann", ""), 204);
    done(&ann("POST", "queues/%2F/ann-jobs/purge", ""), 403);
}

#[test]
fn queues_are_paused_and_resumed() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "queues/%2F/q", "{}"), 201);
    let state = || json(&ask(&server, "GET", "queues/%2F/q", ""))["state"].clone();
    assert_eq!(state(), "running");
    done(&ask(&server, "POST", "queues/%2F/q/pause", ""), 204);
    assert_eq!(state(), "paused");
    done(&ask(&server, "POST", "queues/%2F/q/resume", ""), 204);
    assert_eq!(state(), "running");
    done(&ask(&server, "POST", "queues/%2F/none/pause", ""), 404);
}

#[test]
fn policies_show_in_the_queues_they_are_about() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "queues/%2F/jobs", r#"{"arguments":{"x-max-length":50}}"#), 201);
    let policy = r#"{"pattern":"^jobs","priority":3,"apply-to":"queues","definition":{"max-length":20,"message-ttl":1000}}"#;
    done(&ask(&server, "PUT", "policies/%2F/p", policy), 201);
    done(&ask(&server, "PUT", "policies/%2F/p", policy), 204);
    let operator = r#"{"pattern":"","definition":{"max-length":7}}"#;
    done(&ask(&server, "PUT", "operator-policies/%2F/o", operator), 201);
    let queue = json(&ask(&server, "GET", "queues/%2F/jobs", ""));
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&"p".into(), &"o".into()));
    let effective = &queue["effective"];
    assert_eq!((&effective["max-length"], &effective["message-ttl"]), (&7.into(), &1000.into()));
    let shown = json(&ask(&server, "GET", "policies", ""));
    assert_eq!(shown["items"][0]["definition"]["message-ttl"], 1000);
    for (body, what) in [
        (r#"{"pattern":"(","definition":{"max-length":1}}"#, "regular expression"),
        (r#"{"pattern":"","definition":{"max-lenght":1}}"#, "max-lenght"),
        (r#"{"pattern":"","definition":{"max-length":-1}}"#, "max-length"),
        (r#"{"pattern":"","definition":{}}"#, "at least one"),
        (r#"{"pattern":"","apply-to":"stars","definition":{"max-length":1}}"#, "stars"),
        (r#"{"definition":{"max-length":1}}"#, "pattern"),
    ] {
        let answer = ask(&server, "PUT", "policies/%2F/bad", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.body.contains(what), "{body}: {}", answer.body);
    }
    done(
        &ask(
            &server,
            "PUT",
            "operator-policies/%2F/bad",
            r#"{"pattern":"","definition":{"dead-letter-exchange":"x"}}"#,
        ),
        400,
    );
    done(&ask(&server, "DELETE", "operator-policies/%2F/o", ""), 204);
    done(&ask(&server, "DELETE", "policies/%2F/p", ""), 204);
    done(&ask(&server, "DELETE", "policies/%2F/p", ""), 404);
    let queue = json(&ask(&server, "GET", "queues/%2F/jobs", ""));
    assert_eq!((&queue["policy"], &queue["effective"]["max-length"]), (&serde_json::Value::Null, &50.into()));
}

#[test]
fn a_virtual_host_can_be_full_of_queues() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "vhost-limits/%2F", r#"{"max-queues":1}"#), 204);
    done(&ask(&server, "PUT", "queues/%2F/first", "{}"), 201);
    let refused = ask(&server, "PUT", "queues/%2F/second", "{}");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("queue limit in vhost '/' (1) is reached"), "{}", refused.body);
    done(&ask(&server, "PUT", "queues/%2F/first", "{}"), 204);
    done(&ask(&server, "DELETE", "vhost-limits/%2F", ""), 204);
    done(&ask(&server, "PUT", "queues/%2F/second", "{}"), 201);
}

#[test]
fn virtual_hosts_are_made_for_their_maker_and_forgotten_when_they_go() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "vhosts/a%2Fb", ""), 201);
    done(&ask(&server, "PUT", "vhosts/a%2Fb", ""), 204);
    done(&ask(&server, "PUT", "vhosts/a%0Ab", ""), 400);
    let names = |answer: &Answer| -> Vec<String> {
        let items = json(answer)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ask(&server, "GET", "vhosts", "")), ["/", "a/b"]);
    done(&ask(&server, "PUT", "queues/a%2Fb/q", "{}"), 201);
    done(&ask(&server, "GET", "queues/%2F/q", ""), 404);
    assert_eq!(json(&ask(&server, "GET", "vhosts/a%2Fb", ""))["queues"], 1);
    done(&ask(&server, "PUT", "users/ann", r#"{"password":"pw","tags":"management"}"#), 201);
    done(&ask_as(&server, "ann:pw", "GET", "vhosts/a%2Fb", ""), 403);
    done(&ask_as(&server, "ann:pw", "PUT", "vhosts/mine", ""), 403);
    let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
    done(&ask(&server, "PUT", "permissions/a%2Fb/ann", everything), 204);
    assert_eq!(names(&ask_as(&server, "ann:pw", "GET", "vhosts", "")), ["a/b"]);
    done(&ask_as(&server, "ann:pw", "PUT", "queues/a%2Fb/r", "{}"), 201);
    done(&ask(&server, "DELETE", "vhosts/%2F", ""), 400);
    done(&ask(&server, "DELETE", "vhosts/a%2Fb", ""), 204);
    done(&ask(&server, "DELETE", "vhosts/a%2Fb", ""), 404);
    done(&ask(&server, "PUT", "vhosts/a%2Fb", ""), 201);
    assert_eq!(json(&ask(&server, "GET", "queues/a%2Fb", ""))["total"], 0);
    done(&ask_as(&server, "ann:pw", "GET", "queues/a%2Fb", ""), 403);
}

#[test]
fn connections_are_listed_and_those_that_are_not_there_cannot_be_closed() {
    let server = start(|_| {});
    assert_eq!(json(&ask(&server, "GET", "connections", ""))["total"], 0);
    for (method, path) in [("GET", "connections/1"), ("DELETE", "connections/1"), ("DELETE", "connections/x")]
    {
        done(&ask(&server, method, path, ""), 404);
    }
}

#[test]
fn what_was_confirmed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let begin = || {
        start(|config| {
            config.server.durability = tercet_server::config::Durability::Fsync;
            config.server.data = directory.path().join("data");
        })
    };
    let server = begin();
    done(&ask(&server, "PUT", "vhosts/v", ""), 201);
    done(&ask(&server, "PUT", "users/ann", r#"{"password":"pw","tags":"policymaker"}"#), 201);
    let mine = r#"{"configure":"^ann","write":"","read":".*"}"#;
    done(&ask(&server, "PUT", "permissions/v/ann", mine), 204);
    done(&ask(&server, "PUT", "user-limits/ann", r#"{"max-channels":3}"#), 204);
    done(&ask(&server, "PUT", "vhost-limits/v", r#"{"max-queues":1}"#), 204);
    let policy = r#"{"pattern":"^ann","definition":{"max-length":9}}"#;
    done(&ask_as(&server, "ann:pw", "PUT", "policies/v/p", policy), 201);
    drop(server);
    let server = begin();
    let ann = json(&ask(&server, "GET", "users/ann", ""));
    assert_eq!((&ann["tags"][0], &ann["limits"]["max-channels"]), (&"policymaker".into(), &3.into()));
    let permission = json(&ask(&server, "GET", "permissions/v/ann", ""));
    assert_eq!(permission["configure"], "^ann");
    done(&ask_as(&server, "ann:pw", "PUT", "queues/v/ann-q", "{}"), 201);
    done(&ask_as(&server, "ann:pw", "PUT", "queues/v/ann-r", "{}"), 409);
    let queue = json(&ask_as(&server, "ann:pw", "GET", "queues/v/ann-q", ""));
    assert_eq!((&queue["policy"], &queue["effective"]["max-length"]), (&"p".into(), &9.into()), "{queue}");
    done(&ask_as(&server, "ann:pw", "DELETE", "policies/v/p", ""), 204);
    done(&ask(&server, "DELETE", "users/ann", ""), 204);
    drop(server);
    let server = begin();
    done(&ask(&server, "GET", "users/ann", ""), 404);
    done(&ask(&server, "GET", "policies/v/p", ""), 404);
}
