//! What a record says, as fields with names: the broker's records, read by the broker's own codec.

use serde_json::{Value, json};
use tercet_broker::body::{Body, Stored};
use tercet_broker::hosts::VhostId;
use tercet_broker::message::Message;
use tercet_broker::record::checkpoint_record::{CheckpointRecord, Owner};
use tercet_broker::record::{
    BindingRecord, Decoded, DefinitionRecord, DuplicateRecord, ExchangeRecord, GroupRecord, HostRecord,
    OwnedRecord, QueueRecord, RecordKind, RetainedRecord, SessionRecord, SettleReason, codec, message_record,
};
use tercet_log::position::{Place, Position};
use tercet_log::record::RawRecord;

use super::named_record::{
    binding_fields, declaration_fields, exchange_fields, named_queue_fields, scope_field,
};
use crate::pubsub::base64;

/// A record in words.
pub(super) struct Described {
    /// What it is.
    pub(super) kind: &'static str,
    /// What it says, in the order in which it is shown.
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Why it cannot be read, if so.
    pub(super) problem: Option<String>,
}

impl Described {
    fn new(kind: &'static str, fields: Vec<(&'static str, Value)>) -> Self {
        Self { kind, fields, problem: None }
    }

    /// What it says under this name.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    fn unreadable(kind: &'static str, raw: &RawRecord<'_>, problem: String) -> Self {
        let fields = vec![
            ("number", raw.header.kind.into()),
            ("version", raw.header.version.into()),
            ("bytes", raw.encoded_len().into()),
        ];
        Self { kind, fields, problem: Some(problem) }
    }
}

/// Every kind of record in the log, as it is named on the command line.
pub(super) const KINDS: [(RecordKind, &str); 34] = [
    (RecordKind::SessionOpened, "session-opened"),
    (RecordKind::SessionEnded, "session-ended"),
    (RecordKind::Subscribed, "subscribed"),
    (RecordKind::Unsubscribed, "unsubscribed"),
    (RecordKind::Received, "received"),
    (RecordKind::Completed, "completed"),
    (RecordKind::WillChanged, "will-changed"),
    (RecordKind::Offline, "offline"),
    (RecordKind::Replayed, "replayed"),
    (RecordKind::Enqueued, "enqueued"),
    (RecordKind::Settled, "settled"),
    (RecordKind::Released, "released"),
    (RecordKind::GroupOpened, "group-opened"),
    (RecordKind::GroupEnded, "group-ended"),
    (RecordKind::RetainedSet, "retained-set"),
    (RecordKind::RetainedCleared, "retained-cleared"),
    (RecordKind::Message, "message"),
    (RecordKind::HostCreated, "host-created"),
    (RecordKind::HostDeleted, "host-deleted"),
    (RecordKind::QueueDeclared, "queue-declared"),
    (RecordKind::QueueDeleted, "queue-deleted"),
    (RecordKind::QueueEnqueued, "queue-enqueued"),
    (RecordKind::QueueSettled, "queue-settled"),
    (RecordKind::QueueSettledRun, "queue-settled-run"),
    (RecordKind::QueueReturned, "queue-returned"),
    (RecordKind::QueuePaused, "queue-paused"),
    (RecordKind::ExchangeDeclared, "exchange-declared"),
    (RecordKind::ExchangeDeleted, "exchange-deleted"),
    (RecordKind::Bound, "bound"),
    (RecordKind::Unbound, "unbound"),
    (RecordKind::DefinitionPut, "definition-put"),
    (RecordKind::DefinitionRemoved, "definition-removed"),
    (RecordKind::DuplicateRemembered, "duplicate-remembered"),
    (RecordKind::DuplicateForgotten, "duplicate-forgotten"),
];

/// Kinds of record in a checkpoint.
pub(super) const CHECKPOINT_KINDS: [&str; 10] = [
    "checkpoint-begin",
    "session",
    "group",
    "queue",
    "retained",
    "named-queue",
    "topology",
    "definitions",
    "duplicates",
    "checkpoint-end",
];

/// The name of a record in the log, by its number alone.
pub(super) fn kind_name(number: u8) -> &'static str {
    KINDS.iter().find(|(kind, _)| *kind as u8 == number).map_or("unknown", |(_, name)| name)
}

