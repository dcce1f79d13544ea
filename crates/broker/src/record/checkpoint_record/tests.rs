use super::*;
use crate::record::codec::tests as any;
use proptest::prelude::*;
use tercet_log::record::Records;

fn any_cut() -> impl Strategy<Value = Place> {
    (any::<u64>(), any::<u32>()).prop_map(|(batch, offset)| Place { batch: Position::new(batch), offset })
}

fn slice() -> impl Strategy<Value = QueueSlice> {
    let entry = (
        1_u64..1 << 40,
        any::any_stored(),
        any::any_ids(),
        any::qos(),
        any::<(bool, bool, bool)>(),
        any_extras(),
    );
    let entries = prop::collection::vec(entry, 0..20);
    let owner = prop_oneof![
        any::id().prop_map(|id| Owner::Session(SessionId(id))),
        any::id().prop_map(|id| Owner::Group(GroupId(id))),
        any::id().prop_map(|id| Owner::Queue(QueueId(id))),
    ];
    (owner, any_cut(), entries, any::<bool>()).prop_map(|(owner, cut, entries, last)| {
        let mut next_sequence = 0;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(gap, stored, ids, qos, (retain, released, redelivered), extras)| {
                let sequence = next_sequence + gap - 1;
                next_sequence = sequence + 1;
                SliceEntry { sequence, stored, ids, qos, retain, released, redelivered, extras }
            })
            .collect();
        let end = if last { u64::MAX } else { next_sequence + 7 };
        QueueSlice { owner, cut, end, next_sequence, entries }
    })
}

fn named_images() -> impl Strategy<Value = CheckpointRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(bytes::Bytes::from);
    let queue = (any::id(), any_cut(), any::any_declaration(), any::<bool>(), any::id());
    let topology = (
        any_cut(),
        prop::collection::vec(any::any_exchange(), 0..4),
        prop::collection::vec(any::any_binding(), 0..4),
    );
    let key = || (any::<u8>(), any::text());
    let rows = prop::collection::vec((key(), bytes()), 0..4);
    let duplicate = || (any::any_scope(), any::text());
    let keys = prop::collection::vec((duplicate(), any::<u64>()), 0..4);
    prop_oneof![
        queue.prop_map(|(id, cut, declaration, paused, next_sequence)| {
            let id = QueueId(id);
            CheckpointRecord::NamedQueue(NamedQueueImage { id, cut, declaration, paused, next_sequence })
        }),
        topology.prop_map(|(cut, exchanges, bindings)| {
            CheckpointRecord::Topology(TopologyImage { cut, exchanges, bindings })
        }),
        (any_cut(), prop::option::of(key()), rows).prop_map(|(cut, last, rows)| {
            CheckpointRecord::Definitions(DefinitionSlice { cut, last, rows })
        }),
        (any_cut(), prop::option::of(duplicate()), keys).prop_map(|(cut, last, keys)| {
            let rows = keys.into_iter().map(|((scope, key), at)| (scope, key, NonZeroU64::new(at)));
            CheckpointRecord::Duplicates(DuplicateSlice { cut, last, rows: rows.collect() })
        }),
    ]
}

fn any_extras() -> impl Strategy<Value = EntryExtras> {
    let at = || any::<u64>().prop_map(NonZeroU64::new);
    let extras = (at(), any::<u8>(), any::<u32>(), at()).prop_map(
        |(deadline_ms, priority, deliveries, not_before_ms)| EntryExtras {
            deadline_ms,
            priority,
            deliveries,
            not_before_ms,
        },
    );
    prop_oneof![Just(EntryExtras::default()), extras]
}

