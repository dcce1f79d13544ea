//! The server's side of the opening handshake (RFC 6455 §4.2), on a request that an HTTP server has parsed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: &str = "13";

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// What an endpoint asks of an upgrade request.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Subprotocols spoken, the preferred one first.
    pub subprotocols: Vec<String>,
    /// Refuse a client that offers no subprotocol at all. One that offers only others is refused in any case.
    pub require_subprotocol: bool,
    /// Which web pages may connect.
    pub origins: OriginPolicy,
}

impl ServerOptions {
    /// MQTT: `mqtt`, and `mqttv3.1` for old clients. A client must offer one of them ([MQTT-6.0.0-3]), as EMQX
    /// asks by default too.
    #[must_use]
    pub fn mqtt() -> Self {
        Self {
            subprotocols: vec!["mqtt".to_owned(), "mqttv3.1".to_owned()],
            require_subprotocol: true,
            origins: OriginPolicy::default(),
        }
    }
}

/// Which web pages may connect. A browser names the page's origin and lets any page connect anywhere, with the
/// user's cookies and network position, so the server has to choose (RFC 6455 §10.2). Requests without an `Origin`
/// do not come from web pages and pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages from the host that the request is addressed to, on any port.
    #[default]
    SameHost,
    /// Pages from these origins (such as `https://app.example.com`) and from the same host.
    Listed(Vec<String>),
    /// Any page.
    Any,
}

impl OriginPolicy {
    /// Whether a page of `origin` may connect to `host` (the `Host` header).
    #[must_use]
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let same_host = || {
            let page = origin.split_once("://").map(|(_, authority)| host_name(authority));
            page.zip(host.map(host_name)).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
        };
        match self {
            Self::Any => true,
            Self::SameHost => same_host(),
            Self::Listed(origins) => {
                origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) || same_host()
            }
        }
    }
}

/// The authority without its port: `[::1]:80` gives `[::1]`.
fn host_name(authority: &str) -> &str {
    match authority.find(']') {
        Some(end) => authority.get(..=end).unwrap_or(authority),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// An upgrade request that is granted. Answer 101 with [`Accepted::headers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Value for `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// The subprotocol chosen, if the client offered any.
    pub subprotocol: Option<String>,
}

impl Accepted {
    /// The headers of the 101 response.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", self.accept_key.as_str()),
        ]
        .into_iter()
        .chain(self.subprotocol.as_deref().map(|chosen| ("Sec-WebSocket-Protocol", chosen)))
    }
}

/// Why an upgrade request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a GET request.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// An ordinary request: no `Upgrade: websocket` or no `Connection: Upgrade`.
    #[error("this is a WebSocket endpoint: send Upgrade: websocket and Connection: Upgrade")]
    NotAnUpgrade,
    /// A version other than 13.
    #[error("only WebSocket version 13 is spoken")]
    Version,
    /// No key, several, or one that is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64, once")]
    Key,
    /// The client offered none of our subprotocols.
    #[error("no subprotocol in common: offer Sec-WebSocket-Protocol: mqtt")]
    Subprotocol,
    /// A web page of this origin may not connect.
    #[error("this origin may not connect")]
    Origin,
}

impl Refusal {
    /// The HTTP status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::NotAnUpgrade | Self::Version => 426,
            Self::Key | Self::Subprotocol => 400,
            Self::Origin => 403,
        }
    }

    /// The header that tells the client what to do instead.
    #[must_use]
    pub fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Method => Some(("Allow", "GET")),
            Self::NotAnUpgrade => Some(("Upgrade", "websocket")),
            Self::Version => Some(("Sec-WebSocket-Version", VERSION)),
            Self::Key | Self::Subprotocol | Self::Origin => None,
        }
    }
}

/// Judges an HTTP/1.1 upgrade request by its method and headers. Extensions are never agreed to, so a client that
/// offers compression goes on without it.
///
/// # Errors
/// [`Refusal`] with the status to answer.
pub fn accept<'a>(
    method: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    options: &ServerOptions,
) -> Result<Accepted, Refusal> {
    if method != "GET" {
        return Err(Refusal::Method);
    }
    let request = Request::collect(headers);
    if !request.upgrades || !request.connects {
        return Err(Refusal::NotAnUpgrade);
    }
    if request.version != Some(VERSION.as_bytes()) {
        return Err(Refusal::Version);
    }
    let key = match request.keys.as_slice() {
        [key] if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) => *key,
        _ => return Err(Refusal::Key),
    };
    if let Some(origin) = request.origin {
        let allowed = std::str::from_utf8(origin).is_ok_and(|origin| {
            let host = request.host.and_then(|host| std::str::from_utf8(host).ok());
            options.origins.allows(origin, host)
        });
        if !allowed {
            return Err(Refusal::Origin);
        }
    }
    let offered_any = !request.offered.is_empty();
    let chosen = options.subprotocols.iter().find(|ours| request.offered.contains(&ours.as_bytes()));
    if chosen.is_none() && (offered_any || options.require_subprotocol) {
        return Err(Refusal::Subprotocol);
    }
    Ok(Accepted { accept_key: accept_key(key), subprotocol: chosen.cloned() })
}

/// The headers that matter here.
#[derive(Default)]
struct Request<'a> {
    upgrades: bool,
    connects: bool,
    version: Option<&'a [u8]>,
    keys: Vec<&'a [u8]>,
    offered: Vec<&'a [u8]>,
    origin: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn collect(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut request = Self::default();
        for (name, value) in headers {
            let value = value.trim_ascii();
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            if is("upgrade") {
                request.upgrades |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"websocket"));
            } else if is("connection") {
                request.connects |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
            } else if is("sec-websocket-version") {
                request.version = Some(value);
            } else if is("sec-websocket-key") {
                request.keys.push(value);
            } else if is("sec-websocket-protocol") {
                request.offered.extend(tokens(value).filter(|token| !token.is_empty()));
            } else if is("origin") {
                request.origin = Some(value);
            } else if is("host") {
                request.host = Some(value);
            }
        }
        request
    }
}