/// A record of the batch at `batch`, with at most `limit` bytes of payload.
pub(super) fn describe(raw: &RawRecord<'_>, batch: Position, limit: usize) -> Described {
    let kind = kind_name(raw.header.kind);
    match codec::read(raw, batch) {
        Ok(Decoded::Change(host, record)) => Described::new(kind, in_host(host, change(&record))),
        Ok(Decoded::Message(host, _)) => match message_record::read_body(raw.body) {
            Ok(message) => Described::new(kind, in_host(host, message_fields(&message, limit))),
            Err(error) => Described::unreadable(kind, raw, error.to_string()),
        },
        Ok(Decoded::Skipped) => {
            Described { problem: None, ..Described::unreadable("unknown", raw, String::new()) }
        }
        Err(error) => Described::unreadable(kind, raw, error.to_string()),
    }
}

/// The virtual host goes first, unless it is the one that always exists.
fn in_host(host: VhostId, mut fields: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    if host != VhostId::DEFAULT {
        fields.insert(0, ("vhost", json!(host.0)));
    }
    fields
}

fn change(record: &OwnedRecord) -> Vec<(&'static str, Value)> {
    match record {
        OwnedRecord::Session(id, record) => {
            let mut fields = vec![("session", json!(id.0))];
            fields.extend(session_fields(record));
            fields
        }
        OwnedRecord::Group(id, record) => {
            let mut fields = vec![("group", json!(id.0))];
            match record {
                GroupRecord::Opened { name, filter } => {
                    fields.extend([("name", json!(**name)), ("filter", json!(**filter))]);
                }
                GroupRecord::Ended => {}
                GroupRecord::Queue(record) => fields.extend(queue_fields(record)),
            }
            fields
        }
        OwnedRecord::Retained(RetainedRecord::Set { topic, body, expires_at_ms }) => {
            let mut fields = vec![("topic", json!(**topic))];
            if let Some(at) = expires_at_ms {
                fields.push(("expires", time(at.get())));
            }
            fields.extend(stored_fields(body));
            fields
        }
        OwnedRecord::Retained(RetainedRecord::Cleared(topic)) => vec![("topic", json!(**topic))],
        OwnedRecord::NamedQueue(id, record) => {
            let mut fields = vec![("queue", json!(id.0))];
            fields.extend(named_queue_fields(record));
            fields
        }
        OwnedRecord::Exchange(ExchangeRecord::Declared(declared)) => exchange_fields(declared),
        OwnedRecord::Exchange(ExchangeRecord::Deleted { name }) => vec![("name", json!(**name))],
        OwnedRecord::Binding(BindingRecord::Bound(binding) | BindingRecord::Unbound(binding)) => {
            binding_fields(binding)
        }
        OwnedRecord::Definition(DefinitionRecord::Put { class, key, value }) => {
            vec![("class", json!(class)), ("key", json!(**key)), ("value-bytes", json!(value.len()))]
        }
        OwnedRecord::Definition(DefinitionRecord::Removed { class, key }) => {
            vec![("class", json!(class)), ("key", json!(**key))]
        }
        OwnedRecord::Duplicate(DuplicateRecord::Remembered { scope, key, expires_ms }) => {
            let mut fields = vec![scope_field(scope), ("key", json!(**key))];
            fields.extend(expires_ms.map(|at| ("expires", time(at.get()))));
            fields
        }
        OwnedRecord::Duplicate(DuplicateRecord::Forgotten { scope, key }) => {
            vec![scope_field(scope), ("key", json!(**key))]
        }
        OwnedRecord::Host(HostRecord::Created { name }) => vec![("name", json!(**name))],
        OwnedRecord::Host(HostRecord::Deleted) => Vec::new(),
    }
}

pub(super) fn reason_in_words(reason: SettleReason) -> Value {
    json!(format!("{reason:?}").to_lowercase())
}