fn any_record() -> impl Strategy<Value = CheckpointRecord> {
    let subscription = (any::text(), any::options(), any::<bool>());
    let will = prop::option::of(any::any_will().prop_map(Box::new));
    let session = (
        (any::id(), any_cut(), any::text(), prop::option::of(any::text())),
        (any::<u32>(), any::<u64>(), any::id()),
        prop::collection::vec(subscription, 0..5),
        prop::collection::vec(any::<u16>(), 0..5),
        will,
    );
    let session = session.prop_map(
        |(
            (id, cut, client_id, user),
            (expiry, offline_at_ms, next_sequence),
            subscriptions,
            received,
            will,
        )| {
            let id = SessionId(id);
            CheckpointRecord::Session(SessionImage {
                id,
                cut,
                client_id,
                user,
                expiry,
                offline_at_ms,
                next_sequence,
                subscriptions,
                received,
                will,
            })
        },
    );
    let group = (any::id(), any_cut(), any::text(), any::text(), any::id());
    let value = (any::text(), any::any_stored(), any::<u64>().prop_map(NonZeroU64::new));
    let values = prop::collection::vec(value, 0..10);
    prop_oneof![
        (any_cut(), [any::id(), any::id(), any::id(), any::id()], any::text()).prop_map(
            |(cut, [next_session, next_group, next_queue, next_host], name)| {
                let begin = Begin { cut, next_session, next_group, next_queue, next_host, name };
                CheckpointRecord::Begin(begin)
            }
        ),
        session,
        group.prop_map(|(id, cut, name, filter, next_sequence)| {
            CheckpointRecord::Group(GroupImage { id: GroupId(id), cut, name, filter, next_sequence })
        }),
        slice().prop_map(CheckpointRecord::Slice),
        (any_cut(), prop::option::of(any::text()), values).prop_map(|(cut, last, values)| {
            CheckpointRecord::Retained(RetainedSlice { cut, last, values })
        }),
        any::<u64>().prop_map(CheckpointRecord::End),
        named_images(),
    ]
}

const HOST: VhostId = VhostId(5);

fn decode(bytes: &[u8]) -> Option<Result<(VhostId, CheckpointRecord), RecordError>> {
    Some(CheckpointRecord::read(&Records::new(bytes).next()?.ok()?))
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_written(record in any_record()) {
        let mut bytes = Vec::new();
        record.write(&mut bytes, HOST);
        prop_assert_eq!(decode(&bytes), Some(Ok((HOST, record))));
    }

    #[test]
    fn whatever_a_record_is_changed_to_it_is_read_or_refused(
        record in any_record(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Vec::new();
        record.write(&mut bytes, HOST);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(Ok((host, read))) = decode(&bytes) {
            let mut again = Vec::new();
            read.write(&mut again, host);
            prop_assert!(read == CheckpointRecord::Skipped || decode(&again) == Some(Ok((host, read))));
        }
    }
}

#[test]
fn an_entry_of_a_long_queue_takes_few_bytes() {
    let entry = |number: u64| SliceEntry {
        sequence: 1_000_000 + number,
        stored: Stored::new(
            Place { batch: Position::new(1 << 30), offset: number as u32 * 1100 },
            1080,
            1030,
            false,
        ),
        ids: SubscriptionIds::None,
        qos: Qos::AtLeastOnce,
        retain: false,
        released: false,
        redelivered: false,
        extras: EntryExtras::default(),
    };
    let slice = QueueSlice {
        owner: Owner::Session(SessionId(1)),
        cut: Place::default(),
        end: u64::MAX,
        next_sequence: 1_004_096,
        entries: (0..4096).map(entry).collect(),
    };
    let mut bytes = Vec::new();
    CheckpointRecord::Slice(slice).write(&mut bytes, HOST);
    assert!(bytes.len() < 10 * 4096, "{} bytes for 4096 entries", bytes.len());
}

#[test]
fn the_beginning_of_an_earlier_versions_checkpoint_is_that_of_the_only_virtual_host() {
    let body = [0, 200, 1, 7, 12, 3];
    let header = RecordHeader { kind: Kind::Begin as u8, version: 1, must_understand: true };
    let mut bytes = Vec::new();
    write_record(&mut bytes, header, |out| out.extend_from_slice(&body));
    let cut = Place { batch: Position::new(200), offset: 7 };
    let name = Arc::from("/");
    let begin = Begin { cut, next_session: 12, next_group: 3, next_queue: 0, next_host: 0, name };
    assert_eq!(decode(&bytes), Some(Ok((VhostId::DEFAULT, CheckpointRecord::Begin(begin)))));
}
