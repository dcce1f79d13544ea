//! From an upgrade request to an MQTT or AMQP connection of a reactor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tercet_net::websocket::{self, Accepted, Refusal, ServerOptions};
use tercet_net::{Peer, Transport};

use super::HttpContext;
use super::accept::Admission;
use super::answers::{self, Answer};
use super::routes;
use super::settings::HttpSettings;
use super::stream::HttpStream;
use crate::reactor::event_loop::adopt_from_outside;
use crate::reactor::face::FaceKind;

/// Answers a request for the path of the WebSocket. Once a 101 has gone out the connection belongs to a reactor.
pub(super) fn answer(
    mut request: Request<Incoming>,
    face: FaceKind,
    http: &HttpSettings,
    context: Arc<HttpContext>,
    admission: &Arc<Admission>,
    peer: Peer,
) -> Answer {
    let Some(options) = http.options(face) else { return routes::nothing_here(&routes::offer(http)) };
    let accepted = match judge(&request, options) {
        Ok(accepted) => accepted,
        Err(refusal) => return refuse(refusal, face),
    };
    if let Some(refused) = full(&context) {
        return refused;
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let admission = Arc::clone(admission);
    tokio::spawn(async move {
        match take_over(upgrade, peer, face).await {
            Ok((transport, input)) => {
                let listener = admission.hand_over();
                adopt_from_outside(&context.shared, transport, listener, face, input);
            }
            Err(error) => {
                tracing::debug!(listener = %admission.settings().name, %error, "upgrade to WebSocket failed");
            }
        }
    });
    switch(&accepted)
}

fn judge(request: &Request<Incoming>, options: &ServerOptions) -> Result<Accepted, Refusal> {
    // HTTP/1.0 knows no upgrades (RFC 9110 §7.8).
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::NotAnUpgrade);
    }
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    websocket::accept(request.method().as_str(), headers, options)
}

fn refuse(refusal: Refusal, face: FaceKind) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let (name, subprotocol) = match face {
        FaceKind::Mqtt => ("MQTT", "mqtt"),
        FaceKind::Amqp => ("AMQP", "amqp"),
        FaceKind::Coap | FaceKind::CoapWebSocket => ("CoAP", "coap"),
    };
    let what = match refusal {
        Refusal::Subprotocol => {
            format!("no subprotocol in common: offer Sec-WebSocket-Protocol: {subprotocol}")
        }
        other => other.to_string(),
    };
    let hint = format!(
        "{name} over WebSocket: GET with Upgrade: websocket, Sec-WebSocket-Version: 13 and Sec-WebSocket-Protocol: {subprotocol}"
    );
    let mut answer = answers::error(status, &what, &hint);
    if let Some((name, value)) = refusal.header()
        && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
    {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The refusal of a server that takes no more clients.
fn full(context: &HttpContext) -> Option<Answer> {
    let shared = &context.shared;
    let (error, hint) = if shared.health.is_draining() {
        ("the server is shutting down", "connect again in a while, or to another server")
    } else if shared.connections() >= context.max_connections {
        shared.vhost.metrics().sockets_refused.fetch_add(1, Relaxed);
        ("too many connections", "the limit is max-connections in [limits]")
    } else {
        return None;
    };
    Some(answers::error(StatusCode::SERVICE_UNAVAILABLE, error, hint))
}

fn switch(accepted: &Accepted) -> Answer {
    let mut answer = Response::new(Default::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in accepted.headers() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// Waits until the answer is written, then takes the connection out of the HTTP library and the runtime, with what has
/// been read behind the request if that is not in the transport's layers.
async fn take_over(upgrade: OnUpgrade, peer: Peer, face: FaceKind) -> io::Result<(Transport, Vec<u8>)> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let Parts { io, read_buf, .. } = upgraded
        .downcast::<TokioIo<HttpStream>>()
        .map_err(|_| io::Error::other("the connection is not one of this listener"))?;
    let stream = io.into_inner();
    match face {
        // It frames its messages itself, as it has to tell one from the other.
        FaceKind::CoapWebSocket => stream.into_transport(&read_buf, peer),
        _ => Ok((stream.into_websocket(&read_buf, peer)?, Vec::new())),
    }
}
