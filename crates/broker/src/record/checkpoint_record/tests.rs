use super::*;
use crate::record::codec::tests as any;
use proptest::prelude::*;
use tercet_log::record::Records;

fn any_cut() -> impl Strategy<Value = Place> {
    (any::<u64>(), any::<u32>()).prop_map(|(batch, offset)| Place { batch: Position::new(batch), offset })
}

fn slice() -> impl Strategy<Value = QueueSlice> {
    let entry = (1_u64..1 << 40, any::any_stored(), any::any_ids(), any::qos(), any::<(bool, bool, bool)>());
    let entries = prop::collection::vec(entry, 0..20);
    let owner = prop_oneof![
        any::id().prop_map(|id| Owner::Session(SessionId(id))),
        any::id().prop_map(|id| Owner::Group(GroupId(id))),
    ];
    (owner, any_cut(), entries, any::<bool>()).prop_map(|(owner, cut, entries, last)| {
        let mut next_sequence = 0;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(gap, stored, ids, qos, (retain, released, redelivered))| {
                let sequence = next_sequence + gap - 1;
                next_sequence = sequence + 1;
                SliceEntry { sequence, stored, ids, qos, retain, released, redelivered }
            })
            .collect();
        let end = if last { u64::MAX } else { next_sequence + 7 };
        QueueSlice { owner, cut, end, next_sequence, entries }
    })
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
        (any_cut(), any::id(), any::id()).prop_map(|(cut, next_session, next_group)| {
            CheckpointRecord::Begin { cut, next_session, next_group }
        }),
        session,
        group.prop_map(|(id, cut, name, filter, next_sequence)| {
            CheckpointRecord::Group(GroupImage { id: GroupId(id), cut, name, filter, next_sequence })
        }),
        slice().prop_map(CheckpointRecord::Slice),
        (any_cut(), prop::option::of(any::text()), values).prop_map(|(cut, last, values)| {
            CheckpointRecord::Retained(RetainedSlice { cut, last, values })
        }),
        any::<u64>().prop_map(CheckpointRecord::End),
    ]
}

fn decode(bytes: &[u8]) -> Option<Result<CheckpointRecord, RecordError>> {
    Some(CheckpointRecord::read(&Records::new(bytes).next()?.ok()?))
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_written(record in any_record()) {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        prop_assert_eq!(decode(&bytes), Some(Ok(record)));
    }

    #[test]
    fn whatever_a_record_is_changed_to_it_is_read_or_refused(
        record in any_record(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(Ok(read)) = decode(&bytes) {
            let mut again = Vec::new();
            read.write(&mut again);
            prop_assert!(read == CheckpointRecord::Skipped || decode(&again) == Some(Ok(read)));
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
    };
    let slice = QueueSlice {
        owner: Owner::Session(SessionId(1)),
        cut: Place::default(),
        end: u64::MAX,
        next_sequence: 1_004_096,
        entries: (0..4096).map(entry).collect(),
    };
    let mut bytes = Vec::new();
    CheckpointRecord::Slice(slice).write(&mut bytes);
    assert!(bytes.len() < 10 * 4096, "{} bytes for 4096 entries", bytes.len());
}
