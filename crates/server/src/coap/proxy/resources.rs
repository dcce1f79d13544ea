//! Requests for other servers, as resources answer them.

use std::sync::Arc;
use std::time::Instant;

use tercet_coap::{Code, Number};

use super::cache::{Found, Key};
use super::target::Target;
use super::{Proxy, upstream};
use crate::coap::answer::{Answer, Later};
use crate::coap::context::{CoapContext, Outcome};
use crate::coap::request::Request;
use crate::coap::response::Response;
use crate::shared::Shared;

/// Seconds until one may ask again who found all exchanges taken.
const RETRY_AFTER: u32 = 5;

/// Answers a request that is for another server; `None` when it is for this one.
pub fn serve(request: &Request<'_>, cx: &mut CoapContext<'_>) -> Option<Answer> {
    let proxy = &cx.shared.coap.proxy;
    if !proxy.is_on() {
        return None;
    }
    let target = match Target::of(request, proxy) {
        Ok(target) => target?,
        Err(refused) => return Some(refused.into()),
    };
    if !request.caller.admitted {
        return Some(Response::new(Code::UNAUTHORIZED).into());
    }
    let shared = Arc::clone(cx.shared);
    let ticket = cx.ticket();
    let done = move |response, shared: &Shared| ticket.answer(shared, Outcome::Response(response));
    Some(match ask(&shared, target, cx.now.monotonic, done) {
        Some(response) => response.into(),
        None => Answer::Later(Later { ticket, then: Box::new(|outcome, _, _| answer(outcome)) }),
    })
}

/// Answers at once, or hands the answer to `done` from another thread (`None`).
pub(super) fn ask(
    shared: &Arc<Shared>,
    mut target: Target,
    now: Instant,
    done: impl FnOnce(Response, &Shared) + Send + 'static,
) -> Option<Response> {
    let key = Key::of(&target);
    if let Some(key) = &key {
        match shared.coap.proxy.cache.lock().find(key, now) {
            Found::Fresh(response) => return Some(response),
            Found::Stale(etag) => {
                target.message.add(Number::ETAG, &etag);
            }
            Found::Nothing => (),
        }
    }
    let Some(place) = shared.coap.proxy.place() else {
        return Some(Response::new(Code::SERVICE_UNAVAILABLE).fresh_for(RETRY_AFTER));
    };
    let theirs = Arc::clone(shared);
    let exchange = move || {
        let response = fetch(&theirs.coap.proxy, &target, key);
        drop(place);
        done(response, &theirs);
    };
    let started = std::thread::Builder::new().name("coap-proxy".to_owned()).spawn(exchange);
    started.err().map(|_| Response::new(Code::SERVICE_UNAVAILABLE).fresh_for(RETRY_AFTER))
}

/// Asks the server, and keeps what may be kept.
fn fetch(proxy: &Proxy, target: &Target, key: Option<Key>) -> Response {
    let response = upstream::fetch(target, proxy.timeout, proxy.max_body);
    let mut cache = proxy.cache.lock();
    let Some(key) = key else {
        if !matches!(target.message.code, Code::GET | Code::FETCH) {
            cache.invalidate(&target.uri.to_string());
        }
        return response;
    };
    if response.code == Code::VALID
        && let Some(confirmed) = cache.confirm(&key, response.max_age, Instant::now())
    {
        return confirmed;
    }
    if response.code == Code::VALID {
        // What it confirms was forgotten meanwhile.
        return Response::new(Code::SERVICE_UNAVAILABLE).fresh_for(0);
    }
    cache.store(key, &response, Instant::now());
    response
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Response(response) => response.into(),
        _ => Response::new(Code::GATEWAY_TIMEOUT).into(),
    }
}
