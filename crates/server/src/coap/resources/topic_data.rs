//! `/ps/<topic>`: the value of a topic.
//!
//! GET reads what is retained, with Observe it subscribes; PUT publishes and retains, POST publishes; DELETE clears. A topic
//! exists as soon as somebody observes or publishes it.

use std::sync::Arc;
use std::time::Duration;

use tercet_broker::body::Body;
use tercet_broker::crossing::coap::KeptOptions;
use tercet_broker::journal::Position;
use tercet_broker::message::{Message, Properties, Publication, Qos};
use tercet_broker::permission::Action;
use tercet_broker::vhost::observing::PublishedValue;
use tercet_broker::vhost::publishing::Published;
use tercet_coap::Code;

use super::super::answer::{Answer, Later, Lease, Observation};
use super::super::context::{CoapContext, Outcome};
use super::super::request::Request;
use super::super::response::Response;
use super::conditions::Conditions;
use super::representation;
use super::{Call, Form};

/// An observer is asked at least this often whether it still exists (RFC 7641 §4.5).
pub(super) const CHECK_WITHIN: Duration = Duration::from_secs(86_400);
/// Seconds after which a client may try again what the log had no room for.
const RETRY_AFTER: u32 = 5;

/// What goes on with a topic's value at hand.
type Then = fn(&Call<'_>, &str, Option<&Arc<Message>>, &mut CoapContext<'_>) -> Answer;

/// Serves one topic.
pub(super) fn serve(call: &Call<'_>, topic: &str, cx: &mut CoapContext<'_>) -> Answer {
    match call.request.code {
        Code::GET => read(call, topic, cx),
        Code::PUT | Code::POST => publish(call, topic, None, cx),
        Code::DELETE => clear(call, topic, None, cx),
        _ => Response::new(Code::METHOD_NOT_ALLOWED).into(),
    }
}

fn read(call: &Call<'_>, topic: &str, cx: &mut CoapContext<'_>) -> Answer {
    let observes = call.observes();
    let vhost = &cx.shared.vhost;
    let subject = call.caller.subject();
    if !vhost.may(&subject, Action::Receive, topic)
        || (observes && !vhost.may(&subject, Action::Subscribe, topic))
    {
        return forbidden();
    }
    match vhost.retained_value(topic, cx.now) {
        None => show(call, topic, None, cx),
        Some(Body::Memory(message)) => show(call, topic, Some(&message), cx),
        Some(Body::Log(_)) => with_value(call, topic, cx, show),
    }
}

fn show(call: &Call<'_>, topic: &str, value: Option<&Arc<Message>>, cx: &mut CoapContext<'_>) -> Answer {
    let observes = call.observes();
    let value = value.filter(|message| cx.shared.vhost.may_see(&call.caller.subject(), message));
    let configured = cx.shared.coap.resources.topics.of_data(topic);
    let response = match value {
        Some(message) => representation::represent(call, message, cx),
        // There will be something to see; a topic that was configured begins to exist with its first value.
        None if observes && configured.is_none() => Response::new(Code::CONTENT),
        None => return Response::new(Code::NOT_FOUND).into(),
    };
    if !observes || !matches!(response.code, Code::CONTENT | Code::VALID) {
        return response.into();
    }
    let format = call.asked.accept.or(response.content_format);
    let mut observation = Observation {
        filter: Arc::from(topic),
        form: Form::Value(format),
        since: call.since,
        had_value: value.is_some(),
        observer: call.observer(),
        lease: None,
        check_within: CHECK_WITHIN,
    };
    if let Some(configured) = configured {
        // Without a place there is the value, but no observation (draft-ietf-core-coap-pubsub-21 §6.3).
        let Some(lease) = Lease::take(&configured.places) else { return response.into() };
        observation.lease = Some(lease);
        observation.check_within = Duration::from_secs(configured.observer_check().into()).min(CHECK_WITHIN);
    }
    Answer::Observe(response, observation)
}

fn publish(call: &Call<'_>, topic: &str, read: Option<&Arc<Message>>, cx: &mut CoapContext<'_>) -> Answer {
    let query = &call.asked.query;
    let retain = query.retain.unwrap_or(call.request.code == Code::PUT);
    if retain && call.request.payload.is_empty() {
        return Response::diagnostic(Code::BAD_REQUEST, "a value is not empty; DELETE clears it").into();
    }
    let configured = cx.shared.coap.resources.topics.of_data(topic);
    let format = configured.and_then(|configured| configured.properties.content_format);
    if format.is_some() && format != call.asked.content_format {
        return Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).into();
    }
    let kept = KeptOptions::new(call.asked.content_format);
    let publication = Publication {
        topic,
        payload: call.request.payload,
        properties: kept.properties(),
        qos: guarantee(call),
        retain,
        expiry: query.expiry.or(call.asked.max_age),
        publisher: cx.shared.vhost.publisher(),
    };
    put(call, &publication, read, cx, |existed| match retain && !existed {
        true => Code::CREATED,
        false => Code::CHANGED,
    })
}

