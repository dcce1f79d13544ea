//! Where a broker is and what an address says about the connection: `mqtt://user:pw@host:1883?client_id=x`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::Error;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `mqtt://` (also `tcp://`): plain TCP, port 1883.
    Mqtt,
    /// `mqtts://` (also `ssl://`, `tls://`): TLS, port 8883.
    Mqtts,
    /// `ws://`: WebSocket, port 80.
    Ws,
    /// `wss://`: WebSocket over TLS, port 443.
    Wss,
    /// `unix://`: a Unix domain socket.
    Unix,
}

impl Scheme {
    /// The scheme's name as written in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// The port used when the address names none; 0 for a Unix socket.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
            Self::Unix => 0,
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// The same transport with TLS.
    #[must_use]
    pub fn with_tls(self) -> Self {
        match self {
            Self::Mqtt | Self::Mqtts => Self::Mqtts,
            Self::Ws | Self::Wss => Self::Wss,
            Self::Unix => Self::Unix,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "mqtt" | "tcp" => Self::Mqtt,
            "mqtts" | "ssl" | "tls" => Self::Mqtts,
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            "unix" => Self::Unix,
            _ => return None,
        })
    }
}

/// The address of a broker, without credentials: safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host that is reached over IP.
    Host {
        /// The transport; never [`Scheme::Unix`].
        scheme: Scheme,
        /// Name or IP address (IPv6 without brackets).
        host: String,
        /// TCP port.
        port: u16,
        /// Path of the WebSocket handshake, beginning with `/`; unused by other transports.
        path: String,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// The transport of this address.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Host { scheme, .. } => *scheme,
            Self::Unix(_) => Scheme::Unix,
        }
    }

    /// The host, if it is reached over IP.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Host { scheme, host, port, path } => {
                let path = if matches!(scheme, Scheme::Ws | Scheme::Wss) { path.as_str() } else { "" };
                if host.contains(':') {
                    write!(f, "{}://[{host}]:{port}{path}", scheme.name())
                } else {
                    write!(f, "{}://{host}:{port}{path}", scheme.name())
                }
            }
        }
    }
}

/// A whole address: where to connect, as whom, and the settings that its query carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// User name, percent-decoded.
    pub username: Option<String>,
    /// Password, percent-decoded.
    pub password: Option<String>,
    /// The path without its leading `/`, percent-decoded. Command line tools take it as the topic; a WebSocket
    /// address has its path in the endpoint and an empty one here.
    pub path: String,
    /// The pairs of the query, in order, decoded.
    pub query: Vec<(String, String)>,
}

impl FromStr for Address {
    type Err = Error;

    /// Parses an address; one without a scheme is taken as `mqtt://`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::Url { url: without_credentials(text), reason: why };
        let whole = if text.contains("://") { text.to_owned() } else { format!("mqtt://{text}") };
        let url = Url::parse(&whole).map_err(|error| invalid(error.to_string()))?;
        let scheme = Scheme::parse(url.scheme()).ok_or_else(|| {
            invalid(format!("unknown scheme \"{}\"; use mqtt, mqtts, ws, wss or unix", url.scheme()))
        })?;
        let query = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let username = (!url.username().is_empty()).then(|| percent_decode(url.username()));
        let password = url.password().map(percent_decode);
        if scheme == Scheme::Unix {
            // `unix:///run/broker.sock`, and `unix://name.sock` for one in the working directory.
            let path = format!("{}{}", url.host_str().unwrap_or(""), percent_decode(url.path()));
            if path.is_empty() || path == "/" {
                return Err(invalid("the path of the socket is missing".into()));
            }
            let endpoint = Endpoint::Unix(PathBuf::from(path));
            return Ok(Self { endpoint, username, password, path: String::new(), query });
        }
        let host = url.host_str().unwrap_or("").trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(invalid("the host is missing".into()));
        }
        let port = url.port_or_known_default().unwrap_or_else(|| scheme.default_port());
        let websocket = matches!(scheme, Scheme::Ws | Scheme::Wss);
        let (request_path, path) = if websocket {
            (if matches!(url.path(), "" | "/") { "/mqtt" } else { url.path() }.to_owned(), String::new())
        } else {
            (String::new(), percent_decode(url.path().trim_start_matches('/')))
        };
        let endpoint = Endpoint::Host { scheme, host: percent_decode(&host), port, path: request_path };
        Ok(Self { endpoint, username, password, path, query })
    }
}

/// The address for error messages: what stands before the last `@` of the authority may be a password.
fn without_credentials(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (head, rest) = text.split_at(start);
    let authority = rest.find(['/', '?']).unwrap_or(rest.len());
    let kept = rest.get(..authority).and_then(|part| part.rfind('@')).map_or(0, |at| at + 1);
    format!("{head}{}", rest.get(kept..).unwrap_or(""))
}

/// Decodes `%41`; what is no valid escape stays as it is, and bytes that are not UTF-8 become U+FFFD.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| tail.get(..2).and_then(hex_byte)).flatten();
        rest = match escape {
            Some(byte) => {
                bytes.push(byte);
                tail.get(2..).unwrap_or(&[])
            }
            None => {
                bytes.push(first);
                tail
            }
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_transport_host_and_port() {
        for (text, want) in [
            ("mqtt://h", "mqtt://h:1883"),
            ("h", "mqtt://h:1883"),
            ("10.0.0.7:1884", "mqtt://10.0.0.7:1884"),
            ("mqtts://h", "mqtts://h:8883"),
            ("ssl://h:1", "mqtts://h:1"),
            ("tcp://h", "mqtt://h:1883"),
            ("ws://h", "ws://h:80/mqtt"),
            ("ws://h:9001/", "ws://h:9001/mqtt"),
            ("wss://h/a/b", "wss://h:443/a/b"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("unix:///run/broker.sock", "unix:///run/broker.sock"),
            ("unix://broker.sock", "unix://broker.sock"),
            ("mqtt://user:secret@h:99/some/topic", "mqtt://h:99"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().endpoint.to_string(), want, "{text}");
        }
    }

    #[test]
    fn credentials_path_and_query_are_decoded() {
        let address: Address = "mqtt://us%40er:p%3Aw%zz@h/a/b%23?client_id=x%20y&v=5".parse().unwrap();
        assert_eq!(address.username.as_deref(), Some("us@er"));
        assert_eq!(address.password.as_deref(), Some("p:w%zz"));
        assert_eq!(address.path, "a/b#");
        assert_eq!(address.query, [("client_id".into(), "x y".into()), ("v".into(), "5".into())]);
    }

    #[test]
    fn bad_addresses_are_explained_without_the_password() {
        for (text, part) in [
            ("http://h", "unknown scheme"),
            ("mqtt://u:secret@h:99999", "invalid port"),
            ("unix://", "path"),
            ("mqtt://", "host"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