fn session_fields(record: &SessionRecord) -> Vec<(&'static str, Value)> {
    match record {
        SessionRecord::Opened { client_id, user, expiry } => {
            let mut fields = vec![("client", json!(**client_id))];
            if let Some(user) = user {
                fields.push(("user", json!(**user)));
            }
            fields.push(("expiry", json!(expiry)));
            fields
        }
        SessionRecord::Ended | SessionRecord::WillChanged(None) => Vec::new(),
        SessionRecord::Subscribed { filter, options, .. } => {
            let mut fields = vec![("filter", json!(**filter)), ("qos", json!(options.qos as u8))];
            if options.no_local {
                fields.push(("no-local", json!(true)));
            }
            if options.retain_as_published {
                fields.push(("retain-as-published", json!(true)));
            }
            if let Some(id) = options.id {
                fields.push(("id", json!(id)));
            }
            fields
        }
        SessionRecord::Replayed { filter } | SessionRecord::Unsubscribed { filter } => {
            vec![("filter", json!(**filter))]
        }
        SessionRecord::Received(id) | SessionRecord::Completed(id) => vec![("packet", json!(id))],
        SessionRecord::WillChanged(Some(will)) => {
            vec![
                ("topic", json!(*will.topic)),
                ("qos", json!(will.qos as u8)),
                ("delay", json!(will.delay)),
                ("payload-bytes", json!(will.payload.len())),
            ]
        }
        SessionRecord::Offline { at_ms, expiry } => vec![("at", time(*at_ms)), ("expiry", json!(expiry))],
        SessionRecord::Queue(record) => queue_fields(record),
    }
}

fn queue_fields(record: &QueueRecord) -> Vec<(&'static str, Value)> {
    match record {
        QueueRecord::Enqueued { sequence, from, entry } => {
            let mut fields = vec![("sequence", json!(sequence)), ("qos", json!(entry.qos as u8))];
            if entry.retain {
                fields.push(("retain", json!(true)));
            }
            if !entry.ids.as_slice().is_empty() {
                fields.push(("ids", json!(entry.ids.as_slice())));
            }
            if let Some((group, sequence)) = from {
                fields.extend([("from-group", json!(group.0)), ("from-sequence", json!(sequence))]);
            }
            fields.extend(stored_fields(&entry.body));
            fields
        }
        QueueRecord::Settled { sequence, reason } => {
            vec![("sequence", json!(sequence)), ("reason", reason_in_words(*reason))]
        }
        QueueRecord::Released { sequence } => vec![("sequence", json!(sequence))],
    }
}

pub(super) fn stored_fields(body: &Body) -> Vec<(&'static str, Value)> {
    body.stored().map_or_else(Vec::new, |stored| stored_place(&stored))
}

fn stored_place(stored: &Stored) -> Vec<(&'static str, Value)> {
    vec![("message", place(stored.place())), ("bytes", json!(stored.len))]
}

fn message_fields(message: &Message, limit: usize) -> Vec<(&'static str, Value)> {
    let mut fields = match &message.exchange {
        Some(exchange) => vec![("exchange", json!(**exchange)), ("key", json!(*message.topic))],
        None => vec![("topic", json!(*message.topic))],
    };
    fields.extend([
        ("qos", json!(message.qos as u8)),
        ("publisher", json!(message.publisher.0)),
        ("at", time(message.ingress_ms)),
    ]);
    if message.retain {
        fields.push(("retain", json!(true)));
    }
    if let Some(at) = message.expires_at_ms {
        fields.push(("expires", time(at.get())));
    }
    if let Some(author) = &message.author {
        fields.push(("author", json!(*author.client_id)));
    }
    fields.push(("payload-bytes", json!(message.payload.len())));
    let shown = message.payload.get(..limit).unwrap_or(&message.payload);
    match text(shown, message.payload.len()) {
        Some(text) => fields.push(("payload", json!(text))),
        None => fields.push(("payload-base64", json!(base64(shown)))),
    }
    fields
}

