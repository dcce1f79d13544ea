//! `/ps/<filter>` and the observed `/ps`: many topics as one map.
//!
//! A reader gets the topics that have values, an observer those that have changed since. The map is CBOR, from topics to
//! payloads: text where the payload is text, an encoded item (tag 24) where it is CBOR, bytes otherwise, null for a topic that
//! was cleared; or SenML, where a payload that is a number or a truth is one.

use std::convert::Infallible;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use minicbor::Encoder;
use minicbor::data::IanaTag;
use tercet_broker::body::Body;
use tercet_broker::crossing::coap::content_format;
use tercet_broker::message::Message;
use tercet_broker::permission::Action;
use tercet_coap::senml::{Pack, Record, Value};
use tercet_coap::{Code, ContentFormat};

use super::topic_data::{CHECK_WITHIN, forbidden, unavailable};
use super::{Call, Change, Changes, Form};
use crate::coap::answer::{Answer, Later, Observation};
use crate::coap::caller::Caller;
use crate::coap::context::{CoapContext, Outcome};
use crate::coap::request::Request;
use crate::coap::response::Response;

/// Topics in one map: more than a watch keeps changes of.
const MOST_TOPICS: usize = 4096;
/// Bytes of payloads in one map, about.
const MOST_BYTES: usize = 256 * 1024;

/// What a map is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapFormat {
    /// A map in CBOR.
    Cbor,
    /// SenML in JSON.
    SenmlJson,
    /// SenML in CBOR.
    SenmlCbor,
}

impl MapFormat {
    /// The one that a client accepts.
    fn accepted(accept: Option<ContentFormat>) -> Option<Self> {
        match accept {
            None | Some(ContentFormat::CBOR) => Some(Self::Cbor),
            Some(ContentFormat::SENML_JSON) => Some(Self::SenmlJson),
            Some(ContentFormat::SENML_CBOR) => Some(Self::SenmlCbor),
            Some(_) => None,
        }
    }

    fn content_format(self) -> ContentFormat {
        match self {
            Self::Cbor => ContentFormat::CBOR,
            Self::SenmlJson => ContentFormat::SENML_JSON,
            Self::SenmlCbor => ContentFormat::SENML_CBOR,
        }
    }

    /// Writes a map.
    fn write(self, entries: &[Entry]) -> Vec<u8> {
        match self {
            Self::Cbor => {
                let mut out = Vec::new();
                // Writing to a vector cannot fail.
                let _ = write_cbor(entries, &mut Encoder::new(&mut out));
                out
            }
            Self::SenmlJson => senml(entries).to_json().into_bytes(),
            Self::SenmlCbor => senml(entries).to_cbor(),
        }
    }
}

/// A topic with its message; `None` if it was cleared.
type Entry = (Arc<str>, Option<Arc<Message>>);

/// Values that were read from the log.
type Read = HashMap<Arc<str>, Arc<Message>>;

/// Serves a filter.
pub(super) fn serve(call: &Call<'_>, filter: &str, cx: &mut CoapContext<'_>) -> Answer {
    match call.request.code {
        Code::GET => {}
        Code::PUT | Code::POST | Code::DELETE => {
            return Response::diagnostic(Code::BAD_REQUEST, "a topic that is published has no wildcards")
                .into();
        }
        _ => return Response::new(Code::METHOD_NOT_ALLOWED).into(),
    }
    if !cx.shared.vhost.may(&call.caller.subject(), Action::Subscribe, filter) {
        return forbidden();
    }
    match MapFormat::accepted(call.asked.accept) {
        Some(format) => read(call, filter, format, &Read::default(), cx),
        None => Response::new(Code::NOT_ACCEPTABLE).into(),
    }
}

