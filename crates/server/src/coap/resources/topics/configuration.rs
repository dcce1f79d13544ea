//! `/topics/<id>`: the configuration of one topic (draft-ietf-core-coap-pubsub-21 §5).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tercet_broker::clock::Now;
use tercet_broker::crossing::coap::KeptOptions;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_broker::message::{self, Publication, Qos};
use tercet_broker::permission::Action;
use tercet_coap::{Code, ContentFormat};

use super::properties::{Properties, TOPIC_DATA, decode_keys};
use super::table::Topic;
use crate::coap::answer::Answer;
use crate::coap::context::CoapContext;
use crate::coap::resources::Call;
use crate::coap::resources::topic_data::{after_log, forbidden};
use crate::coap::response::Response;
use crate::shared::Shared;

/// Serves the configuration with this id.
pub(in crate::coap::resources) fn serve(call: &Call<'_>, id: &[u8], cx: &mut CoapContext<'_>) -> Answer {
    let topic = std::str::from_utf8(id).ok().and_then(|id| cx.shared.coap.resources.topics.get(id));
    let Some(topic) = topic else { return Response::new(Code::NOT_FOUND).into() };
    let subject = call.caller.subject();
    let may = |action| cx.shared.vhost.may(&subject, action, &topic.data);
    let reads = matches!(call.request.code, Code::GET | Code::FETCH);
    if !(may(Action::Publish) || reads && may(Action::Receive)) {
        return forbidden();
    }
    match call.request.code {
        Code::GET => match call.asked.accept {
            None | Some(ContentFormat::CORE_PUBSUB) => show(&topic.properties, Code::CONTENT).into(),
            Some(_) => Response::new(Code::NOT_ACCEPTABLE).into(),
        },
        Code::FETCH => fetch(call, &topic),
        Code::POST => change(call, &topic, replaced, cx),
        Code::IPATCH => change(call, &topic, patched, cx),
        Code::DELETE => delete(&topic, cx),
        _ => Response::new(Code::METHOD_NOT_ALLOWED).into(),
    }
}

/// A response that shows properties.
pub(super) fn show(properties: &Properties, code: Code) -> Response {
    Response { code, ..Response::content(ContentFormat::CORE_PUBSUB, properties.encode()) }
}

/// What a client is told of a payload that does not do.
pub(super) fn rejected(reason: &'static str) -> Response {
    Response::diagnostic(Code::BAD_REQUEST, reason)
}

/// The properties in the payload of a request. The number of their format awaits its registration; they are CBOR in any case.
pub(super) fn properties(call: &Call<'_>) -> Result<Properties, Response> {
    match call.asked.content_format {
        Some(ContentFormat::CORE_PUBSUB | ContentFormat::CBOR) => {}
        _ => return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT)),
    }
    Properties::decode(call.request.payload).map_err(|reason| rejected(reason.0))
}

/// What is the same for new and changed topics.
pub(super) fn check(properties: &Properties, utc_ms: u64) -> Result<(), &'static str> {
    match properties.expires_ms {
        Some(at) if at <= utc_ms => Err("expiration-date has passed"),
        _ => Ok(()),
    }
}

/// An id; that it is not taken is looked at when it is given.
pub(super) fn fresh_id() -> String {
    const BITS: u64 = (1 << 48) - 1;
    format!("{:012x}", RandomState::new().hash_one(()) & BITS)
}

fn fetch(call: &Call<'_>, topic: &Topic) -> Answer {
    if call.asked.content_format != Some(ContentFormat::CBOR) {
        return Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).into();
    }
    match decode_keys(call.request.payload) {
        Ok(keys) => show(&topic.properties.only(&keys), Code::CONTENT).into(),
        Err(reason) => rejected(reason.0).into(),
    }
}