/// The beginning of a payload of `whole` bytes, if it is text; a character that was cut in two is left out.
fn text(shown: &[u8], whole: usize) -> Option<&str> {
    match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && shown.len() < whole => {
            std::str::from_utf8(shown.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

/// A record of a checkpoint.
pub(super) fn describe_checkpoint(raw: &RawRecord<'_>) -> Described {
    let (host, record) = match CheckpointRecord::read(raw) {
        Ok(read) => read,
        Err(error) => return Described::unreadable("unknown", raw, error.to_string()),
    };
    let described = describe_image(raw, record);
    Described { fields: in_host(host, described.fields), ..described }
}

fn describe_image(raw: &RawRecord<'_>, record: CheckpointRecord) -> Described {
    match record {
        CheckpointRecord::Begin(begin) => Described::new(
            "checkpoint-begin",
            vec![
                ("name", json!(*begin.name)),
                ("next-session", json!(begin.next_session)),
                ("next-group", json!(begin.next_group)),
                ("next-queue", json!(begin.next_queue)),
                ("next-vhost", json!(begin.next_host)),
                ("cut", place(begin.cut)),
            ],
        ),
        CheckpointRecord::Session(image) => {
            let filters: Vec<_> = image.subscriptions.iter().map(|(filter, ..)| &**filter).collect();
            let mut fields = vec![("session", json!(image.id.0)), ("client", json!(*image.client_id))];
            if let Some(user) = &image.user {
                fields.push(("user", json!(**user)));
            }
            fields.extend([("expiry", json!(image.expiry)), ("filters", json!(filters))]);
            if !image.received.is_empty() {
                fields.push(("received", json!(image.received)));
            }
            if let Some(will) = &image.will {
                fields.push(("will", json!(*will.topic)));
            }
            if image.offline_at_ms > 0 {
                fields.push(("offline", time(image.offline_at_ms)));
            }
            fields.push(("cut", place(image.cut)));
            Described::new("session", fields)
        }
        CheckpointRecord::Group(image) => Described::new(
            "group",
            vec![
                ("group", json!(image.id.0)),
                ("name", json!(*image.name)),
                ("filter", json!(*image.filter)),
                ("cut", place(image.cut)),
            ],
        ),
        CheckpointRecord::Slice(slice) => {
            let owner = match slice.owner {
                Owner::Session(id) => ("session", json!(id.0)),
                Owner::Group(id) => ("group", json!(id.0)),
                Owner::Queue(id) => ("named-queue", json!(id.0)),
            };
            let mut fields = vec![owner, ("entries", json!(slice.entries.len()))];
            if let [first, .., last] | [first @ last] = &slice.entries[..] {
                fields.extend([("first", json!(first.sequence)), ("last", json!(last.sequence))]);
            }
            fields.push(("cut", place(slice.cut)));
            Described::new("queue", fields)
        }
        CheckpointRecord::Retained(slice) => {
            let topics: Vec<_> = slice.values.iter().map(|(topic, ..)| &**topic).collect();
            Described::new(
                "retained",
                vec![("values", json!(topics.len())), ("topics", json!(topics)), ("cut", place(slice.cut))],
            )
        }
        CheckpointRecord::NamedQueue(image) => {
            let mut fields = vec![("queue", json!(image.id.0))];
            fields.extend(declaration_fields(&image.declaration));
            if image.paused {
                fields.push(("paused", json!(true)));
            }
            fields.extend([("next-sequence", json!(image.next_sequence)), ("cut", place(image.cut))]);
            Described::new("named-queue", fields)
        }
        CheckpointRecord::Topology(image) => {
            let names: Vec<_> = image.exchanges.iter().map(|exchange| &*exchange.name).collect();
            let bindings = image.bindings.len();
            let fields =
                vec![("exchanges", json!(names)), ("bindings", json!(bindings)), ("cut", place(image.cut))];
            Described::new("topology", fields)
        }
        CheckpointRecord::Definitions(slice) => {
            let rows = slice.rows.iter().map(|((class, key), _)| json!([class, **key]));
            let rows: Vec<_> = rows.collect();
            Described::new("definitions", vec![("definitions", json!(rows)), ("cut", place(slice.cut))])
        }
        CheckpointRecord::Duplicates(slice) => {
            Described::new("duplicates", vec![("keys", json!(slice.rows.len())), ("cut", place(slice.cut))])
        }
        CheckpointRecord::End(records) => Described::new("checkpoint-end", vec![("records", json!(records))]),
        CheckpointRecord::Skipped => {
            Described { problem: None, ..Described::unreadable("unknown", raw, String::new()) }
        }
    }
}

fn place(place: Place) -> Value {
    json!(place.to_string())
}

/// UTC milliseconds as RFC 3339.
pub(super) fn time(milliseconds: u64) -> Value {
    let time = i64::try_from(milliseconds).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| json!(milliseconds), |time| json!(format!("{time:.3}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in RecordKind::ALL {
            assert_eq!(KINDS.iter().filter(|(one, _)| *one == kind).count(), 1, "{kind:?}");
        }
        let mut names: Vec<_> = KINDS.iter().map(|(_, name)| *name).chain(CHECKPOINT_KINDS).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len() + CHECKPOINT_KINDS.len());
    }

    #[test]
    fn payloads_are_cut_between_characters() {
        let whole = "grün".as_bytes();
        assert_eq!(text(&whole[..3], whole.len()), Some("gr"));
        assert_eq!(text(whole, whole.len()), Some("grün"));
        assert_eq!(text(b"\xff\xfe", 9), None);
        assert_eq!(text(b"gr\xc3", 3), None);
    }
}
