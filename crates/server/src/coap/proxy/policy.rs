//! Whom a proxy may ask.

use std::net::IpAddr;

use tercet_coap::uri::{Host, Uri};

use crate::config::{HostPattern, ProxiedHost, ProxiedPath};

/// Hosts that may be asked, and paths that other servers answer.
#[derive(Debug)]
pub(super) struct Policy {
    hosts: Vec<ProxiedHost>,
    paths: Vec<ProxiedPath>,
}

/// How a host came to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It is named: it may be anywhere.
    Named,
    /// A `*` covers it: it may not turn out to be this machine or a group.
    ByPattern,
}

impl Allowed {
    /// Whether the host may have this address.
    pub(super) fn covers(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        let is_group = address.is_multicast() || address.is_unspecified() || is_broadcast;
        !is_group && (self == Allowed::Named || !address.is_loopback())
    }
}

impl Policy {
    pub(super) fn new(hosts: &[ProxiedHost], paths: &[ProxiedPath]) -> Self {
        Policy { hosts: hosts.to_vec(), paths: paths.to_vec() }
    }

    pub(super) fn forwards(&self) -> bool {
        !self.hosts.is_empty()
    }

    pub(super) fn is_on(&self) -> bool {
        self.forwards() || !self.paths.is_empty()
    }

    /// Whether the server of a URI may be asked.
    pub(super) fn allows(&self, uri: &Uri) -> Option<Allowed> {
        let host = match &uri.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
            // What a zone means here, only this machine knows.
            Host::Zoned(..) => return None,
        };
        let mut fitting = self.hosts.iter().filter(|pattern| fits(pattern, &host, uri.port())).peekable();
        fitting.peek()?;
        let is_named = fitting.any(|pattern| matches!(pattern.host, HostPattern::Exact(_)));
        Some(if is_named { Allowed::Named } else { Allowed::ByPattern })
    }

    /// The URI that stands for a path, if any does: the longest mapping decides.
    pub(super) fn mapped(&self, path: &[&[u8]]) -> Option<Uri> {
        let begins = |mapping: &&ProxiedPath| {
            let own = path.iter().take(mapping.path.len()).copied();
            own.eq(mapping.path.iter().map(String::as_bytes))
        };
        let mapping = self.paths.iter().filter(begins).max_by_key(|mapping| mapping.path.len())?;
        let mut uri = mapping.uri.clone();
        for segment in path.get(mapping.path.len()..)? {
            uri.path.push(String::from_utf8(segment.to_vec()).ok()?);
        }
        Some(uri)
    }
}

fn fits(pattern: &ProxiedHost, host: &str, port: u16) -> bool {
    let fits = match &pattern.host {
        HostPattern::Any => true,
        HostPattern::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
        HostPattern::Exact(name) => host == name,
    };
    fits && pattern.port.is_none_or(|wanted| wanted == port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting;

    fn policy(hosts: &[&str], paths: &[&str]) -> Policy {
        let hosts: Vec<_> = hosts.iter().map(|text| ProxiedHost::from_text(text).unwrap()).collect();
        let paths: Vec<_> = paths.iter().map(|text| ProxiedPath::from_text(text).unwrap()).collect();
        Policy::new(&hosts, &paths)
    }

    #[test]
    fn hosts_are_allowed_by_name_domain_address_and_port() {
        let hosts = ["h.example", "*.lan:5683", "192.0.2.1:61616", "2001:db8::1", "[2001:db8::2]:5684"];
        let policy = policy(&hosts, &[]);
        for (uri, expected) in [
            ("coap://h.example/x", Some(Allowed::Named)),
            ("coap://H.EXAMPLE:99/x", Some(Allowed::Named)),
            ("coap://a.lan/x", Some(Allowed::ByPattern)),
            ("coap://.lan/x", None),
            ("coap://a.lan:1/x", None),
            ("coap://evil-h.example/x", None),
            ("coap://192.0.2.1:61616/x", Some(Allowed::Named)),
            ("coap://192.0.2.1/x", None),
            ("coap://[2001:db8:0:0::1]/x", Some(Allowed::Named)),
            ("coap://[2001:db8::2]:5684/x", Some(Allowed::Named)),
            ("coap://[2001:db8::2]/x", None),
        ] {
            assert_eq!(policy.allows(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn a_pattern_does_not_lead_to_this_machine_or_a_group() {
        for (address, named, by_pattern) in [
            ("192.0.2.1", true, true),
            ("127.0.0.1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("::1", true, false),
            ("224.0.1.187", false, false),
            ("255.255.255.255", false, false),
            ("::", false, false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Allowed::Named.covers(address), named, "{address}");
            assert_eq!(Allowed::ByPattern.covers(address), by_pattern, "{address}");
        }
    }

    #[test]
    fn the_longest_path_decides() {
        let policy = policy(&[], &["lights=coap://h/l", "/lights/hall=coap://hall:61616"]);
        assert!(policy.is_on() && !policy.forwards());
        let mapped = |path: &str| {
            policy.mapped(&path.split('/').map(str::as_bytes).collect::<Vec<_>>()).map(|uri| uri.to_string())
        };
        assert_eq!(mapped("lights/1").as_deref(), Some("coap://h/l/1"));
        assert_eq!(mapped("lights/hall/a").as_deref(), Some("coap://hall:61616/a"));
        assert_eq!(mapped("light"), None);
    }
}
