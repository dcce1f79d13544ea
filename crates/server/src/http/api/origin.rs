//! Requests of foreign web pages are refused.
//!
//! A browser sends a user's cached credentials along with requests that any page makes it send. Such requests tell
//! where they come from: nothing but pages of this server itself may use the API, and no answer ever allows more
//! (CVE-2026-67405, CVE-2026-66070).

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

use super::problem::Problem;

/// Refuses what a page of another server sends.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let foreign = || {
        Problem::not_permitted(
            "requests of web pages from other servers are refused",
            "use the API from a program, or from pages that this server delivers",
        )
    };
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if site.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) {
        return Err(foreign());
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(foreign()),
    }
}

/// Whether the request was sent to this machine by a name that nobody else can give it. A page may give its own name our
/// address once it is loaded (DNS rebinding), and its requests count as its own then.
pub(super) fn is_sent_to_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    // An address cannot be a page's name, whichever it is.
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        of.iter().map(pair).collect()
    }

    #[test]
    fn only_pages_of_this_server_may_ask() {
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[], true),
            (&[("host", "a:15672")], true),
            (&[("host", "a:15672"), ("origin", "http://a:15672")], true),
            (&[("host", "a:15672"), ("origin", "http://a")], false),
            (&[("host", "a:15672"), ("origin", "https://evil.example")], false),
            (&[("host", "a:15672"), ("origin", "null")], false),
            (&[("origin", "http://a:15672")], false),
            (&[("host", "a"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "a"), ("sec-fetch-site", "same-origin"), ("origin", "http://a")], true),
        ];
        for (given, expected) in cases {
            assert_eq!(check(&headers(given)).is_ok(), expected, "{given:?}");
        }
    }

    #[test]
    fn names_that_a_page_could_have_are_not_loopback() {
        let cases = [
            ("localhost:15672", true),
            ("LOCALHOST", true),
            ("127.0.0.1:15672", true),
            ("[::1]:15672", true),
            ("evil.example", false),
            ("evil.example:15672", false),
            ("127.0.0.1.evil.example", false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_sent_to_loopback(&headers(&[("host", host)])), expected, "{host}");
        }
    }
}