/// Answers with the values that there are. Those that are only in the log are read first.
fn read(call: &Call<'_>, filter: &str, format: MapFormat, read: &Read, cx: &mut CoapContext<'_>) -> Answer {
    let page = cx.shared.vhost.retained_page(filter, None, MOST_TOPICS);
    let mut entries = Entries::new(call.caller);
    let mut cold = Vec::new();
    for (topic, body) in page.values {
        match body {
            Body::Memory(message) => entries.add(topic, Some(message), cx),
            Body::Log(_) => match read.get(&topic) {
                Some(message) => entries.add(topic, Some(Arc::clone(message)), cx),
                None => cold.push(topic),
            },
        }
    }
    // What has gone to the log since the first look is left out.
    if !cold.is_empty() && read.is_empty() {
        return with_values(call, filter, format, cold, cx);
    }
    let response = Response::content(format.content_format(), format.write(&entries.all));
    match call.observes() {
        false => response.into(),
        true => Answer::Observe(
            response,
            Observation {
                filter: Arc::from(filter),
                form: Form::Map(format),
                since: call.since,
                had_value: false,
                observer: call.observer(),
                lease: None,
                check_within: CHECK_WITHIN,
            },
        ),
    }
}

fn with_values(
    call: &Call<'_>,
    filter: &str,
    format: MapFormat,
    cold: Vec<Arc<str>>,
    cx: &mut CoapContext<'_>,
) -> Answer {
    let ticket = cx.ticket();
    cx.shared.vhost.fetch_values(cold, ticket.for_values());
    let (filter, caller, since) = (filter.to_owned(), call.caller.clone(), call.since);
    let then = move |outcome: Outcome, request: &Request<'_>, cx: &mut CoapContext<'_>| {
        let Outcome::Values(values) = outcome else {
            return unavailable("the values could not be read in time");
        };
        let found = values.into_iter().filter_map(|(topic, value)| Some((topic, value.ok()??))).collect();
        match Call::new(request, &caller, since) {
            Ok(call) => read(&call, &filter, format, &found, cx),
            Err(response) => response.into(),
        }
    };
    Answer::Later(Later { ticket, then: Box::new(then) })
}

/// What observers with the rights of `observer` are told; `None`: nothing.
pub(super) fn notification(
    format: MapFormat,
    changes: &Changes<'_>,
    observer: &Caller,
    cx: &mut CoapContext<'_>,
) -> Option<Response> {
    let mut entries = Entries::new(observer);
    for (topic, change) in changes.topics {
        match change {
            Change::Value(message) => entries.add(Arc::clone(topic), Some(Arc::clone(message)), cx),
            Change::Cleared => entries.add(Arc::clone(topic), None, cx),
        }
    }
    if changes.overflowed {
        // What else has changed is not known: everything is told, as far as it is at hand.
        let told: HashSet<&Arc<str>> = changes.topics.iter().map(|(topic, _)| topic).collect();
        for (topic, body) in cx.shared.vhost.retained_page(changes.filter, None, MOST_TOPICS).values {
            if let Body::Memory(message) = body
                && !told.contains(&topic)
            {
                entries.add(topic, Some(message), cx);
            }
        }
    }
    let all = entries.all;
    (!all.is_empty()).then(|| Response::content(format.content_format(), format.write(&all)))
}

/// The topics of a map, as far as somebody may see them.
struct Entries<'a> {
    observer: &'a Caller,
    all: Vec<Entry>,
    bytes: usize,
}

