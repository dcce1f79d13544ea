//! Where a peer is: the parts of a URI before its path.

use std::fmt;
use std::net::IpAddr;

use tercet_coap::uri::{Host, Scheme, Uri, parse_path_and_query};
use tercet_coap::{Number, OptionBuf};

use super::error::{Error, Result};

/// A peer's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Address {
    /// Understands a URI, whose path and query do not matter; one without a scheme is taken as `coap://`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("coap://{text}") };
        let uri: Uri = whole.parse().map_err(|error: tercet_coap::uri::UriError| Error::Url {
            url: text.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { scheme: uri.scheme, port: uri.port(), host: uri.host })
    }

    /// The host as name lookup and certificates know it.
    pub(super) fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Zoned(address, zone) => format!("{address}%{zone}"),
            Host::Name(name) => name.clone(),
        }
    }

    /// The name to say in Uri-Host; an address that is a number is known to the server (RFC 7252 §6.4).
    pub(super) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The address, if it is that of a group.
    pub(super) fn multicast(&self) -> Option<IpAddr> {
        match self.host {
            Host::Address(address) if address.is_multicast() => Some(address),
            Host::Zoned(address, _) if address.is_multicast() => Some(address.into()),
            _ => None,
        }
    }

    /// Host and port as the Host header of HTTP has them.
    pub(super) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether the transport carries datagrams.
    pub(super) fn is_datagram(&self) -> bool {
        matches!(self.scheme, Scheme::Coap | Scheme::Coaps)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// Adds the options that a path and a query mean.
pub(super) fn add_path(text: &str, options: &mut OptionBuf) -> Result<()> {
    let (path, query) =
        parse_path_and_query(text).map_err(|error| Error::Invalid(format!("path \"{text}\": {error}")))?;
    path.iter().for_each(|segment| _ = options.add(Number::URI_PATH, segment.as_bytes()));
    query.iter().for_each(|part| _ = options.add(Number::URI_QUERY, part.as_bytes()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_transport_host_and_port() {
        for (text, shown, host, authority) in [
            ("coap://H/a?b", "coap://h:5683", "h", "h"),
            ("h", "coap://h:5683", "h", "h"),
            ("10.0.0.7:99", "coap://10.0.0.7:99", "10.0.0.7", "10.0.0.7:99"),
            ("coaps+tcp://[::1]", "coaps+tcp://[::1]:5684", "::1", "[::1]"),
            ("coap+ws://h:8080/x", "coap+ws://h:8080", "h", "h:8080"),
            ("coap://[fe80::1%25eth0]", "coap://[fe80::1%25eth0]:5683", "fe80::1%eth0", "[fe80::1%25eth0]"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!((address.host(), address.authority()), (host.into(), authority.into()), "{text}");
        }
        for (text, part) in [("http://h", "scheme"), ("coap://h:99999", "port"), ("coap://", "host")] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
