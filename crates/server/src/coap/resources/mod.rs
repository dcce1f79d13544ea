//! What is served.
//!
//! - [`asked`]: what the options of a request say to resources.
//! - [`topic_data`]: `/ps/<topic>`: the value of a topic, read, observed, published and cleared.
//! - [`topic_path`]: paths as topics and filters.
//! - [`representation`]: a message as a response, and which formats a client accepts.
//! - [`conditions`]: what a publication asks about the value it replaces.
//! - [`authors`]: clients as publishers.

mod asked;
mod authors;
mod conditions;
mod representation;
mod topic_data;
mod topic_path;

use std::sync::Arc;

use tercet_broker::permission::Action;
use tercet_broker::vhost::observing::Moment;
pub use tercet_broker::watch::Change;
use tercet_coap::{Code, ContentFormat};

use self::asked::Asked;
use self::authors::Authors;
use self::representation::Tags;
use self::topic_path::Wildcards;
use super::answer::Answer;
use super::caller::Caller;
use super::context::CoapContext;
use super::request::{Observe, Request};
use super::response::{Body, Response};

/// What the resources keep for one reactor.
#[derive(Debug, Default)]
pub struct Resources {
    /// The topic that is asked for.
    topic: String,
    authors: Authors,
    tags: Tags,
}

/// What the notifications of an observation look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The value of one topic, in this format if there was one from the beginning (RFC 7641 §4.2).
    Value(Option<ContentFormat>),
}

/// A request with everything that resources want to know of it.
struct Call<'a> {
    request: &'a Request<'a>,
    asked: Asked<'a>,
    /// Who asks, as it has shown itself by the transport or in the request.
    caller: &'a Caller,
    /// When its observation begins.
    since: Moment,
}

impl Call<'_> {
    /// Whether it wants to hear of changes.
    fn observes(&self) -> bool {
        self.request.observe == Some(Observe::Register)
    }

    /// Who observes, if that is not the caller as its transport knows it.
    fn observer(&self) -> Option<Arc<Caller>> {
        (!std::ptr::eq(self.caller, self.request.caller)).then(|| Arc::new(self.caller.clone()))
    }
}

/// What the root says.
const ROOT: &str = "Tercet: topics are at /ps/<topic>, everything else at /.well-known/core\n";

/// Answers a request.
pub fn dispatch(request: &Request<'_>, cx: &mut CoapContext<'_>) -> Answer {
    let asked = match Asked::of(request) {
        Ok(asked) => asked,
        Err(response) => return response.into(),
    };
    if !request.caller.admitted {
        return Response::diagnostic(Code::UNAUTHORIZED, "clients without credentials are not served").into();
    }
    let since = if request.observe.is_some() { cx.shared.vhost.reading_from() } else { Moment::default() };
    serve(&Call { request, asked, caller: request.caller, since }, cx)
}

fn serve(call: &Call<'_>, cx: &mut CoapContext<'_>) -> Answer {
    match call.asked.path.split_first() {
        None if call.request.code == Code::GET => Response::content(ContentFormat::TEXT, ROOT).into(),
        None => Response::new(Code::METHOD_NOT_ALLOWED).into(),
        Some((&b"ps", levels)) if !levels.is_empty() => with_topic(call, levels, cx),
        _ => Response::new(Code::NOT_FOUND).into(),
    }
}

/// Serves a path below `/ps`. The topic is put together in memory that is used again.
fn with_topic(call: &Call<'_>, levels: &[&[u8]], cx: &mut CoapContext<'_>) -> Answer {
    let mut topic = std::mem::take(&mut cx.resources.topic);
    let answer = match topic_path::join(levels, &mut topic) {
        Ok(Wildcards::None) => topic_data::serve(call, &topic, cx),
        Ok(Wildcards::Some) => Response::new(Code::NOT_FOUND).into(),
        Err(reason) => Response::diagnostic(Code::BAD_REQUEST, reason).into(),
    };
    cx.resources.topic = topic;
    answer
}

/// What observers of this form and of the rights of `observer` are told of the changes; `None`: nothing. Anything else than
/// a success ends their observation.
pub fn notification(
    form: Form,
    changes: &[(Arc<str>, Change)],
    observer: &Caller,
    cx: &mut CoapContext<'_>,
) -> Option<Response> {
    let Form::Value(format) = form;
    let (topic, change) = changes.last()?;
    let vhost = &cx.shared.vhost;
    if !vhost.may(&observer.subject(), Action::Receive, topic) {
        return Some(Response::new(Code::FORBIDDEN));
    }
    Some(match change {
        Change::Value(message) => representation::notify(message, format, cx),
        Change::Cleared => Response { body: Body::Empty, ..Response::new(Code::NOT_FOUND) },
    })
}
