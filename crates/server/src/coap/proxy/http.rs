//! CoAP servers for HTTP clients: `/hc/coap://host/path?query` (RFC 8075 §5.3).
//!
//! Only clients on this machine are served, and no web pages: whatever else shall use it goes through a web server that
//! knows its users.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, ORIGIN, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response as HttpResponse, StatusCode};
use tercet_coap::uri::{Scheme, Uri};
use tercet_coap::{Code, ContentFormat, Number, OwnedMessage};
use tercet_net::Peer;
use tokio::sync::oneshot;

use super::cache::etag;
use super::resources::ask;
use super::target::Target;
use crate::coap::response::Response;
use crate::http::answers::{self, Answer};
use crate::shared::Shared;

/// Where the proxy is found (RFC 8075 §5.5).
pub const PREFIX: &str = "/hc/";
/// Time that a client has to send a body.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that does not become one of CoAP.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

/// Answers a request below [`PREFIX`].
pub async fn answer(request: Request<Incoming>, shared: &Arc<Shared>, peer: &Peer) -> Answer {
    let is_page = request.headers().contains_key(ORIGIN) || request.headers().contains_key("sec-fetch-site");
    let handled = if !peer.is_loopback() || is_page {
        Err(Refusal(StatusCode::FORBIDDEN, "only programs on this machine may use the proxy"))
    } else {
        handle(request, shared).await
    };
    handled.unwrap_or_else(|Refusal(status, reason)| {
        answers::error(status, reason, "GET /hc/coap://HOST/PATH, with a host that coap.proxy-hosts names")
    })
}

async fn handle(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let mut message = OwnedMessage::new(method(&head.method)?);
    let uri = uri(path.strip_prefix(PREFIX).unwrap_or_default())?;
    let allowed = shared
        .coap
        .proxy
        .policy
        .allows(&uri)
        .ok_or(Refusal(StatusCode::FORBIDDEN, "not a host to be asked"))?;
    uri.add_to(&mut message.options);
    formats(&head.headers, &mut message)?;
    message.payload = read(body, shared.coap.proxy.max_body).await?;
    if message.payload.is_empty() {
        message.remove(Number::CONTENT_FORMAT);
    }
    let (tell, told) = oneshot::channel();
    // A client that has gone is not waited for.
    let done = move |response, _: &Shared| drop(tell.send(response));
    let response = match ask(shared, Target { uri, allowed, message }, Instant::now(), done) {
        Some(response) => response,
        None => told.await.map_err(|_| Refusal(StatusCode::BAD_GATEWAY, "the exchange was abandoned"))?,
    };
    Ok(translate(&response, is_head))
}

fn method(method: &Method) -> Result<Code, Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(Code::GET),
        Method::POST => Ok(Code::POST),
        Method::PUT => Ok(Code::PUT),
        Method::DELETE => Ok(Code::DELETE),
        Method::PATCH => Ok(Code::PATCH),
        _ => Err(Refusal(StatusCode::NOT_IMPLEMENTED, "CoAP has no such method")),
    }
}

/// The URI behind the prefix. Clients and servers between them may have made one slash of two.
fn uri(text: &str) -> Result<Uri, Refusal> {
    let whole = match text.strip_prefix("coap:/") {
        Some(rest) => format!("coap://{}", rest.trim_start_matches('/')),
        None => text.to_owned(),
    };
    let uri: Uri = whole.parse().map_err(|_| Refusal(StatusCode::BAD_REQUEST, "not a URI of CoAP"))?;
    if uri.scheme != Scheme::Coap {
        return Err(Refusal(StatusCode::BAD_REQUEST, "only coap:// is asked"));
    }
    Ok(uri)
}

/// Content-Type and Accept as options (RFC 8075 §6).
fn formats(headers: &HeaderMap, message: &mut OwnedMessage) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(media_type) = text(CONTENT_TYPE) {
        let format = ContentFormat::from_media_type(media_type)
            .ok_or(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CoAP has no number for the media type"))?;
        message.set_uint(Number::CONTENT_FORMAT, format.0.into());
    }
    // Of several that would do, the first that CoAP knows is asked for.
    let wanted = text(ACCEPT).unwrap_or_default();
    if !wanted.contains("*/*")
        && let Some(format) = wanted.split(',').find_map(|one| ContentFormat::from_media_type(one.trim()))
    {
        message.set_uint(Number::ACCEPT, format.0.into());
    }
    Ok(())
}

