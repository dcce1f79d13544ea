use std::num::NonZeroU64;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use tercet_log::record::{RECORD_HEADER, Records};

use super::*;
use crate::message::{Author, Message, Payload};
use crate::record::{BindingDestination, BindingKey, DuplicateScope, ExchangeDeclaration, QueueDeclaration};

const PLACE: Place = Place { batch: Position::new(4096), offset: 500 };

pub(in crate::record) fn text() -> impl Strategy<Value = Arc<str>> {
    "[a-z/#+ä]{0,12}".prop_map(Arc::from)
}

pub(in crate::record) fn id() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..200, 0_u64..1 << 62]
}

pub(in crate::record) fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

pub(in crate::record) fn options() -> impl Strategy<Value = SubscriptionOptions> {
    (qos(), any::<bool>(), any::<bool>(), any::<Option<u32>>()).prop_map(
        |(qos, no_local, retain_as_published, id)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            id,
        },
    )
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

pub(in crate::record) fn any_will() -> impl Strategy<Value = Will> {
    (text(), bytes(), bytes(), qos(), any::<bool>(), any::<u32>(), any::<Option<u32>>()).prop_map(
        |(topic, payload, properties, qos, retain, delay, expiry)| Will {
            topic,
            payload,
            properties,
            encoding: PropertyEncoding::Mqtt5,
            qos,
            retain,
            delay,
            expiry,
        },
    )
}

/// Something before the record that refers to it, in its batch or an earlier one.
pub(in crate::record) fn any_stored() -> impl Strategy<Value = Stored> {
    let place = prop_oneof![
        (0_u32..500).prop_map(|offset| Place { batch: PLACE.batch, offset }),
        (0_u64..4096, any::<u32>()).prop_map(|(batch, offset)| Place { batch: Position::new(batch), offset }),
    ];
    (place, any::<u32>(), any::<u32>(), any::<bool>())
        .prop_map(|(place, len, size, shared)| Stored::new(place, len, size, shared))
}

pub(in crate::record) fn any_ids() -> impl Strategy<Value = SubscriptionIds> {
    prop::collection::vec(any::<u32>(), 0..4)
        .prop_map(|ids| ids.into_iter().fold(SubscriptionIds::None, |ids, id| ids.with(Some(id))))
}

fn queue_record() -> impl Strategy<Value = QueueRecord> {
    let entry = (any_stored(), any_ids(), qos(), any::<bool>()).prop_map(|(stored, ids, qos, retain)| {
        Entry { body: Body::Log(stored), ids, loan: None, qos, retain }
    });
    let from = prop::option::of((id().prop_map(GroupId), id()));
    prop_oneof![
        (id(), from, entry).prop_map(|(sequence, from, entry)| QueueRecord::Enqueued {
            sequence,
            from,
            entry
        }),
        (id(), any_reason()).prop_map(|(sequence, reason)| QueueRecord::Settled { sequence, reason }),
        id().prop_map(|sequence| QueueRecord::Released { sequence }),
    ]
}

fn any_reason() -> impl Strategy<Value = SettleReason> {
    (1_u8..14).prop_map(|reason| SettleReason::from_number(reason).expect("a reason"))
}

pub(in crate::record) fn any_declaration() -> impl Strategy<Value = QueueDeclaration> {
    (text(), any::<bool>(), bytes()).prop_map(|(name, auto_delete, arguments)| QueueDeclaration {
        name,
        auto_delete,
        arguments,
    })
}

