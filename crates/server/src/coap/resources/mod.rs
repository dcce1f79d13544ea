//! What is served.
//!
//! - [`asked`]: what the options of a request say to resources; [`credentials`]: who it says it comes from.
//! - [`topic_data`]: `/ps/<topic>`: the value of a topic, read, observed, published and cleared.
//! - [`changes`]: `/ps/<filter>`: many topics as one map.
//! - [`topics`]: `/ps` and `/topics/<id>`: topics that are configured (draft-ietf-core-coap-pubsub).
//! - [`links`]: `/.well-known/core`, and lists of topics.
//! - [`connections`]: `/mqtt/connection`, as EMQX's gateway has it.
//! - [`topic_path`]: paths as topics and filters.
//! - [`representation`]: a message as a response, and which formats a client accepts.
//! - [`conditions`]: what a publication asks about the value it replaces.
//! - [`authors`]: clients as publishers.

mod asked;
mod authors;
mod changes;
mod conditions;
mod connections;
mod credentials;
mod links;
mod representation;
mod topic_data;
mod topic_path;
mod topics;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tercet_broker::definitions::Definitions;
use tercet_broker::permission::Action;
use tercet_broker::vhost::observing::Moment;
pub use tercet_broker::watch::Change;
use tercet_coap::{Code, ContentFormat};

pub use self::changes::MapFormat;
pub(crate) use self::links::is_of_caller;
pub(crate) use self::topics::configuration::expire;

use self::asked::Asked;
use self::authors::Authors;
use self::connections::Connections;
use self::representation::Tags;
use self::topic_path::Wildcards;
use self::topics::collection::{self, TOPICS};
use self::topics::configuration;
use self::topics::table::Topics;
use super::answer::Answer;
use super::caller::Caller;
use super::context::CoapContext;
use super::directory;
use super::proxy;
use super::request::{Observe, Request};
use super::response::Response;

/// What the resources keep for one reactor.
#[derive(Debug, Default)]
pub struct Resources {
    /// The topic that is asked for.
    topic: String,
    authors: Authors,
    tags: Tags,
}

/// What the resources of all reactors share.
#[derive(Debug)]
pub struct SharedResources {
    topics: Topics,
    connections: Connections,
}

impl SharedResources {
    /// What is there at the start: topics that are defined.
    #[must_use]
    pub fn open(definitions: &Arc<Definitions>) -> Self {
        Self { topics: Topics::open(Arc::clone(definitions)), connections: Connections::default() }
    }
}

/// What has changed of what a filter matches.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// The filter.
    pub filter: &'a str,
    /// Topics with their latest change.
    pub topics: &'a [(Arc<str>, Change)],
    /// Other topics have changed, nobody knows which.
    pub overflowed: bool,
}

/// What the notifications of an observation look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The value of one topic, in this format if there was one from the beginning (RFC 7641 §4.2).
    Value(Option<ContentFormat>),
    /// A map of topics.
    Map(MapFormat),
}

/// A request with everything that resources want to know of it.
struct Call<'a> {
    request: &'a Request<'a>,
    asked: Asked<'a>,
    /// Who asks, as it has shown itself by the transport or in the request.
    caller: &'a Caller,
    /// When an observation begins, should it become one.
    since: Moment,
}

impl<'a> Call<'a> {
    /// A request in the name of `caller`. One that goes on after something was found out for it keeps its moment.
    fn new(request: &'a Request<'a>, caller: &'a Caller, since: Moment) -> Result<Self, Response> {
        Ok(Self { request, asked: Asked::of(request)?, caller, since })
    }

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
    if let Some(answer) = proxy::serve(request, cx) {
        return answer;
    }
    // Before anything is read.
    let since = if request.observe.is_some() { cx.shared.vhost.reading_from() } else { Moment::default() };
    let call = match Call::new(request, request.caller, since) {
        Ok(call) => call,
        Err(response) => return response.into(),
    };
    if call.asked.query.has_credentials() {
        return credentials::serve_as_claimed(&call, cx);
    }
    if !request.caller.admitted {
        return Response::diagnostic(Code::UNAUTHORIZED, "clients without credentials are not served").into();
    }
    serve(&call, cx)
}

/// Answers a request of a client that may ask.
fn serve(call: &Call<'_>, cx: &mut CoapContext<'_>) -> Answer {
    match *call.asked.path {
        [] if call.request.code == Code::GET => Response::content(ContentFormat::TEXT, ROOT).into(),
        [] => Response::new(Code::METHOD_NOT_ALLOWED).into(),
        [b"ps"] => collection::serve(call, cx),
        [b"ps", ref levels @ ..] => with_topic(call, levels, cx),
        [first, id] if first == TOPICS.as_bytes() => configuration::serve(call, id, cx),
        [b".well-known", b"core"] => links::well_known(call, cx),
        [b"mqtt", b"connection"] => connections::serve(call, cx),
        ref path if directory::is_for(path) => {
            let now = cx.now.monotonic;
            let request = Request { caller: call.caller, ..*call.request };
            directory::serve(&cx.shared.coap.directory, path, &request, now).into()
        }
        _ => Response::new(Code::NOT_FOUND).into(),
    }
}

/// Serves a path below `/ps`. The topic is put together in memory that is used again.
fn with_topic(call: &Call<'_>, levels: &[&[u8]], cx: &mut CoapContext<'_>) -> Answer {
    let mut topic = std::mem::take(&mut cx.resources.topic);
    let answer = match topic_path::join(levels.iter().copied(), &mut topic) {
        Ok(Wildcards::None) => topic_data::serve(call, &topic, cx),
        Ok(Wildcards::Some) => changes::serve(call, &topic, cx),
        Err(reason) => Response::diagnostic(Code::BAD_REQUEST, reason).into(),
    };
    cx.resources.topic = topic;
    answer
}

/// What observers of this form and of the rights of `observer` are told of the changes; `None`: nothing. Anything else than
/// a success ends their observation.
pub fn notification(
    form: Form,
    changes: &Changes<'_>,
    observer: &Caller,
    cx: &mut CoapContext<'_>,
) -> Option<Response> {
    let format = match form {
        Form::Map(format) => return changes::notification(format, changes, observer, cx),
        Form::Value(format) => format,
    };
    let (topic, change) = changes.topics.last()?;
    if !cx.shared.vhost.may(&observer.subject(), Action::Receive, topic) {
        return Some(Response::new(Code::FORBIDDEN));
    }
    Some(match change {
        Change::Value(message) => representation::notify(message, format, cx),
        Change::Cleared => Response::new(Code::NOT_FOUND),
    })
}
