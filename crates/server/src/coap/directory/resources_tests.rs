//! The directory by requests and answers, as RFC 9176 has them.

use std::time::Duration;

use tercet_coap::OptionBuf;

use super::*;
use crate::auth::{Identity, Proof};
use crate::coap::caller::{Caller, Transport};

fn caller(address: &str, user: Option<&str>) -> Caller {
    Caller {
        address: address.parse().unwrap(),
        is_local: true,
        transport: Transport::Udp,
        identity: user.map_or_else(Identity::anonymous, |user| Identity::user(user.into(), Proof::Password)),
        client_id: "".into(),
        admitted: true,
    }
}

/// A directory, and the time there.
struct Rig {
    directory: Directory,
    now: Instant,
    caller: Caller,
}

impl Rig {
    fn new() -> Self {
        let caller = caller("[2001:db8::1]:61616", None);
        Rig { directory: Directory::default(), now: Instant::now(), caller }
    }

    fn ask(&self, code: Code, uri: &str, payload: &str) -> Response {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut options = OptionBuf::new();
        for argument in query.split('&').filter(|argument| !argument.is_empty()) {
            options.add(Number::URI_QUERY, argument.as_bytes());
        }
        let path: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        assert!(is_for(&path), "{uri}");
        let options = options.as_options();
        let payload = payload.as_bytes();
        let request =
            Request { code, options, payload, caller: &self.caller, confirmable: true, observe: None };
        serve(&self.directory, &path, &request, self.now)
    }

    fn text(&self, uri: &str) -> String {
        let response = self.ask(Code::GET, uri, "");
        assert_eq!(response.code, Code::CONTENT, "{uri}");
        String::from_utf8(response.body.as_bytes().to_vec()).unwrap()
    }

    /// Registers, and tells the place.
    fn register(&self, query: &str, links: &str) -> String {
        let response = self.ask(Code::POST, &format!("rd?{query}"), links);
        assert_eq!(response.code, Code::CREATED, "{response:?}");
        response.location.join("/")
    }
}

const LINKS: &str = "</sensors/temp>;rt=temperature-c;if=sensor,<http://www.example.com/t>;anchor=\"/sensors/temp\";rel=\"describedby\"";

#[test]
fn what_is_registered_is_found() {
    let rig = Rig::new();
    let place = rig.register("ep=node1&et=sensor", LINKS);
    let resources = "<coap://[2001:db8::1]:61616/sensors/temp>;rt=\"temperature-c\";if=\"sensor\",\
        <http://www.example.com/t>;anchor=\"coap://[2001:db8::1]:61616/sensors/temp\";rel=\"describedby\"";
    assert_eq!(rig.text("rd-lookup/res"), resources);
    let endpoint = format!(
        "</{place}>;ep=\"node1\";base=\"coap://[2001:db8::1]:61616\";lt=90000;et=\"sensor\";rt=\"core.rd-ep\""
    );
    assert_eq!(rig.text("rd-lookup/ep"), endpoint);
    let all = resources.split(",<").next().unwrap();
    for (query, expected) in [
        ("res?rt=temperature-c", all),
        ("res?rt=temp*", all),
        ("res?ep=node1&if=sensor", all),
        ("res?href=coap://[2001:db8::1]:61616/sensors/*", all),
        ("res?et=sensor", resources),
        ("res?rt=light", ""),
        ("res?ep=node2", ""),
        ("res?count=1", all),
        ("res?count=1&page=2", ""),
        ("ep?rt=temperature-c", endpoint.as_str()),
        ("ep?rt=temperature-c&ep=node1", endpoint.as_str()),
        ("ep?ep=node2", ""),
        ("ep?d=hall", ""),
    ] {
        assert_eq!(rig.text(&format!("rd-lookup/{query}")), expected, "{query}");
    }
    assert!(rig.text(&place).starts_with("</sensors/temp>"));
}

#[test]
fn a_name_is_registered_once_in_a_sector() {
    let rig = Rig::new();
    let place = rig.register("ep=n", "</a>");
    assert_eq!(rig.register("ep=n&base=coap://h", "</b>"), place);
    assert_ne!(rig.register("ep=n&d=hall", "</c>"), place);
    assert_eq!(rig.text("rd-lookup/res"), "<coap://h/b>,<coap://[2001:db8::1]:61616/c>");
    assert_eq!(rig.text("rd-lookup/res?d=hall"), "<coap://[2001:db8::1]:61616/c>");
}