fn named_queue_record() -> impl Strategy<Value = NamedQueueRecord> {
    let at = || any::<u64>().prop_map(NonZeroU64::new);
    let entry = (any_stored(), any_ids(), qos(), any::<bool>()).prop_map(|(stored, ids, qos, retain)| {
        Entry { body: Body::Log(stored), ids, loan: None, qos, retain }
    });
    prop_oneof![
        any_declaration().prop_map(NamedQueueRecord::Declared),
        Just(NamedQueueRecord::Deleted),
        (id(), entry, at(), any::<u8>()).prop_map(|(sequence, entry, deadline_ms, priority)| {
            NamedQueueRecord::Enqueued { sequence, entry, deadline_ms, priority }
        }),
        (id(), any_reason()).prop_map(|(sequence, reason)| NamedQueueRecord::Settled { sequence, reason }),
        (id(), id(), any_reason()).prop_map(|(first, count, reason)| NamedQueueRecord::SettledRun {
            first,
            count,
            reason
        }),
        (id(), any::<u32>(), at()).prop_map(|(sequence, deliveries, not_before_ms)| {
            NamedQueueRecord::Returned { sequence, deliveries, not_before_ms }
        }),
        any::<bool>().prop_map(NamedQueueRecord::Paused),
    ]
}

pub(in crate::record) fn any_exchange() -> impl Strategy<Value = ExchangeDeclaration> {
    (text(), text(), any::<(bool, bool)>(), bytes()).prop_map(
        |(name, kind, (auto_delete, internal), arguments)| ExchangeDeclaration {
            name,
            kind,
            auto_delete,
            internal,
            arguments,
        },
    )
}

pub(in crate::record) fn any_binding() -> impl Strategy<Value = BindingKey> {
    let destination = prop_oneof![
        text().prop_map(BindingDestination::Queue),
        text().prop_map(BindingDestination::Exchange),
    ];
    (text(), destination, text(), bytes()).prop_map(|(source, destination, key, arguments)| BindingKey {
        source,
        destination,
        key,
        arguments,
    })
}

pub(in crate::record) fn any_scope() -> impl Strategy<Value = DuplicateScope> {
    prop_oneof![
        text().prop_map(DuplicateScope::Exchange),
        id().prop_map(|id| DuplicateScope::Queue(QueueId(id))),
    ]
}

/// Records of exchanges, bindings, definitions and virtual hosts.
fn named_things() -> impl Strategy<Value = OwnedRecord> {
    prop_oneof![
        any_exchange().prop_map(|declared| OwnedRecord::Exchange(ExchangeRecord::Declared(declared))),
        text().prop_map(|name| OwnedRecord::Exchange(ExchangeRecord::Deleted { name })),
        any_binding().prop_map(|binding| OwnedRecord::Binding(BindingRecord::Bound(binding))),
        any_binding().prop_map(|binding| OwnedRecord::Binding(BindingRecord::Unbound(binding))),
        (any::<u8>(), text(), bytes()).prop_map(|(class, key, value)| {
            OwnedRecord::Definition(DefinitionRecord::Put { class, key, value })
        }),
        (any::<u8>(), text())
            .prop_map(|(class, key)| OwnedRecord::Definition(DefinitionRecord::Removed { class, key })),
        (any_scope(), text(), any::<u64>()).prop_map(|(scope, key, at)| {
            let expires_ms = NonZeroU64::new(at);
            OwnedRecord::Duplicate(DuplicateRecord::Remembered { scope, key, expires_ms })
        }),
        (any_scope(), text())
            .prop_map(|(scope, key)| OwnedRecord::Duplicate(DuplicateRecord::Forgotten { scope, key })),
        text().prop_map(|name| OwnedRecord::Host(HostRecord::Created { name })),
        Just(OwnedRecord::Host(HostRecord::Deleted)),
    ]
}

