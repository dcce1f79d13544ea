//! The control API: `/api/v1`, JSON over HTTP, for operators and their tools.
//!
//! A request is judged in this order: where it comes from ([`origin`]), who sends it ([`caller`]), what it is about
//! ([`routes`]), what it says ([`body`]). What it then may do is asked of the same rights that AMQP clients have, by the
//! same operations of the core: there is no second way to a queue (CVE-2024-51988). An answer that says something was
//! done waits until that is on disk ([`call`]).
//!
//! Every error is a [`problem`]: a JSON object with `code`, `text` and `hint`.
//!
//! - [`routes`]: which path is about what.
//! - [`status`], [`connections`], [`users`], [`permissions`], [`limits`], [`vhosts`]: the server and who uses it.
//! - [`exchanges`], [`bindings`], [`queues`], [`messages`], [`rates`], [`policies`]: what is in a virtual host.
//! - [`listing`]: long lists, a page at a time.
//! - [`table_json`]: arguments between field tables and JSON.

mod bindings;
mod body;
mod call;
mod caller;
mod connections;
mod exchanges;
mod limits;
mod listing;
mod messages;
mod origin;
mod path;
mod permissions;
mod policies;
mod problem;
mod queues;
pub(crate) mod rates;
mod routes;
mod status;
mod table_json;
mod users;
mod vhosts;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};
use tercet_net::Peer;

use self::body::Body;
use self::call::Call;
use self::path::Target;
use self::problem::Problem;
use super::HttpContext;
use super::answers::Answer;

/// Where the API is.
pub(super) const PREFIX: &str = "/api/";

/// Answers one request of the API.
pub(super) async fn answer(request: Request<Incoming>, context: &HttpContext, peer: &Peer) -> Answer {
    match handle(request, context, peer).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_answer(),
    }
}

/// Measures the rates of queues for as long as the runtime lives.
pub(super) async fn measure_rates(context: Arc<HttpContext>) {
    let mut interval = tokio::time::interval(rates::INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let context = Arc::clone(&context);
        let counted = tokio::task::spawn_blocking(move || {
            context.rates.measure(&call::all_vhosts(&context.shared), std::time::Instant::now());
        });
        // A panic in it was printed; the next measurement may go well.
        let _ = counted.await;
    }
}

async fn handle(request: Request<Incoming>, context: &HttpContext, peer: &Peer) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    origin::check(&head.headers)?;
    let target = Target::parse(&head.uri)?;
    let caller = caller::identify(&head.headers, &context.shared, peer).await?;
    let body = match head.method {
        Method::GET | Method::HEAD => Body::none(),
        _ => Body::read(&head.headers, body).await?,
    };
    let (shared, rates) = (Arc::clone(&context.shared), &*context.rates);
    let call = Call { shared, rates, caller, method: head.method, target, body };
    let reply = routes::dispatch(&call).await?;
    call.finish(reply).await
}