/// The elements of a comma-separated header value.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("Host", "broker.example:8083"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "mqtt"),
    ];

    fn judge(headers: &[(&str, &str)], options: &ServerOptions) -> Result<Accepted, Refusal> {
        accept("GET", headers.iter().map(|(name, value)| (*name, value.as_bytes())), options)
    }

    /// The good request with one header replaced, or removed when `value` is empty.
    fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut headers: Vec<_> = GOOD.into_iter().filter(|(other, _)| *other != name).collect();
        if !value.is_empty() {
            headers.push((name, value));
        }
        headers
    }

    #[test]
    fn key_of_the_specification() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_good_request_is_granted() {
        let accepted = judge(&GOOD, &ServerOptions::mqtt()).unwrap();
        let headers: Vec<_> = accepted.headers().collect();
        assert_eq!(
            headers,
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("Sec-WebSocket-Protocol", "mqtt"),
            ]
        );
    }

    #[test]
    fn variations_are_judged_one_by_one() {
        let cases: &[(&'static str, &'static str, Result<(), Refusal>)] = &[
            ("Upgrade", "WebSocket", Ok(())),
            ("Upgrade", "h2c, websocket", Ok(())),
            ("Upgrade", "", Err(Refusal::NotAnUpgrade)),
            ("Upgrade", "websockets", Err(Refusal::NotAnUpgrade)),
            ("Connection", "upgrade", Ok(())),
            ("Connection", "close", Err(Refusal::NotAnUpgrade)),
            ("Connection", "", Err(Refusal::NotAnUpgrade)),
            ("Sec-WebSocket-Version", "8", Err(Refusal::Version)),
            ("Sec-WebSocket-Version", "", Err(Refusal::Version)),
            ("Sec-WebSocket-Key", "", Err(Refusal::Key)),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ", Err(Refusal::Key)),
            ("Sec-WebSocket-Key", "c2hvcnQ=", Err(Refusal::Key)),
            ("Sec-WebSocket-Key", "not base64 at all !!!!!!", Err(Refusal::Key)),
            ("Sec-WebSocket-Protocol", "mqttv3.1", Ok(())),
            ("Sec-WebSocket-Protocol", "chat, mqtt", Ok(())),
            ("Sec-WebSocket-Protocol", "chat", Err(Refusal::Subprotocol)),
            ("Sec-WebSocket-Protocol", "MQTT", Err(Refusal::Subprotocol)),
            ("Sec-WebSocket-Protocol", "", Err(Refusal::Subprotocol)),
            ("Sec-WebSocket-Extensions", "permessage-deflate", Ok(())),
            ("Origin", "https://broker.example", Ok(())),
            ("Origin", "http://BROKER.example:3000", Ok(())),
            ("Origin", "https://evil.example", Err(Refusal::Origin)),
            ("Origin", "https://broker.example.evil.example", Err(Refusal::Origin)),
            ("Origin", "null", Err(Refusal::Origin)),
        ];
        for (name, value, expected) in cases {
            let judged = judge(&with(name, value), &ServerOptions::mqtt());
            assert_eq!(judged.map(drop), *expected, "{name}: {value}");
        }
    }

    #[test]
    fn two_keys_are_refused_and_repeated_lists_are_joined() {
        let mut headers = GOOD.to_vec();
        headers.push(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(judge(&headers, &ServerOptions::mqtt()), Err(Refusal::Key));
        let mut headers = with("Sec-WebSocket-Protocol", "mqttv3.1");
        headers.push(("Sec-WebSocket-Protocol", "mqtt"));
        assert_eq!(judge(&headers, &ServerOptions::mqtt()).unwrap().subprotocol.as_deref(), Some("mqtt"));
    }

    #[test]
    fn a_client_without_subprotocol_may_be_let_in() {
        let lenient = ServerOptions { require_subprotocol: false, ..ServerOptions::mqtt() };
        assert_eq!(judge(&with("Sec-WebSocket-Protocol", ""), &lenient).unwrap().subprotocol, None);
        assert_eq!(judge(&with("Sec-WebSocket-Protocol", "chat"), &lenient), Err(Refusal::Subprotocol));
    }

    #[test]
    fn origins_can_be_listed_or_all_be_welcome() {
        let listed = OriginPolicy::Listed(vec!["https://app.example".to_owned()]);
        let host = Some("broker.example");
        assert!(listed.allows("https://app.example", host));
        assert!(listed.allows("https://broker.example", host));
        assert!(!listed.allows("http://app.example", host));
        assert!(OriginPolicy::Any.allows("null", host));
        assert!(OriginPolicy::SameHost.allows("http://[::1]:5173", Some("[::1]:15672")));
        assert!(!OriginPolicy::SameHost.allows("http://[::1]:5173", Some("[::2]")));
        assert!(!OriginPolicy::SameHost.allows("https://app.example", None));
    }

    #[test]
    fn other_methods_are_refused() {
        let refused = accept("POST", [], &ServerOptions::mqtt()).unwrap_err();
        assert_eq!((refused.status(), refused.header()), (405, Some(("Allow", "GET"))));
        assert_eq!(Refusal::Version.status(), 426);
        assert_eq!(Refusal::Version.header(), Some(("Sec-WebSocket-Version", "13")));
    }
}
