//! What a device has told of itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_coap::link_format::{Attribute, Link};

use super::parameters::Parameters;
use crate::coap::caller::{Caller, Transport};

/// Who may change a registration: who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A user, from wherever.
    User(Arc<str>),
    /// Somebody without a name, from this address.
    Address(IpAddr),
}

impl Owner {
    /// The owner of what this caller registers.
    pub(super) fn of(caller: &Caller) -> Self {
        match caller.identity.name() {
            Some(user) => Owner::User(Arc::clone(user)),
            None => Owner::Address(caller.address.ip()),
        }
    }
}

/// The name of an endpoint, which is unique within its sector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) endpoint: String,
    pub(super) sector: Option<String>,
}

/// A registration.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) name: Name,
    pub(super) owner: Owner,
    pub(super) expires: Instant,
    lifetime: u32,
    base: String,
    /// The base was given, and not taken from the address that the registration came from.
    base_is_given: bool,
    attributes: Vec<(String, Option<String>)>,
    /// The links as they were registered.
    links: Vec<Link<'static>>,
    /// The same with absolute targets and anchors.
    resolved: Vec<Link<'static>>,
}

/// Of a registration that names none (RFC 9176 §5), in seconds.
const DEFAULT_LIFETIME: u32 = 90_000;

impl Registration {
    pub(super) fn new(
        name: Name,
        caller: &Caller,
        parameters: Parameters,
        links: Vec<Link<'static>>,
        now: Instant,
    ) -> Self {
        let mut registration = Registration {
            name,
            owner: Owner::of(caller),
            expires: now,
            lifetime: parameters.lifetime.unwrap_or(DEFAULT_LIFETIME),
            base: String::new(),
            base_is_given: false,
            attributes: Vec::new(),
            links,
            resolved: Vec::new(),
        };
        registration.renew(caller, parameters, now);
        registration
    }

    /// Renews it: what is given replaces what was, and a base that never was given follows the device (RFC 9176 §5.3.1).
    pub(super) fn renew(&mut self, caller: &Caller, parameters: Parameters, now: Instant) {
        self.lifetime = parameters.lifetime.unwrap_or(self.lifetime);
        self.expires = now + Duration::from_secs(self.lifetime.into());
        for (name, value) in parameters.attributes {
            self.attributes.retain(|(old, _)| *old != name);
            self.attributes.push((name, value));
        }
        match parameters.base {
            Some(base) => (self.base, self.base_is_given) = (base, true),
            None if !self.base_is_given => self.base = base_of(caller),
            None => (),
        }
        self.resolved = self.links.iter().map(|link| resolve(link, &self.base)).collect();
    }

    /// The links as a lookup of resources shows them.
    pub(super) fn resolved(&self) -> &[Link<'static>] {
        &self.resolved
    }

    /// The links as they were registered.
    pub(super) fn links(&self) -> &[Link<'static>] {
        &self.links
    }

    /// The link that a lookup of endpoints shows for the registration at `path` (RFC 9176 §6.4).
    pub(super) fn description(&self, path: String) -> Link<'_> {
        let mut link = Link::new(path).with("ep", self.name.endpoint.as_str());
        if let Some(sector) = &self.name.sector {
            link = link.with("d", sector.as_str());
        }
        link = link.with("base", self.base.as_str()).with("lt", self.lifetime.to_string());
        for (name, value) in &self.attributes {
            link.attributes.push(Attribute { name: name.into(), value: value.as_deref().map(Into::into) });
        }
        link.with("rt", "core.rd-ep")
    }
}

/// Where the caller can be asked: the scheme of its transport, its address and port.
fn base_of(caller: &Caller) -> String {
    let (scheme, default) = match caller.transport {
        Transport::Udp => ("coap", 5683),
        Transport::Dtls => ("coaps", 5684),
        Transport::Tcp => ("coap+tcp", 5683),
        Transport::Tls => ("coaps+tcp", 5684),
        Transport::Ws => ("coap+ws", 80),
        Transport::Wss => ("coaps+ws", 443),
    };
    let host = match caller.address.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    match caller.address.port() {
        port if port == default => format!("{scheme}://{host}"),
        port => format!("{scheme}://{host}:{port}"),
    }
}

/// A link whose target and anchor do not depend on where it was found. A context that the target alone would change is
/// made explicit (RFC 9176 Appendix C).
fn resolve(link: &Link<'static>, base: &str) -> Link<'static> {
    let mut resolved = link.clone();
    resolved.target = absolute(&link.target, base).into();
    for attribute in resolved.attributes.iter_mut().filter(|attribute| attribute.name == "anchor") {
        if let Some(anchor) = &mut attribute.value {
            *anchor = absolute(anchor, base).into();
        }
    }
    if link.get("anchor").is_none() && !resolved.target.starts_with(base) {
        resolved = resolved.with("anchor", format!("{base}/"));
    }
    resolved
}

/// A reference as an absolute URI; `base` has no path (RFC 3986 §5.2).
fn absolute(reference: &str, base: &str) -> String {
    let scheme_ends = reference.find([':', '/', '?', '#']);
    match scheme_ends.map(|at| reference.as_bytes()[at]) {
        Some(b':') => reference.to_owned(),
        _ if reference.starts_with("//") => {
            let scheme = base.split("//").next().unwrap_or_default();
            format!("{scheme}{reference}")
        }
        _ if reference.starts_with('/') => format!("{base}{reference}"),
        _ => format!("{base}/{reference}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_against_the_base() {
        let cases = [
            ("/sensors/temp", "coap://h/sensors/temp"),
            ("temp", "coap://h/temp"),
            ("", "coap://h/"),
            ("?x", "coap://h/?x"),
            ("//other/x", "coap://other/x"),
            ("http://example.com/a", "http://example.com/a"),
            ("urn:x:y", "urn:x:y"),
            ("/a:b", "coap://h/a:b"),
        ];
        for (reference, expected) in cases {
            assert_eq!(absolute(reference, "coap://h"), expected, "{reference}");
        }
        let link = Link::new("http://example.com/").with("rel", "describedby");
        assert_eq!(resolve(&link, "coap://h").get("anchor"), Some("coap://h/"));
        let link = Link::new("/x").with("anchor", "/y");
        assert_eq!(resolve(&link, "coap://h").get("anchor"), Some("coap://h/y"));
        assert_eq!(resolve(&Link::new("/x"), "coap://h").get("anchor"), None);
    }
}
