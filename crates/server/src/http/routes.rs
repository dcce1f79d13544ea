//! Which request gets which answer.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tercet_coap::stream;
use tercet_net::Peer;

use super::accept::Admission;
use super::answers::{self, Answer};
use super::settings::HttpSettings;
use super::{HttpContext, api, health, upgrade};
use crate::coap::proxy::http as proxy;
use crate::metrics::exposition::{self, Format};
use crate::metrics::snapshot::Snapshot;
use crate::reactor::face::FaceKind;

/// Answers one request of a connection.
pub(super) async fn answer(
    request: Request<Incoming>,
    context: Arc<HttpContext>,
    admission: Arc<Admission>,
    peer: Peer,
) -> Result<Answer, Infallible> {
    let settings = Arc::clone(admission.settings());
    // A listener without these settings is none of ours.
    let Some(http) = &settings.http else { return Ok(nothing_here("")) };
    if request.uri().path() == http.websocket_path {
        return Ok(upgrade::answer(request, FaceKind::Mqtt, http, context, &admission, peer));
    }
    if request.uri().path() == http.amqp_path {
        return Ok(upgrade::answer(request, FaceKind::Amqp, http, context, &admission, peer));
    }
    if request.uri().path() == stream::WEBSOCKET_PATH {
        return Ok(upgrade::answer(request, FaceKind::CoapWebSocket, http, context, &admission, peer));
    }
    if http.pages
        && context.shared.coap.proxy.serves_http()
        && request.uri().path().starts_with(proxy::PREFIX)
    {
        return Ok(proxy::answer(request, &context.shared, &peer).await);
    }
    if http.pages && request.uri().path().starts_with(api::PREFIX) {
        return Ok(api::answer(request, &context, &peer).await);
    }
    let path = request.uri().path().to_owned();
    let page = match path.as_str() {
        _ if !http.pages => return Ok(nothing_here(&offer(http))),
        "/healthz" => Page::Health,
        "/readyz" => Page::Readiness,
        "/metrics" => Page::Metrics(format(&request)),
        _ => return Ok(nothing_here(&offer(http))),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused =
            answers::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "use GET or HEAD");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(page.answer(&context).await)
}

enum Page {
    Health,
    Readiness,
    Metrics(Format),
}

impl Page {
    async fn answer(self, context: &HttpContext) -> Answer {
        match self {
            Self::Health => {
                let stuck = health::stuck_reactors(&context.shared.reactors, health::PATIENCE).await;
                if stuck.is_empty() {
                    return answers::body(StatusCode::OK, "text/plain; charset=utf-8", "ok");
                }
                let reasons: Vec<_> =
                    stuck.iter().map(|index| format!("reactor {index} does not turn")).collect();
                answers::json(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({ "healthy": false, "reasons": reasons }),
                )
            }
            Self::Metrics(format) => metrics(context, format),
            Self::Readiness => {
                let reasons = context.shared.reasons_not_ready();
                if reasons.is_empty() {
                    return answers::json(StatusCode::OK, &json!({ "ready": true }));
                }
                answers::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reasons": reasons }))
            }
        }
    }
}

/// The format that a scraper asks for.
fn format(request: &Request<Incoming>) -> Format {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    Format::accepted(accept.unwrap_or_default())
}

fn metrics(context: &HttpContext, format: Format) -> Answer {
    match exposition::write(Snapshot::take(&context.shared), format) {
        Ok(text) => answers::body(StatusCode::OK, format.content_type(), text),
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            answers::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics", "see the log")
        }
    }
}

pub(super) fn nothing_here(offer: &str) -> Answer {
    answers::error(StatusCode::NOT_FOUND, "not found", offer)
}

/// What a listener serves, in words.
pub(super) fn offer(http: &HttpSettings) -> String {
    let mut websocket =
        format!("MQTT over WebSocket at {} and AMQP at {}", http.websocket_path, http.amqp_path);
    if http.coap.is_some() {
        websocket.push_str(", CoAP at ");
        websocket.push_str(stream::WEBSOCKET_PATH);
    }
    if http.pages {
        format!("this listener serves /api/v1, /healthz, /readyz, /metrics and {websocket}")
    } else {
        format!("this listener serves only {websocket}")
    }
}
