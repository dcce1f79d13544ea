//! What a request asks of another server.

use tercet_coap::uri::{Host, Scheme, Uri, UriError};
use tercet_coap::{Code, Number, Options, OwnedMessage};

use super::Proxy;
use super::policy::Allowed;
use crate::coap::request::Request;
use crate::coap::response::Response;

/// A server and the request to it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) allowed: Allowed,
    pub(super) message: OwnedMessage,
}

/// Hops that are left to a request which does not say (RFC 8768 §3).
const HOPS: u8 = 16;
/// What this proxy calls itself in a 5.08 (RFC 8768 §4).
pub(super) const NAME: &str = "tercet";

impl Target {
    /// The target of a request; `None` when it is for this server.
    ///
    /// # Errors
    /// What to answer when it cannot be asked.
    pub(super) fn of(request: &Request<'_>, proxy: &Proxy) -> Result<Option<Self>, Response> {
        let (uri, allowed) = match named(request.options)? {
            Some(uri) => {
                let allowed = proxy.policy.allows(&uri);
                (uri, allowed.ok_or_else(|| Response::diagnostic(Code::FORBIDDEN, "not a host to be asked"))?)
            }
            None => {
                let Some(mut uri) = proxy.policy.mapped(&request.path().collect::<Vec<_>>()) else {
                    return Ok(None);
                };
                uri.query = request.options.texts(Number::URI_QUERY).map(str::to_owned).collect();
                (uri, Allowed::Named)
            }
        };
        let mut message = OwnedMessage::new(request.code);
        message.payload = request.payload.to_vec();
        uri.add_to(&mut message.options);
        copy(request.options, &mut message)?;
        Ok(Some(Target { uri, allowed, message }))
    }
}

/// The URI that a request to a forward proxy names (RFC 7252 §5.10.2).
fn named(options: Options<'_>) -> Result<Option<Uri>, Response> {
    let not_supported = || Response::diagnostic(Code::PROXYING_NOT_SUPPORTED, "only coap:// is asked");
    let wrong = |error: UriError| match error {
        UriError::Scheme => not_supported(),
        other => Response::diagnostic(Code::BAD_REQUEST, other.to_string()),
    };
    let uri = if let Some(uri) = options.text(Number::PROXY_URI) {
        uri.parse::<Uri>().map_err(wrong)?
    } else if let Some(scheme) = options.text(Number::PROXY_SCHEME) {
        let scheme = Scheme::from_name(scheme).ok_or_else(not_supported)?;
        if !options.contains(Number::URI_HOST) {
            return Err(Response::diagnostic(Code::BAD_REQUEST, "Uri-Host is missing"));
        }
        let nowhere = (std::net::Ipv4Addr::UNSPECIFIED.into(), scheme.default_port());
        Uri::from_options(scheme, nowhere, options).map_err(wrong)?
    } else {
        return Ok(None);
    };
    if uri.scheme != Scheme::Coap || matches!(uri.host, Host::Zoned(..)) {
        return Err(not_supported());
    }
    Ok(Some(uri))
}

/// Copies the options that go on to the server, and takes a hop.
fn copy(options: Options<'_>, message: &mut OwnedMessage) -> Result<(), Response> {
    let mut hops = HOPS;
    for (number, value) in options {
        match number {
            Number::URI_HOST | Number::URI_PORT | Number::URI_PATH | Number::URI_QUERY => (),
            Number::PROXY_URI | Number::PROXY_SCHEME => (),
            // What ends here: blocks, observations, and what was said to this hop alone.
            Number::BLOCK1 | Number::BLOCK2 | Number::SIZE1 | Number::SIZE2 | Number::REQUEST_TAG => (),
            Number::OBSERVE | Number::NO_RESPONSE | Number::ECHO | Number::MAX_AGE => (),
            Number::HOP_LIMIT => {
                if let [left] = *value {
                    hops = left;
                }
            }
            // RFC 7252 §5.7.1: what is unsafe to forward must be understood.
            number if number.is_unsafe() => {
                let text = format!("option {} is not understood", number.0);
                return Err(Response::diagnostic(Code::BAD_OPTION, text));
            }
            number => {
                message.add(number, value);
            }
        }
    }
    match hops {
        0 => Err(Response::diagnostic(Code::BAD_REQUEST, "a Hop-Limit of 0")),
        1 => Err(Response::diagnostic(Code::HOP_LIMIT_REACHED, NAME)),
        _ => {
            message.add(Number::HOP_LIMIT, &[hops - 1]);
            Ok(())
        }
    }
}