fn session_record() -> impl Strategy<Value = SessionRecord> {
    prop_oneof![
        (text(), prop::option::of(text()), any::<u32>())
            .prop_map(|(client_id, user, expiry)| SessionRecord::Opened { client_id, user, expiry }),
        Just(SessionRecord::Ended),
        (text(), options(), any::<bool>()).prop_map(|(filter, options, replay)| SessionRecord::Subscribed {
            filter,
            options,
            replay
        }),
        text().prop_map(|filter| SessionRecord::Unsubscribed { filter }),
        text().prop_map(|filter| SessionRecord::Replayed { filter }),
        any::<u16>().prop_map(SessionRecord::Received),
        any::<u16>().prop_map(SessionRecord::Completed),
        prop::option::of(any_will().prop_map(Box::new)).prop_map(SessionRecord::WillChanged),
        (any::<u64>(), any::<u32>()).prop_map(|(at_ms, expiry)| SessionRecord::Offline { at_ms, expiry }),
        queue_record().prop_map(SessionRecord::Queue),
    ]
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let group = prop_oneof![
        (text(), text()).prop_map(|(name, filter)| GroupRecord::Opened { name, filter }),
        Just(GroupRecord::Ended),
        queue_record().prop_map(GroupRecord::Queue),
    ];
    let set = (text(), any_stored(), any::<u64>()).prop_map(|(topic, stored, at)| RetainedRecord::Set {
        topic,
        body: Body::Log(stored),
        expires_at_ms: NonZeroU64::new(at),
    });
    prop_oneof![
        (id(), session_record()).prop_map(|(id, record)| OwnedRecord::Session(SessionId(id), record)),
        (id(), group).prop_map(|(id, record)| OwnedRecord::Group(GroupId(id), record)),
        set.prop_map(OwnedRecord::Retained),
        text().prop_map(|topic| OwnedRecord::Retained(RetainedRecord::Cleared(topic))),
        (id(), named_queue_record()).prop_map(|(id, record)| OwnedRecord::NamedQueue(QueueId(id), record)),
        named_things(),
    ]
}

const HOST: VhostId = VhostId(300);

fn encode(record: &OwnedRecord) -> Vec<u8> {
    let mut out = vec![0; PLACE.offset as usize];
    let record = record.as_record();
    let stored = record.body().and_then(Body::stored);
    write(&mut out, PLACE, HOST, &record, stored.as_ref());
    out.split_off(PLACE.offset as usize)
}

/// The one record in `bytes`, as if it lay at [`PLACE`].
fn decode(bytes: &[u8]) -> Option<Result<Decoded, RecordError>> {
    let raw = Records::new(bytes).next()?.ok()?;
    Some(read(&RawRecord { offset: PLACE.offset, ..raw }, PLACE.batch))
}

