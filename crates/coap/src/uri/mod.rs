//! URIs of CoAP: into options and back (RFC 7252 §6, RFC 8323 §8).

mod parse;
mod percent;
mod write;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use crate::option::{Number, OptionBuf, Options};

pub use parse::{PathAndQuery, parse_path_and_query};

/// A scheme of CoAP: the transport, and whether it is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// UDP.
    Coap,
    /// DTLS.
    Coaps,
    /// TCP.
    CoapTcp,
    /// TLS.
    CoapsTcp,
    /// WebSocket.
    CoapWs,
    /// WebSocket over TLS.
    CoapsWs,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Coap, Self::Coaps, Self::CoapTcp, Self::CoapsTcp, Self::CoapWs, Self::CoapsWs];

    /// The scheme of this name; case does not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coap => "coap",
            Self::Coaps => "coaps",
            Self::CoapTcp => "coap+tcp",
            Self::CoapsTcp => "coaps+tcp",
            Self::CoapWs => "coap+ws",
            Self::CoapsWs => "coaps+ws",
        }
    }

    /// The port when the URI names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Coap | Self::CoapTcp => 5683,
            Self::Coaps | Self::CoapsTcp => 5684,
            Self::CoapWs => 80,
            Self::CoapsWs => 443,
        }
    }

    /// The transport is encrypted.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Coaps | Self::CoapsTcp | Self::CoapsWs)
    }
}

/// The host of a URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// An address that means something in one zone only, mostly the name of an interface (RFC 6874).
    Zoned(Ipv6Addr, String),
    /// A name, in lower case and without percent-encoding.
    Name(String),
}

/// An absolute URI of CoAP, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port, unless it is the default one of the scheme.
    pub port: Option<u16>,
    /// The segments of the path, decoded: none for `/`, and an empty one at the end for `/a/`.
    pub path: Vec<String>,
    /// The arguments of the query, decoded.
    pub query: Vec<String>,
}

/// Why a text or a set of options is no URI of CoAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// No scheme, or not one of CoAP.
    #[error("the scheme is not one of CoAP")]
    Scheme,
    /// There is a fragment, which cannot be asked for (RFC 7252 §6.4).
    #[error("a URI of CoAP has no fragment")]
    Fragment,
    /// There is user information, which CoAP has no place for.
    #[error("a URI of CoAP has no user information")]
    UserInformation,
    /// The host is missing, too long, or not well-formed.
    #[error("the host is not valid")]
    Host,
    /// The port is no number up to 65,535.
    #[error("the port is not valid")]
    Port,
    /// A `%` without two hexadecimal digits, or the bytes are not UTF-8.
    #[error("percent-encoding is not valid")]
    Encoding,
    /// A segment or an argument has more than 255 bytes.
    #[error("a part of the URI is longer than 255 bytes")]
    TooLong,
    /// A character that a URI cannot have.
    #[error("a character that a URI cannot have")]
    Character,
    /// A segment is `.` or `..`, which no URI can say (RFC 7252 §5.10.1).
    #[error("a segment of dots")]
    DotSegment,
}

impl Uri {
    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Adds the options of a request that is sent to the host and port of this URI itself (RFC 7252 §6.4): Uri-Host if
    /// the host is a name, Uri-Path and Uri-Query.
    pub fn add_to(&self, options: &mut OptionBuf) {
        if let Host::Name(name) = &self.host {
            options.add(Number::URI_HOST, name.as_bytes());
        }
        for segment in &self.path {
            options.add(Number::URI_PATH, segment.as_bytes());
        }
        for argument in &self.query {
            options.add(Number::URI_QUERY, argument.as_bytes());
        }
    }