/// Puts other properties in force: what `make` makes of the present ones and those of the payload.
fn change(
    call: &Call<'_>,
    topic: &Topic,
    make: fn(&Properties, Properties) -> Properties,
    cx: &mut CoapContext<'_>,
) -> Answer {
    let given = match properties(call) {
        Ok(given) => given,
        Err(response) => return response.into(),
    };
    let present = &topic.properties;
    let differs = |given: &Option<String>, present: &Option<String>| given.is_some() && given != present;
    if differs(&given.name, &present.name)
        || differs(&given.data, &present.data)
        || given.resource_type.as_deref().is_some_and(|kind| kind != TOPIC_DATA)
    {
        return rejected("topic-name, topic-data and resource-type do not change").into();
    }
    if given.initialize.is_some() {
        return rejected("initialize is for topics that do not exist yet").into();
    }
    if let Err(reason) = check(&given, cx.now.utc_ms) {
        return rejected(reason).into();
    }
    let changed = cx.shared.coap.resources.topics.change(&topic.id, |present| make(present, given));
    let Ok((topic, position)) = changed else { return Response::new(Code::NOT_FOUND).into() };
    if topic.places.are_overfull() {
        cx.shared.vhost.wake_watches(&topic.data, cx.effects);
    }
    after_log(position, show(&topic.properties, Code::CHANGED))
}

/// What is not given has its default.
fn replaced(present: &Properties, given: Properties) -> Properties {
    Properties {
        name: present.name.clone(),
        data: present.data.clone(),
        resource_type: present.resource_type.clone(),
        ..given
    }
}

/// What is not given stays.
fn patched(present: &Properties, given: Properties) -> Properties {
    let present = present.clone();
    Properties {
        content_format: given.content_format.or(present.content_format),
        topic_type: given.topic_type.or(present.topic_type),
        expires_ms: given.expires_ms.or(present.expires_ms),
        max_subscribers: given.max_subscribers.or(present.max_subscribers),
        observer_check: given.observer_check.or(present.observer_check),
        ..present
    }
}

fn delete(topic: &Topic, cx: &mut CoapContext<'_>) -> Answer {
    match end(topic, cx.shared, cx.now, cx.effects) {
        Some(position) => after_log(position, Response::new(Code::DELETED)),
        None => Response::new(Code::NOT_FOUND).into(),
    }
}

/// Takes a topic away with its data. An answer waits for the position. `None` if it has gone meanwhile.
fn end(topic: &Topic, shared: &Shared, now: Now, effects: &mut Effects) -> Option<Position> {
    shared.coap.resources.topics.remove(&topic.id)?;
    let cleared = Publication {
        topic: &topic.data,
        payload: &[],
        properties: message::Properties::NONE,
        qos: Qos::AtLeastOnce,
        retain: true,
        expiry: None,
        publisher: shared.vhost.publisher(),
    };
    // Its observers are told so.
    shared.vhost.publish_own(&cleared, now, effects);
    Some(shared.vhost.recorded())
}

/// Ends the topics whose time is over. To be called every now and then.
pub(crate) fn expire(shared: &Shared, now: Now, effects: &mut Effects) {
    for topic in shared.coap.resources.topics.expired(now.utc_ms) {
        end(&topic, shared, now, effects);
    }
}

/// Gives a topic its first value. Returns what an answer waits for.
pub(super) fn initialize(
    topic: &Arc<Topic>,
    value: &[u8],
    qos: Qos,
    call: &Call<'_>,
    cx: &mut CoapContext<'_>,
) -> Position {
    let kept = KeptOptions::new(topic.properties.content_format);
    let publication = Publication {
        topic: &topic.data,
        payload: value,
        properties: kept.properties(),
        qos,
        retain: true,
        expiry: None,
        publisher: cx.shared.vhost.publisher(),
    };
    let (author, routes) = cx.resources.authors.of(call.caller);
    let published = cx.shared.vhost.publish_as(&author, routes, &publication, None, cx.now, cx.effects);
    published.position()
}