#[test]
fn a_registration_ends_with_its_lifetime_unless_renewed_or_removed() {
    let mut rig = Rig::new();
    let place = rig.register("ep=n&lt=60", "</a>");
    rig.now += Duration::from_secs(59);
    assert_eq!(rig.ask(Code::POST, &place, "").code, Code::CHANGED);
    rig.now += Duration::from_secs(59);
    assert_eq!(rig.ask(Code::POST, &format!("{place}?lt=10&base=coap://moved&et=x"), "").code, Code::CHANGED);
    assert_eq!(rig.text("rd-lookup/res?et=x"), "<coap://moved/a>");
    rig.now += Duration::from_secs(10);
    assert_eq!(rig.text("rd-lookup/ep"), "");
    for code in [Code::GET, Code::POST, Code::DELETE] {
        assert_eq!(rig.ask(code, &place, "").code, Code::NOT_FOUND, "{code}");
    }
    let place = rig.register("ep=n", "</a>");
    assert_eq!(rig.ask(Code::DELETE, &place, "").code, Code::DELETED);
    assert_eq!(rig.ask(Code::DELETE, &place, "").code, Code::NOT_FOUND);
}

#[test]
fn a_base_that_was_not_given_follows_the_device() {
    let mut rig = Rig::new();
    let place = rig.register("ep=n", "</a>");
    rig.caller = caller("[2001:db8::1]:5683", None);
    assert_eq!(rig.ask(Code::POST, &place, "").code, Code::CHANGED);
    assert_eq!(rig.text("rd-lookup/res"), "<coap://[2001:db8::1]/a>");
}

#[test]
fn only_who_registered_may_change_it() {
    let mut rig = Rig::new();
    let anonymous = rig.register("ep=n", "</a>");
    rig.caller = caller("[2001:db8::1]:61616", Some("alice"));
    let of_alice = rig.register("", "</b>");
    assert!(rig.text("rd-lookup/ep").contains("ep=\"alice\""));
    rig.caller = caller("192.0.2.1:1", Some("bob"));
    for place in [anonymous.as_str(), of_alice.as_str()] {
        assert_eq!(rig.ask(Code::POST, place, "").code, Code::FORBIDDEN);
        assert_eq!(rig.ask(Code::DELETE, place, "").code, Code::FORBIDDEN);
    }
    assert_eq!(rig.ask(Code::POST, "rd?ep=n", "</x>").code, Code::FORBIDDEN);
    rig.caller = caller("192.0.2.1:1", Some("alice"));
    assert_eq!(rig.ask(Code::DELETE, &of_alice, "").code, Code::DELETED);
}

#[test]
fn nonsense_is_refused_and_memory_bounded() {
    let rig = Rig::new();
    for (code, uri, payload, expected) in [
        (Code::POST, "rd", "</a>", Code::BAD_REQUEST),
        (Code::POST, "rd?ep=n&lt=0", "</a>", Code::BAD_REQUEST),
        (Code::POST, "rd?ep=n", "</a", Code::BAD_REQUEST),
        (Code::GET, "rd", "", Code::METHOD_NOT_ALLOWED),
        (Code::PUT, "rd/1", "", Code::METHOD_NOT_ALLOWED),
        (Code::POST, "rd/x", "", Code::NOT_FOUND),
        (Code::POST, "rd-lookup/res", "", Code::METHOD_NOT_ALLOWED),
        (Code::GET, "rd-lookup/res?page=1", "", Code::BAD_REQUEST),
        (Code::GET, "rd-lookup/ep?count=x", "", Code::BAD_REQUEST),
    ] {
        assert_eq!(rig.ask(code, uri, payload).code, expected, "{code} {uri}");
    }
    let many = vec!["</a>"; 257].join(",");
    assert_eq!(rig.ask(Code::POST, "rd?ep=n", &many).code, Code::REQUEST_ENTITY_TOO_LARGE);
    let most = vec!["</a>"; 256].join(",");
    for at in 0..128 {
        rig.register(&format!("ep=n{at}"), &most);
    }
    let full = rig.ask(Code::POST, "rd?ep=more", "</a>");
    assert_eq!((full.code, full.max_age), (Code::SERVICE_UNAVAILABLE, Some(60)));
    rig.register("ep=n7", "</a>");
    rig.register("ep=more", "</a>");
}

#[test]
fn only_links_are_taken_and_given() {
    let rig = Rig::new();
    let ask = |number, code, path: &[&[u8]]| {
        let mut options = OptionBuf::new();
        options.add(Number::URI_QUERY, b"ep=n");
        options.add_uint(number, 50);
        let options = options.as_options();
        let request =
            Request { code, options, payload: b"", caller: &rig.caller, confirmable: true, observe: None };
        serve(&rig.directory, path, &request, rig.now).code
    };
    assert_eq!(ask(Number::CONTENT_FORMAT, Code::POST, &[b"rd"]), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(ask(Number::ACCEPT, Code::GET, &[b"rd-lookup", b"ep"]), Code::NOT_ACCEPTABLE);
}