fn clear(call: &Call<'_>, topic: &str, read: Option<&Arc<Message>>, cx: &mut CoapContext<'_>) -> Answer {
    let publication = Publication {
        topic,
        payload: &[],
        properties: Properties::NONE,
        qos: guarantee(call),
        retain: true,
        expiry: None,
        publisher: cx.shared.vhost.publisher(),
    };
    // Also where there was nothing (RFC 7252 §5.8.4).
    put(call, &publication, read, cx, |_| Code::DELETED)
}

/// What a publication asks for: a client that awaits the answer wants to be sure.
fn guarantee(call: &Call<'_>) -> Qos {
    let by_kind = if call.request.confirmable { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    call.asked.query.qos.unwrap_or(by_kind)
}

/// Publishes if the request's conditions hold, and answers with the code for a topic that had a value before, or had none.
fn put(
    call: &Call<'_>,
    publication: &Publication<'_>,
    read: Option<&Arc<Message>>,
    cx: &mut CoapContext<'_>,
    success: impl FnOnce(bool) -> Code,
) -> Answer {
    let conditions = Conditions::new(call.request.options, read);
    let hold = |value: Option<&_>| conditions.hold(value);
    let vhost = &cx.shared.vhost;
    let conditional = call.asked.is_conditional;
    // What is not retained replaces nothing: the value may change behind this look.
    let met = !conditional
        || publication.retain
        || conditions.hold(vhost.retained_value(publication.topic, cx.now).as_ref());
    let (author, routes) = cx.resources.authors.of(call.caller);
    let condition: Option<&dyn Fn(Option<&_>) -> bool> = if conditional { Some(&hold) } else { None };
    let published = match met {
        true => vhost.publish_as(&author, routes, publication, condition, cx.now, cx.effects),
        false => PublishedValue::Unmet,
    };
    match published {
        PublishedValue::Unmet if conditions.need_value() => {
            let again = if call.request.code == Code::DELETE { clear } else { publish };
            with_value(call, publication.topic, cx, again)
        }
        PublishedValue::Unmet => Response::new(Code::PRECONDITION_FAILED).into(),
        PublishedValue::Done { published, existed } => match published {
            Published::Routed { position, .. } => after_log(position, Response::new(success(existed))),
            Published::Denied => forbidden(),
            Published::NoRoom => unavailable("the log takes nothing now"),
            Published::NotRetained { .. } => unavailable("as many values are retained as may be"),
        },
    }
}

/// Goes on when the value of a topic has been read from the log.
fn with_value(call: &Call<'_>, topic: &str, cx: &mut CoapContext<'_>, then: Then) -> Answer {
    let ticket = cx.ticket();
    let (topic, caller, since): (Arc<str>, _, _) = (Arc::from(topic), call.caller.clone(), call.since);
    cx.shared.vhost.fetch_values(vec![Arc::clone(&topic)], ticket.for_values());
    let then = move |outcome: Outcome, request: &Request<'_>, cx: &mut CoapContext<'_>| {
        let Outcome::Values(values) = outcome else {
            return unavailable("the value could not be read in time");
        };
        let value = match values.into_iter().next() {
            Some((_, Ok(value))) => value,
            _ => return Response::diagnostic(Code::INTERNAL_SERVER_ERROR, "the value cannot be read").into(),
        };
        match Call::new(request, &caller, since) {
            Ok(call) => then(&call, &topic, value.as_ref(), cx),
            Err(response) => response.into(),
        }
    };
    Answer::Later(Later { ticket, then: Box::new(then) })
}

/// The answer when the log has what a request has changed.
pub(super) fn after_log(position: Position, response: Response) -> Answer {
    if position == Position::NONE { response.into() } else { Answer::AfterLog(position, response) }
}

pub(super) fn forbidden() -> Answer {
    Response::new(Code::FORBIDDEN).into()
}

pub(super) fn unavailable(reason: &'static str) -> Answer {
    Response::diagnostic(Code::SERVICE_UNAVAILABLE, reason).fresh_for(RETRY_AFTER).into()
}