    /// The URI that a request is for: from its options, and from where it was sent to for what they leave out
    /// (RFC 7252 §6.5).
    pub fn from_options(
        scheme: Scheme,
        destination: (IpAddr, u16),
        options: Options<'_>,
    ) -> Result<Self, UriError> {
        let host = match options.get(Number::URI_HOST) {
            Some(host) => parse::host(core::str::from_utf8(host).map_err(|_| UriError::Encoding)?)?,
            None => Host::Address(destination.0),
        };
        let port = options
            .uint(Number::URI_PORT)
            .map_or(Ok(destination.1), |port| u16::try_from(port).map_err(|_| UriError::Port))?;
        let texts = |number| {
            options
                .all(number)
                .map(|value| core::str::from_utf8(value).map(String::from).map_err(|_| UriError::Encoding))
                .collect::<Result<Vec<_>, _>>()
        };
        let path = texts(Number::URI_PATH)?;
        if path.iter().any(|segment| segment == "." || segment == "..") {
            return Err(UriError::DotSegment);
        }
        let port = (port != scheme.default_port()).then_some(port);
        Ok(Self { scheme, host, port, path, query: texts(Number::URI_QUERY)? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn options(uri: &str) -> Vec<(u16, String)> {
        let mut options = OptionBuf::new();
        uri.parse::<Uri>().expect("valid").add_to(&mut options);
        let text = |value: &[u8]| core::str::from_utf8(value).expect("UTF-8").to_string();
        options.as_options().iter().map(|(number, value)| (number.0, text(value))).collect()
    }

    #[test]
    fn into_options() {
        // RFC 7252 §6.4 and Appendix B.
        let cases: &[(&str, &[(u16, &str)])] = &[
            ("coap://example.net", &[(3, "example.net")]),
            ("coap://example.net/", &[(3, "example.net")]),
            ("coap://example.net/.well-known/core", &[(3, "example.net"), (11, ".well-known"), (11, "core")]),
            (
                "coap://xn--18j4d.example/%E3%81%93%E3%82%93",
                &[(3, "xn--18j4d.example"), (11, "\u{3053}\u{3093}")],
            ),
            (
                "coap://198.51.100.1:61616//%2F//?%2F%2F&?%26",
                &[(11, ""), (11, "/"), (11, ""), (11, ""), (15, "//"), (15, "?&")],
            ),
            ("coap://[2001:db8::1]/a/", &[(11, "a"), (11, "")]),
            ("coap://h/a/./b/../c", &[(3, "h"), (11, "a"), (11, "c")]),
            ("coap://h/a/%2E%2e/", &[(3, "h"), (11, "")]),
            ("coap://h?a=1&b", &[(3, "h"), (15, "a=1"), (15, "b")]),
            ("coap://h/?", &[(3, "h"), (15, "")]),
        ];
        for &(uri, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|&(n, text)| (n, text.to_string())).collect();
            assert_eq!(options(uri), expected, "{uri}");
        }
    }

    #[test]
    fn parts() {
        let uri: Uri = "CoAPs+TCP://EXAMPLE.com:5684/x".parse().expect("valid");
        assert_eq!((uri.scheme, uri.port, uri.port()), (Scheme::CoapsTcp, None, 5684));
        assert_eq!(uri.host, Host::Name("example.com".into()));
        let uri: Uri = "coap://[fe80::1%25eth0]:1".parse().expect("valid");
        assert_eq!(uri.host, Host::Zoned("fe80::1".parse().expect("an address"), "eth0".into()));
        assert_eq!(uri.port, Some(1));
        assert_eq!("coap+ws://h".parse::<Uri>().expect("valid").port(), 80);
    }

    #[test]
    fn what_is_not_valid() {
        let long = alloc::format!("coap://h/{}", "x".repeat(256));
        let host = alloc::format!("coap://{}/", "h".repeat(256));
        let cases = [
            ("http://h/", UriError::Scheme),
            ("/a", UriError::Scheme),
            ("coap:h", UriError::Scheme),
            ("coap://", UriError::Host),
            ("coap:///a", UriError::Host),
            ("coap://[::1/", UriError::Host),
            ("coap://[::1]x/", UriError::Host),
            ("coap://[1.2.3.4]/", UriError::Host),
            (&host, UriError::Host),
            ("coap://h:65536/", UriError::Port),
            ("coap://h:+1/", UriError::Port),
            ("coap://h/#f", UriError::Fragment),
            ("coap://u@h/", UriError::UserInformation),
            ("coap://h/%", UriError::Encoding),
            ("coap://h/%4", UriError::Encoding),
            ("coap://h/%GG", UriError::Encoding),
            ("coap://h/%FF", UriError::Encoding),
            ("coap://h/?%A", UriError::Encoding),
            ("coap://h/a b", UriError::Character),
            ("coap://h/a\0", UriError::Character),
            (&long, UriError::TooLong),
        ];
        for (uri, error) in cases {
            assert_eq!(uri.parse::<Uri>(), Err(error), "{uri}");
        }
    }

    #[test]
    fn back_from_options() {
        let destination = ("192.0.2.1".parse().expect("an address"), 5683);
        let compose =
            |options: &OptionBuf| Uri::from_options(Scheme::Coap, destination, options.as_options());
        let mut options = OptionBuf::new();
        assert_eq!(compose(&options).expect("valid").to_string(), "coap://192.0.2.1/");
        options
            .add(Number::URI_PATH, b"a/b")
            .add(Number::URI_PATH, "ü".as_bytes())
            .add(Number::URI_QUERY, b"x=&");
        options.add_uint(Number::URI_PORT, 61616);
        assert_eq!(
            compose(&options).expect("valid").to_string(),
            "coap://192.0.2.1:61616/a%2Fb/%C3%BC?x=%26"
        );
        options.set(Number::URI_HOST, b"2001:db8::1");
        assert_eq!(compose(&options).map(|uri| uri.host), Err(UriError::Host));
        options.set(Number::URI_HOST, b"[2001:db8::1]");
        assert_eq!(
            compose(&options).expect("valid").to_string(),
            "coap://[2001:db8::1]:61616/a%2Fb/%C3%BC?x=%26"
        );
        options.add(Number::URI_PATH, b"..");
        assert_eq!(compose(&options), Err(UriError::DotSegment));
    }

    #[test]
    fn writing_and_reading_again() {
        for text in
            ["coap://h/", "coaps://h:1/a//b/?x&y=%26%3D", "coap://[fe80::1%25eth0]/", "coap+tcp://1.2.3.4/"]
        {
            let uri: Uri = text.parse().expect("valid");
            assert_eq!(uri.to_string().parse(), Ok(uri), "{text}");
        }
        assert_eq!(parse_path_and_query("/a/b?c"), Ok((vec!["a".into(), "b".into()], vec!["c".into()])));
        assert_eq!(parse_path_and_query("a"), Ok((vec!["a".into()], vec![])));
    }
}
