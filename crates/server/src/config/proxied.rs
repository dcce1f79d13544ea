//! Whom a CoAP proxy may ask.

use std::net::IpAddr;

use tercet_coap::uri::{Scheme, Uri};

use super::setting::{Fault, Setting, quote};

/// Hosts: a name, `*.domain`, an address, or `*`, for any port or for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedHost {
    /// Which hosts.
    pub host: HostPattern,
    /// Which port of them; `None` for any.
    pub port: Option<u16>,
    text: String,
}

/// Which hosts are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// All.
    Any,
    /// Those whose name ends so.
    Below(String),
    /// This name or address.
    Exact(String),
}

impl Setting for ProxiedHost {
    fn kind() -> String {
        "a host".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            // More colons than one are an address without brackets.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port =
            port.map(str::parse).transpose().map_err(|_| Fault::new("the port is no number up to 65535"))?;
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c == '/') {
            return Err(Fault::new("expected a name, \"*.domain\", an address or \"*\""));
        }
        let host = host.to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            Some("") => HostPattern::Any,
            Some(domain) => HostPattern::Below(domain.to_owned()),
            None => HostPattern::Exact(host.parse::<IpAddr>().map_or(host, |address| address.to_string())),
        };
        Ok(ProxiedHost { host, port, text: text.to_owned() })
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.text))
    }
}

/// A path and the URI that stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedPath {
    /// The segments of the path; at least one.
    pub path: Vec<String>,
    /// What is asked for instead; `coap://`, without a query.
    pub uri: Uri,
    text: String,
}

impl Setting for ProxiedPath {
    fn kind() -> String {
        "a path and a URI".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let (path, uri) =
            text.split_once('=').ok_or_else(|| Fault::new("expected \"path=coap://host/path\""))?;
        let uri: Uri = uri.parse().map_err(|error| Fault::new(format!("the URI: {error}")))?;
        if uri.scheme != Scheme::Coap || !uri.query.is_empty() {
            return Err(Fault::new("only coap:// without a query can be asked"));
        }
        let path: Vec<String> =
            path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
        if path.is_empty() {
            return Err(Fault::new("the path is empty"));
        }
        Ok(ProxiedPath { path, uri, text: text.to_owned() })
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", ":5683", "h:x", "a b", "h/x", "[]:1"] {
            assert!(ProxiedHost::from_text(text).is_err(), "{text}");
        }
        for text in ["x", "=coap://h", "x=http://h", "x=coaps://h", "x=coap://h?q", "x=coap://"] {
            assert!(ProxiedPath::from_text(text).is_err(), "{text}");
        }
        let path = ProxiedPath::from_text("/a/b=coap://h/c").unwrap();
        assert_eq!((path.path.join("/"), path.to_toml()), ("a/b".into(), Some("\"/a/b=coap://h/c\"".into())));
    }
}
