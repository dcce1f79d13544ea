//! What is served.

use std::sync::Arc;

use tercet_broker::watch::Change;
use tercet_coap::Code;

use super::answer::Answer;
use super::caller::Caller;
use super::context::CoapContext;
use super::request::Request;
use super::response::Response;

/// What the resources keep for one reactor.
#[derive(Debug, Default)]
pub struct Resources {}

/// What the notifications of an observation look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The value of one topic.
    Value,
}

/// What has changed for the observers of a filter.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// Topics, each with what has become of it.
    pub topics: &'a [(Arc<str>, Change)],
    /// Other topics have changed, too; which is not known.
    pub overflowed: bool,
}

/// Answers a request.
pub fn dispatch(_request: &Request<'_>, _cx: &mut CoapContext<'_>) -> Answer {
    Answer::Now(Response::new(Code::NOT_FOUND))
}

/// What observers of this form and of the rights of `observer` are told of the changes; `None`: nothing. Anything else than
/// a success ends their observation.
pub fn notification(
    form: Form,
    changes: &Changes<'_>,
    observer: &Caller,
    _cx: &mut CoapContext<'_>,
) -> Option<Response> {
    let Form::Value = form;
    let (topic, change) = changes.topics.last()?;
    let _ = (topic, observer);
    Some(match change {
        Change::Value(message) => Response {
            body: super::response::Body::Message(Arc::clone(message)),
            ..Response::new(Code::CONTENT)
        },
        Change::Cleared => Response::new(Code::NOT_FOUND),
    })
}