impl<'a> Entries<'a> {
    fn new(observer: &'a Caller) -> Self {
        Self { observer, all: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, topic: Arc<str>, message: Option<Arc<Message>>, cx: &CoapContext<'_>) {
        let subject = self.observer.subject();
        let vhost = &cx.shared.vhost;
        let visible = match &message {
            Some(message) => vhost.may_see(&subject, message) && !message.is_expired(cx.now),
            None => vhost.may(&subject, Action::Receive, &topic),
        };
        if visible && self.all.len() < MOST_TOPICS && self.bytes < MOST_BYTES {
            self.bytes += topic.len() + message.as_ref().map_or(1, |message| message.payload.len());
            self.all.push((topic, message));
        }
    }
}

fn write_cbor(
    entries: &[Entry],
    encoder: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), minicbor::encode::Error<Infallible>> {
    encoder.map(entries.len() as u64)?;
    for (topic, message) in entries {
        encoder.str(topic)?;
        match message {
            None => encoder.null()?,
            Some(message) => {
                let format = content_format(message.properties()).0;
                match (format, std::str::from_utf8(&message.payload)) {
                    (Some(ContentFormat::CBOR), _) => encoder.tag(IanaTag::Cbor)?.bytes(&message.payload)?,
                    (None, Ok(text)) => encoder.str(text)?,
                    (Some(format), Ok(text)) if format.is_text() => encoder.str(text)?,
                    _ => encoder.bytes(&message.payload)?,
                }
            }
        };
    }
    Ok(())
}

/// SenML has names of some characters only (RFC 8428 §4.5.1), and no word for a value that is gone: such topics are left out.
fn senml(entries: &[Entry]) -> Pack {
    let records = entries.iter().filter(|(topic, _)| is_name(topic)).filter_map(|(topic, message)| {
        let message = message.as_ref()?;
        let mut record = Record::new(topic, measured(&message.payload));
        record.time = Some(message.ingress_ms as f64 / 1000.0);
        Some(record)
    });
    Pack { records: records.collect() }
}

fn is_name(topic: &str) -> bool {
    topic.starts_with(|first: char| first.is_ascii_alphanumeric())
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:./_".contains(&byte))
}

/// A payload as a value of SenML.
fn measured(payload: &[u8]) -> Value {
    let Ok(text) = std::str::from_utf8(payload) else { return Value::Data(payload.to_vec()) };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit());
    match (text, text.parse::<f64>()) {
        ("true", _) => Value::Bool(true),
        ("false", _) => Value::Bool(false),
        (_, Ok(number)) if is_number && number.is_finite() => Value::Number(number),
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_broker::clock::Now;
    use tercet_broker::crossing::coap::KeptOptions;
    use tercet_broker::message::{Publication, Qos};
    use tercet_broker::session::SessionId;

    fn entry(topic: &str, format: Option<u16>, payload: Option<&[u8]>) -> Entry {
        let kept = KeptOptions::new(format.map(ContentFormat));
        let message = payload.map(|payload| {
            let publication = Publication {
                topic,
                payload,
                properties: kept.properties(),
                qos: Qos::AtMostOnce,
                retain: true,
                expiry: None,
                publisher: SessionId(1),
            };
            let now = Now { utc_ms: 1_500, ..Now::read() };
            Arc::new(Message::from_publication(&publication, topic.into(), now))
        });
        (topic.into(), message)
    }

    #[test]
    fn a_map_in_cbor_says_what_a_payload_is() {
        for (entry, value) in [
            (entry("a", None, Some(b"21")), &b"\x6221"[..]),
            (entry("a", Some(0), Some(b"21")), b"\x6221"),
            (entry("a", Some(0), Some(b"\xff")), b"\x41\xff"),
            (entry("a", Some(42), Some(b"21")), b"\x4221"),
            (entry("a", Some(60), Some(b"\x01")), b"\xd8\x18\x41\x01"),
            (entry("a", None, None), b"\xf6"),
        ] {
            let written = MapFormat::Cbor.write(std::slice::from_ref(&entry));
            assert_eq!(written, [b"\xa1\x61a", value].concat(), "{entry:?}");
        }
        assert_eq!(MapFormat::Cbor.write(&[]), b"\xa0");
    }

    #[test]
    fn a_map_in_senml_has_numbers_and_truths() {
        let entries = [
            entry("a/t", None, Some(b"-21.5")),
            entry("a/on", None, Some(b"true")),
            entry("a/text", None, Some(b"inf")),
            entry("a/gone", None, None),
            entry("with space", None, Some(b"1")),
        ];
        let pack = senml(&entries);
        let values: Vec<_> =
            pack.records.iter().map(|record| (record.name.as_deref(), record.value.clone())).collect();
        assert_eq!(
            values,
            [
                (Some("a/t"), Some(Value::Number(-21.5))),
                (Some("a/on"), Some(Value::Bool(true))),
                (Some("a/text"), Some(Value::Text("inf".into()))),
            ]
        );
        assert_eq!(pack.records[0].time, Some(1.5));
        assert_eq!(Pack::from_cbor(&MapFormat::SenmlCbor.write(&entries), 10), Ok(pack));
        assert_eq!(MapFormat::SenmlJson.write(&[]), b"[]");
    }

    #[test]
    fn a_format_that_is_no_map_is_not_accepted() {
        for (accept, expected) in [
            (None, Some(MapFormat::Cbor)),
            (Some(60), Some(MapFormat::Cbor)),
            (Some(110), Some(MapFormat::SenmlJson)),
            (Some(112), Some(MapFormat::SenmlCbor)),
            (Some(50), None),
        ] {
            assert_eq!(MapFormat::accepted(accept.map(ContentFormat)), expected);
        }
    }
}
