//! The control API over real sockets: who may ask, what is refused, and what changes.

use std::io::Write as _;

use tercet_server::RunningServer;
use tercet_server::auth::PasswordFile;
use tercet_server::auth::password_file::HashChoice;
use tercet_server::auth::password_hash::ArgonCost;

use crate::client::{Answer, connect, request, start};

/// Base64 of what basic authentication sends.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            encoded.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    encoded
}

/// Asks as a user, whose name and password are separated by a colon.
pub(crate) fn ask_as(server: &RunningServer, user: &str, method: &str, path: &str, body: &str) -> Answer {
    let credentials = base64(user);
    let length = body.len();
    request(
        server,
        "http",
        &format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

pub(crate) fn ask(server: &RunningServer, method: &str, path: &str, body: &str) -> Answer {
    ask_as(server, "guest:guest", method, path, body)
}

/// An answer without a body has no length, and the client of these tests reads none then.
fn done(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
}

#[test]
fn strangers_learn_nothing_and_are_told_what_to_do() {
    let server = start(|_| {});
    let bare = |headers: &str| {
        request(&server, "http", &format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
    };
    let good = format!("Authorization: Basic {}\r\n", base64("guest:guest"));
    let cases = [
        (String::new(), 401, "not-authenticated"),
        (format!("Authorization: Basic {}\r\n", base64("guest:wrong")), 401, "not-authenticated"),
        (format!("Authorization: Basic {}\r\n", base64("nobody:guest")), 401, "not-authenticated"),
        ("Authorization: Basic !!!\r\n".into(), 401, "not-authenticated"),
        ("Authorization: Bearer x\r\n".into(), 401, "not-authenticated"),
        (format!("{good}Origin: https://evil.example\r\n"), 403, "access-refused"),
        (format!("{good}Origin: null\r\n"), 403, "access-refused"),
        (format!("{good}Sec-Fetch-Site: cross-site\r\n"), 403, "access-refused"),
        (good.clone(), 200, "\"product\":\"tercet\""),
        (format!("{good}Origin: http://localhost\r\n"), 200, "\"product\":\"tercet\""),
    ];
    for (headers, status, text) in cases {
        let answer = bare(&headers);
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        assert!(answer.body.contains(text), "{headers}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{headers}");
        if status != 200 {
            assert!(answer.body.contains("\"hint\":\"") && answer.body.contains("\"text\":\""));
        }
    }
    // A page that has given its own name our address (DNS rebinding).
    let rebound = format!("GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\n{good}\r\n");
    done(&request(&server, "http", &rebound), 401);
    let preflight = "OPTIONS /api/v1/users HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
                     Access-Control-Request-Method: PUT\r\n\r\n";
    let answer = request(&server, "http", preflight);
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (403, None));
}

/// A server with a password file of these users, all with the password "pw" and a hash that takes no time.
fn with_users(users: &[&str], directory: &std::path::Path) -> RunningServer {
    let path = directory.join("passwords");
    let mut file = PasswordFile::default();
    let cheap = HashChoice { cost: ArgonCost { memory_kib: 64, passes: 1 }, scram_iterations: None };
    for user in users {
        file.set_password(user, &"pw".into(), cheap).unwrap();
    }
    file.write(&path).unwrap();
    start(|config| config.auth.password_file = Some(path))
}

#[test]
fn guessing_passwords_is_slowed_down() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&["admin", "late"], directory.path());
    done(&ask_as(&server, "admin:pw", "GET", "status", ""), 200);
    let mut statuses = Vec::new();
    while statuses.len() < 100 && statuses.last() != Some(&429) {
        statuses.push(ask_as(&server, "admin:guess", "GET", "status", "").status);
    }
    assert!(statuses.len() >= 10 && statuses.last() == Some(&429), "{statuses:?}");
    done(&ask_as(&server, "late:pw", "GET", "status", ""), 429);
    done(&ask_as(&server, "admin:pw", "GET", "status", ""), 200);
}

#[test]
fn bodies_are_bounded_and_have_to_be_json() {
    let server = start(|_| {});
    let credentials = base64("guest:guest");
    let head = format!(
        "PUT /api/v1/users/ann HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n"
    );
    // Refused by what is announced, before any of it was sent.
    let announced = format!("{head}Content-Type: application/json\r\nContent-Length: 9999999\r\n\r\n");
    let mut stream = connect(&server, "http");
    stream.write_all(announced.as_bytes()).unwrap();
    done(&Answer::read(&mut stream), 413);
    // Refused while it comes, when nothing was announced.
    let mut stream = connect(&server, "http");
    let chunked = format!("{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(chunked.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..5 {
        // The server may have answered and closed already.
        let _ = stream.write_all(chunk.as_bytes());
    }
    done(&Answer::read(&mut stream), 413);
    for (kind, body, status) in [
        ("application/x-www-form-urlencoded", "{}", 415),
        ("application/json", "[]", 400),
        ("application/json", "{", 400),
        ("application/json", "{\"pasword\":\"x\"}", 400),
        ("application/json", "{\"password\":\"\"}", 400),
        ("application/json; charset=utf-8", "{\"password\":\"x\"}", 201),
    ] {
        let length = body.len();
        let text = format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = request(&server, "http", &text);
        assert_eq!(answer.status, status, "{kind} {body}: {answer:?}");
    }
}