async fn read(body: Incoming, most: usize) -> Result<Vec<u8>, Refusal> {
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, most).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
        }
        Ok(Err(_)) => Err(Refusal(StatusCode::BAD_REQUEST, "the body ended too early")),
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// The answer in HTTP (RFC 8075 §7).
fn translate(response: &Response, is_head: bool) -> Answer {
    let body = Bytes::copy_from_slice(response.body.as_bytes());
    let mut answer = HttpResponse::new(Full::new(if is_head { Bytes::new() } else { body.clone() }));
    *answer.status_mut() = status(response.code, body.is_empty());
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut set = |name, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    let is_error = response.code.class() >= 4;
    match response.content_format {
        Some(format) => set(CONTENT_TYPE, media_type(format)),
        // A diagnostic payload is text (RFC 7252 §5.5.2).
        None if is_error && !body.is_empty() => set(CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        None => (),
    }
    if let Some(etag) = etag(response) {
        let digits: String = etag.iter().map(|byte| format!("{byte:02x}")).collect();
        set(ETAG, format!("\"{digits}\""));
    }
    match response.max_age {
        Some(seconds) if response.code == Code::SERVICE_UNAVAILABLE => set(RETRY_AFTER, seconds.to_string()),
        max_age => set(CACHE_CONTROL, format!("max-age={}", max_age.unwrap_or(DEFAULT_MAX_AGE))),
    }
    answer
}

/// RFC 7252 §5.10.5.
const DEFAULT_MAX_AGE: u32 = 60;

fn media_type(format: ContentFormat) -> String {
    match format.media_type() {
        Some(media_type) => media_type.to_owned(),
        // RFC 8075 §6.2.
        None => format!("application/coap-payload;cf={}", format.0),
    }
}

/// Table 2 of RFC 8075.
fn status(code: Code, is_empty: bool) -> StatusCode {
    match code {
        Code::CREATED => StatusCode::CREATED,
        Code::DELETED | Code::CHANGED if is_empty => StatusCode::NO_CONTENT,
        Code::VALID => StatusCode::NOT_MODIFIED,
        // 401 and 405 would need header fields that CoAP has no words for.
        Code::UNAUTHORIZED => StatusCode::FORBIDDEN,
        Code::METHOD_NOT_ALLOWED => StatusCode::BAD_REQUEST,
        Code::BAD_OPTION => StatusCode::INTERNAL_SERVER_ERROR,
        Code::PROXYING_NOT_SUPPORTED => StatusCode::BAD_GATEWAY,
        Code::HOP_LIMIT_REACHED => StatusCode::LOOP_DETECTED,
        other => match other.class() {
            2 => StatusCode::OK,
            class @ 4..=5 => {
                let number = u16::from(class) * 100 + u16::from(other.detail());
                let known =
                    StatusCode::from_u16(number).ok().filter(|status| status.canonical_reason().is_some());
                let generic =
                    if class == 4 { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
                known.unwrap_or(generic)
            }
            _ => StatusCode::BAD_GATEWAY,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_statuses() {
        for (code, is_empty, expected) in [
            (Code::CONTENT, false, 200),
            (Code::CREATED, true, 201),
            (Code::CHANGED, true, 204),
            (Code::CHANGED, false, 200),
            (Code::VALID, true, 304),
            (Code::BAD_REQUEST, false, 400),
            (Code::UNAUTHORIZED, false, 403),
            (Code::NOT_FOUND, true, 404),
            (Code::METHOD_NOT_ALLOWED, true, 400),
            (Code::NOT_ACCEPTABLE, true, 406),
            (Code::REQUEST_ENTITY_TOO_LARGE, true, 413),
            (Code::TOO_MANY_REQUESTS, true, 429),
            (Code::GATEWAY_TIMEOUT, true, 504),
            (Code::from_parts(4, 27), true, 400),
            (Code::from_parts(3, 1), true, 502),
        ] {
            assert_eq!(status(code, is_empty).as_u16(), expected, "{code}");
        }
    }

    #[test]
    fn uris_are_found_behind_the_prefix() {
        for text in ["coap://h:61616/a?b=1", "coap:/h:61616/a?b=1"] {
            assert_eq!(uri(text).unwrap().to_string(), "coap://h:61616/a?b=1", "{text}");
        }
        for text in ["", "coap://", "coaps://h/", "http://h/", "x"] {
            assert_eq!(uri(text).unwrap_err().0, StatusCode::BAD_REQUEST, "{text}");
        }
    }

    #[test]
    fn an_answer_keeps_its_type_tag_and_age() {
        let response =
            Response::content(ContentFormat::JSON, "{}").fresh_for(7).with(Number::ETAG, &[1, 0xAB][..]);
        let answer = translate(&response, false);
        let header = |name| answer.headers().get(name).map(|value: &HeaderValue| value.as_bytes());
        assert_eq!(header(CONTENT_TYPE), Some(&b"application/json"[..]));
        assert_eq!(header(ETAG), Some(&b"\"01ab\""[..]));
        assert_eq!(header(CACHE_CONTROL), Some(&b"max-age=7"[..]));
        assert_eq!(media_type(ContentFormat(65_000)), "application/coap-payload;cf=65000");
    }
}