fn message() -> impl Strategy<Value = Message> {
    let author = prop::option::of((prop::option::of(text()), text()));
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    let address = (text(), prop::option::of(text()));
    (
        address,
        payload,
        (bytes(), prop::option::of(bytes())),
        qos(),
        any::<(bool, bool, bool)>(),
        (id(), any::<u64>(), any::<u64>()),
        author,
    )
        .prop_map(
            |(
                (topic, exchange),
                payload,
                (properties, blind),
                qos,
                (retain, shared, dead_lettered),
                (publisher, ingress_ms, expires),
                author,
            )| Message {
                topic,
                exchange,
                payload: Payload::copy_from(&payload),
                properties,
                encoding: PropertyEncoding::Mqtt5,
                qos,
                retain,
                publisher: SessionId(publisher),
                author: author.map(|(user, client_id)| Arc::new(Author { user, client_id })),
                ingress_ms,
                expires_at_ms: NonZeroU64::new(expires),
                dead_lettered,
                blind_copies: blind.map(|keys| keys[..].into()),
                shared,
                stored: Mutex::new(None),
            },
        )
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_written(record in any_record()) {
        let bytes = encode(&record);
        match decode(&bytes) {
            Some(Ok(Decoded::Change(HOST, read))) => prop_assert_eq!(format!("{read:?}"), format!("{record:?}")),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_record_that_was_cut_or_grew_is_refused(record in any_record(), cut in 1_usize..6) {
        let bytes = encode(&record);
        let (header, body) = bytes.split_at(RECORD_HEADER);
        let kept = body.len().saturating_sub(cut);
        for changed in [body[..kept].to_vec(), [body, &[0]].concat()] {
            let mut bytes = header[..2].to_vec();
            bytes.extend_from_slice(&(changed.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&changed);
            // Nothing but identifiers of subscriptions and reserved bits is free to differ in length.
            prop_assert!(decode(&bytes).is_some_and(|read| read.is_err()), "{:?} {:?}", changed, decode(&bytes));
        }
    }

    #[test]
    fn whatever_a_record_is_changed_to_it_is_read_or_refused(
        record in any_record(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&record);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(Ok(Decoded::Change(_, read))) = decode(&bytes) {
            // What is taken can be written again and means the same.
            let again = decode(&encode(&read));
            match again {
                Some(Ok(Decoded::Change(HOST, again))) => prop_assert_eq!(format!("{again:?}"), format!("{read:?}")),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn messages_come_back_only_unchanged(message in message(), flip in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        message_record::write(&mut bytes, HOST, &message);
        let stored = Stored::new(PLACE, bytes.len() as u32, message.size() as u32, message.shared);
        let read = message_record::read(&bytes, &stored).expect("whole");
        *message.stored.lock() = Some(stored);
        prop_assert_eq!(format!("{read:?}"), format!("{message:?}"));
        prop_assert_eq!(&*read.payload, &*message.payload);
        match decode(&bytes) {
            Some(Ok(Decoded::Message(HOST, publisher))) => prop_assert_eq!(publisher, message.publisher),
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert!(message_record::read(&bytes[..bytes.len() - 1], &stored).is_err());
        let at = flip.index(bytes.len());
        // Whether it must be understood makes no difference to who understands it.
        let flipped = if at == 1 { 0x01 } else { 0x20 };
        bytes[at] ^= flipped;
        prop_assert!(message_record::read(&bytes, &stored).is_err(), "byte {at}");
    }
}

#[test]
fn unknown_records_are_skipped_only_if_they_may_be() {
    let record = OwnedRecord::Session(SessionId(1), SessionRecord::Replayed { filter: "f".into() });
    for (kind, version, must, refused) in
        [(200, 1, true, true), (200, 1, false, false), (9, 2, true, true), (9, 2, false, false)]
    {
        let mut bytes = encode(&record);
        bytes[0] = kind;
        bytes[1] = version | if must { 0x80 } else { 0 };
        match decode(&bytes).unwrap() {
            Err(RecordError::Unknown { place, kind: found, version: of }) => {
                assert!(refused && (found, of) == (kind, version) && place == PLACE);
            }
            Ok(Decoded::Skipped) => assert!(!refused),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_record_refers_only_to_what_comes_before_it() {
    let later = Stored::new(Place { offset: PLACE.offset + 1, ..PLACE }, 1, 1, false);
    let set = RetainedRecord::Set { topic: "t".into(), body: Body::Log(later), expires_at_ms: None };
    let bytes = encode(&OwnedRecord::Retained(set));
    assert!(matches!(decode(&bytes), Some(Err(RecordError::Malformed { kind: 32, place: PLACE, .. }))));
}

#[test]
fn an_entry_of_a_message_in_its_batch_is_small() {
    let stored = Stored::new(Place { offset: 300, ..PLACE }, 180, 120, false);
    let entry = Entry {
        body: Body::Log(stored),
        ids: SubscriptionIds::None,
        loan: None,
        qos: Qos::AtLeastOnce,
        retain: false,
    };
    let enqueued = QueueRecord::Enqueued { sequence: 1_000_000, from: None, entry };
    let bytes = encode(&OwnedRecord::Session(SessionId(100_000), SessionRecord::Queue(enqueued)));
    assert!(bytes.len() <= 24, "{} bytes", bytes.len());
    let (sequence, deadline_ms) = (1_000_000, None);
    let entry = Entry {
        body: Body::Log(stored),
        ids: SubscriptionIds::None,
        loan: None,
        qos: Qos::AtLeastOnce,
        retain: false,
    };
    let enqueued = NamedQueueRecord::Enqueued { sequence, entry, deadline_ms, priority: 0 };
    let bytes = encode(&OwnedRecord::NamedQueue(QueueId(1000), enqueued));
    assert!(bytes.len() <= 22, "{} bytes", bytes.len());
}

#[test]
fn kinds_have_numbers_of_their_own() {
    for kind in RecordKind::ALL {
        assert_eq!(RecordKind::from_number(kind as u8), Some(kind));
        assert!((1..128).contains(&kind.version()));
    }
}