#[test]
fn paths_and_methods_that_are_not_known() {
    let server = start(|_| {});
    for (method, path, status) in [
        ("GET", "", 404),
        ("GET", "nothing", 404),
        ("GET", "../v2/status", 404),
        ("GET", "users/a/b/c/d/e/f/g/h", 404),
        ("GET", "users/%ff", 400),
        ("POST", "status", 405),
        ("PUT", "users", 405),
        ("PATCH", "users/guest", 405),
        ("GET", "queues/%2F/none/purge", 405),
        ("GET", "queues?limit=0", 400),
        ("GET", "queues/none", 404),
        ("GET", "vhosts/%2F", 200),
    ] {
        let answer = ask(&server, method, path, "");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
    }
}

#[test]
fn users_are_created_changed_and_removed() {
    let server = start(|_| {});
    let created = ask(&server, "PUT", "users/ann", r#"{"password":"s:cret","tags":["management"]}"#);
    done(&created, 201);
    let shown = ask(&server, "GET", "users/ann", "");
    let expected = r#"{"credential":"password","limits":{"max-channels":null,"max-connections":null},"name":"ann","tags":["management"]}"#;
    assert_eq!(shown.body, expected);
    let me = ask_as(&server, "ann:s:cret", "GET", "whoami", "");
    assert_eq!(me.body, r#"{"name":"ann","tags":["management"]}"#);
    // Only administrators manage users; nobody sees a hash.
    for (method, path) in [
        ("GET", "users"),
        ("GET", "users/ann"),
        ("PUT", "users/ann"),
        ("DELETE", "users/guest"),
        ("GET", "permissions"),
        ("PUT", "permissions/%2F/ann"),
        ("PUT", "topic-permissions/%2F/ann"),
        ("PUT", "user-limits/ann"),
        ("PUT", "vhost-limits/%2F"),
    ] {
        let answer = ask_as(&server, "ann:s:cret", method, path, "");
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        assert!(answer.body.contains("administrator"), "{}", answer.body);
    }
    let all = ask(&server, "GET", "users", "");
    assert!(all.body.contains(r#""name":"guest""#) && !all.body.contains("argon2"), "{}", all.body);
    done(&ask(&server, "PUT", "users/ann", r#"{"password":"new"}"#), 204);
    done(&ask_as(&server, "ann:s:cret", "GET", "whoami", ""), 401);
    done(&ask_as(&server, "ann:new", "GET", "whoami", ""), 200);
    done(&ask(&server, "PUT", "users/ann", r#"{"tags":""}"#), 204);
    let refused = ask_as(&server, "ann:new", "GET", "whoami", "");
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("tercet user tags ann management"), "{}", refused.body);
    done(&ask(&server, "DELETE", "users/ann", ""), 204);
    done(&ask_as(&server, "ann:new", "GET", "whoami", ""), 401);
    done(&ask(&server, "DELETE", "users/ann", ""), 404);
    done(&ask(&server, "PUT", "users/a%3Ab", r#"{"password":"x"}"#), 400);
    done(&ask(&server, "PUT", "users/x", r#"{"tags":["a b"]}"#), 400);
}

#[test]
fn permissions_are_checked_when_they_are_set() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "users/ann", r#"{"password":"pw"}"#), 201);
    let path = "permissions/%2F/ann";
    done(&ask(&server, "GET", path, ""), 404);
    done(&ask(&server, "PUT", path, r#"{"configure":"","write":".*","read":"^a"}"#), 204);
    let shown = ask(&server, "GET", path, "");
    let expected = r#"{"configure":"","default":false,"read":"^a","user":"ann","vhost":"/","write":".*"}"#;
    assert_eq!(shown.body, expected);
    for (body, what) in [
        (r#"{"configure":"(","write":"","read":""}"#, "regular expression"),
        (r#"{"configure":"(?!x)","write":"","read":""}"#, "look-around"),
        (r#"{"configure":"","write":""}"#, "'read'"),
        (r#"{"configure":"","write":"","read":7}"#, "'read'"),
        (r#"{"configure":"","write":"","read":"","x":1}"#, "'x'"),
    ] {
        let answer = ask(&server, "PUT", path, body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.body.contains(what), "{body}: {}", answer.body);
    }
    assert_eq!(ask(&server, "GET", path, "").body, expected);
    done(&ask(&server, "PUT", "permissions/none/ann", r#"{"configure":"","write":"","read":""}"#), 404);
    done(&ask(&server, "PUT", "permissions/%2F/bob", r#"{"configure":"","write":"","read":""}"#), 404);
    let topic = r#"{"exchange":"amq.topic","write":"^{username}\\.","read":""}"#;
    done(&ask(&server, "PUT", "topic-permissions/%2F/ann", topic), 204);
    let topics = ask(&server, "GET", "topic-permissions", "");
    assert!(topics.body.contains(r#""write":"^{username}\\.""#), "{}", topics.body);
    done(&ask(&server, "DELETE", "topic-permissions/%2F/ann?exchange=other", ""), 404);
    done(&ask(&server, "DELETE", "topic-permissions/%2F/ann?exchange=amq.topic", ""), 204);
    done(&ask(&server, "DELETE", path, ""), 204);
    done(&ask(&server, "DELETE", path, ""), 404);
}

#[test]
fn limits_are_set_one_by_one_and_taken_away() {
    let server = start(|_| {});
    done(&ask(&server, "PUT", "user-limits/guest", r#"{"max-channels":5}"#), 204);
    done(&ask(&server, "PUT", "user-limits/guest", r#"{"max-connections":0}"#), 204);
    let shown = ask(&server, "GET", "user-limits/guest", "");
    assert_eq!(shown.body, r#"{"max-channels":5,"max-connections":0}"#);
    done(&ask(&server, "PUT", "user-limits/guest", r#"{"max-channels":-1}"#), 204);
    assert_eq!(
        ask(&server, "GET", "user-limits/guest", "").body,
        r#"{"max-channels":null,"max-connections":0}"#
    );
    done(&ask(&server, "PUT", "user-limits/guest", r#"{"max-channels":-2}"#), 400);
    done(&ask(&server, "PUT", "user-limits/nobody", r#"{"max-channels":1}"#), 404);
    done(&ask(&server, "PUT", "vhost-limits/%2F", r#"{"max-queues":7}"#), 204);
    assert!(ask(&server, "GET", "vhosts/%2F", "").body.contains(r#""max-queues":7"#));
    done(&ask(&server, "DELETE", "vhost-limits/%2F", ""), 204);
    assert!(ask(&server, "GET", "vhosts/%2F", "").body.contains(r#""max-queues":null"#));
}

#[test]
fn users_of_the_password_file_are_shown_and_their_passwords_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&["admin", "dev"], directory.path());
    done(&ask(&server, "GET", "whoami", ""), 401);
    let admin = |method, path, body| ask_as(&server, "admin:pw", method, path, body);
    assert_eq!(admin("GET", "whoami", "").body, r#"{"name":"admin","tags":["administrator"]}"#);
    let users = admin("GET", "users", "").body;
    assert!(users.contains(r#""credential":"password-file","#) && users.contains(r#""total":2"#), "{users}");
    let refused = admin("PUT", "users/dev", r#"{"password":"x"}"#);
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("tercet passwd FILE dev"), "{}", refused.body);
    done(&ask_as(&server, "dev:pw", "GET", "whoami", ""), 403);
    done(&admin("PUT", "users/dev", r#"{"tags":"management"}"#), 204);
    done(&ask_as(&server, "dev:pw", "GET", "queues/%2F", ""), 200);
    assert!(admin("GET", "permissions", "").body.contains(r#""default":true"#));
    done(&admin("DELETE", "permissions/%2F/dev", ""), 204);
    let refused = ask_as(&server, "dev:pw", "GET", "queues/%2F", "");
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("access to vhost '/' refused for user 'dev'"), "{}", refused.body);
    assert!(ask_as(&server, "dev:pw", "GET", "queues", "").body.contains(r#""items":[]"#));
}

#[test]
fn an_acl_file_is_no_reason_for_rights_on_every_exchange() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&["admin", "dev"], directory.path());
    let admin = |method, path, body| ask_as(&server, "admin:pw", method, path, body);
    done(&admin("PUT", "queues/%2F/q", "{}"), 201);
    let acl = directory.path().join("acl");
    std::fs::write(&acl, "user dev\ntopic read a/#\n").unwrap();
    let mut config = tercet_server::config::Config::on_free_ports();
    config.auth.password_file = Some(directory.path().join("passwords"));
    config.auth.acl_file = Some(acl);
    server.reload(config).unwrap();
    done(&admin("PUT", "queues/%2F/r", "{}"), 403);
    assert!(admin("GET", "permissions", "").body.contains(r#""items":[]"#));
    let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
    done(&admin("PUT", "permissions/%2F/admin", everything), 204);
    done(&admin("PUT", "queues/%2F/r", "{}"), 201);
}
