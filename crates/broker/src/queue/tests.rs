use std::sync::Arc;

use proptest::prelude::*;

use tercet_log::position::{Place, Position};

use super::*;
use crate::body::{Body, BodyRef, Stored};
use crate::clock::Now;
use crate::filter::SubscriptionIds;
use crate::message::{Message, Properties, Publication, Qos};
use crate::record::SettleReason;
use crate::session::SessionId;

fn entry(size: usize) -> Entry {
    let payload = vec![b'x'; size];
    let publication = Publication {
        topic: "t",
        payload: &payload,
        properties: Properties::NONE,
        qos: Qos::AtLeastOnce,
        retain: false,
        expiry: None,
        publisher: SessionId(1),
    };
    Entry {
        body: Arc::new(Message::from_publication(&publication, "t".into(), Now::read())).into(),
        ids: SubscriptionIds::None,
        loan: None,
        qos: Qos::AtLeastOnce,
        retain: false,
    }
}

fn recorded_queue() -> Queue {
    let mut queue = Queue::default();
    queue.set_recorded(true);
    queue
}

/// Where the tests put the message of a sequence: one batch each.
fn stored(sequence: u64, moved: u32) -> Stored {
    let place = Place { batch: Position::new(sequence + 1), offset: moved };
    Stored::new(place, 100, 1 + (sequence % 5) as u32, sequence.is_multiple_of(2))
}

/// An entry whose message has a record, as it has once it is enqueued.
fn durable_entry(sequence: u64, ids: u32) -> Entry {
    let entry = entry(sequence as usize % 5);
    if let Body::Memory(message) = &entry.body {
        *message.stored.lock() = Some(stored(sequence, 0));
    }
    let ids = (1..=ids).fold(SubscriptionIds::None, |all, id| all.with(Some(id)));
    Entry { ids, ..entry }
}

fn enqueue(queue: &mut Queue, sequence: u64) {
    queue.apply(QueueRecord::Enqueued { sequence, entry: entry(sequence as usize % 5), from: None });
}

fn settle(queue: &mut Queue, sequence: u64) {
    queue.apply(QueueRecord::Settled { sequence, reason: SettleReason::Acknowledged });
}

/// What a queue is, written down without any cleverness.
#[derive(Default)]
struct Model {
    entries: Vec<Modelled>,
    next_sequence: u64,
}

#[derive(Clone, Debug)]
struct Modelled {
    sequence: u64,
    stage: Stage,
    hot: bool,
    moved: u32,
    ids: u32,
}

impl Modelled {
    fn size(&self) -> usize {
        1 + self.sequence as usize % 5
    }
}

impl Model {
    fn find(&mut self, sequence: u64) -> &mut Modelled {
        self.entries.iter_mut().find(|entry| entry.sequence == sequence).unwrap()
    }

    fn ready(&self) -> impl Iterator<Item = &Modelled> {
        self.entries.iter().filter(|entry| entry.stage == Stage::Ready)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue {
        gap: u64,
        ids: u32,
    },
    Send,
    Settle(prop::sample::Index),
    Release(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Rewind,
    MakeCold(prop::sample::Index, u64),
    MakeHot(prop::sample::Index),
    Relocate(prop::sample::Index),
    /// Lets everything go cold that is older than the last few.
    CoolAll(u64),
    /// Lets a few go cold, but not the next few.
    Cool {
        young: u64,
        keep: usize,
        most: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => Just(Step::Enqueue { gap: 0, ids: 0 }),
        1 => (1_u32..4).prop_map(|ids| Step::Enqueue { gap: 0, ids }),
        2 => prop_oneof![Just(1), Just(3), Just(5_000)].prop_map(|gap| Step::Enqueue { gap, ids: 0 }),
        8 => Just(Step::Send),
        6 => index().prop_map(Step::Settle),
        2 => index().prop_map(Step::Release),
        2 => index().prop_map(Step::GiveBack),
        2 => Just(Step::Rewind),
        2 => (index(), 0_u64..3).prop_map(|(index, young)| Step::MakeCold(index, young)),
        2 => index().prop_map(Step::MakeHot),
        1 => index().prop_map(Step::Relocate),
        1 => (0_u64..3).prop_map(Step::CoolAll),
        2 => (0_u64..3, 1_usize..4, 1_usize..9).prop_map(|(young, keep, most)| Step::Cool { young, keep, most }),
    ]
}

proptest! {
    #[test]
    fn a_queue_behaves_like_a_plain_list(steps in prop::collection::vec(step(), 1..160)) {
        let mut queue = recorded_queue();
        let mut model = Model::default();
        for step in steps {
            let pick = |index: prop::sample::Index| {
                (!model.entries.is_empty()).then(|| model.entries[index.index(model.entries.len())].clone())
            };
            let durable = |young: u64| Position::new(model.next_sequence.saturating_sub(young));
            match step {
                Step::Enqueue { gap, ids } => {
                    let sequence = model.next_sequence + gap;
                    queue.apply(QueueRecord::Enqueued { sequence, entry: durable_entry(sequence, ids), from: None });
                    model.entries.push(Modelled { sequence, stage: Stage::Ready, hot: true, moved: 0, ids });
                    model.next_sequence = sequence + 1;
                }
                Step::Send => {
                    if let Some(sequence) = queue.first_ready() {
                        queue.mark_sent(sequence);
                        model.find(sequence).stage = Stage::Sent;
                    }
                }
                Step::Settle(index) => {
                    if let Some(Modelled { sequence, .. }) = pick(index) {
                        settle(&mut queue, sequence);
                        model.entries.retain(|entry| entry.sequence != sequence);
                    }
                }
                Step::Release(index) => {
                    if let Some(Modelled { sequence, .. }) = pick(index) {
                        queue.apply(QueueRecord::Released { sequence });
                        model.find(sequence).stage = Stage::Released;
                    }
                }
                Step::GiveBack(index) => {
                    if let Some(Modelled { sequence, .. }) = pick(index) {
                        queue.give_back(sequence);
                        let entry = model.find(sequence);
                        if entry.stage == Stage::Sent {
                            entry.stage = Stage::Ready;
                        }
                    }
                }
                Step::Rewind => {
                    let released = queue.rewind();
                    let outstanding = model.entries.iter().filter(|entry| entry.stage == Stage::Released);
                    let expected: Vec<u64> = outstanding.map(|entry| entry.sequence).collect();
                    prop_assert_eq!(released, expected);
                    for entry in model.entries.iter_mut().filter(|entry| entry.stage == Stage::Sent) {
                        entry.stage = Stage::Ready;
                    }
                }
                Step::MakeCold(index, young) => {
                    if let Some(Modelled { sequence, hot, .. }) = pick(index) {
                        let may = hot && sequence < model.next_sequence.saturating_sub(young);
                        prop_assert_eq!(queue.make_cold(sequence, durable(young)), may);
                        model.find(sequence).hot &= !may;
                    }
                }
                Step::MakeHot(index) => {
                    if let Some(Modelled { sequence, hot, moved, .. }) = pick(index) {
                        let Body::Memory(message) = durable_entry(sequence, 0).body else { unreachable!() };
                        let place = stored(sequence, moved);
                        *message.stored.lock() = Some(place);
                        let other = stored(sequence, moved + 1).place();
                        prop_assert!(!queue.make_hot(sequence, other, Arc::clone(&message)), "moved meanwhile");
                        prop_assert_eq!(queue.make_hot(sequence, place.place(), message), !hot);
                        model.find(sequence).hot = true;
                    }
                }
                Step::Relocate(index) => {
                    if let Some(Modelled { sequence, moved, .. }) = pick(index) {
                        let to = stored(sequence, moved + 1);
                        prop_assert!(!queue.relocate(sequence, stored(sequence, moved + 2).place(), to));
                        prop_assert!(queue.relocate(sequence, stored(sequence, moved).place(), to));
                        model.find(sequence).moved += 1;
                    }
                }
                Step::CoolAll(young) => {
                    queue.cool(durable(young), 0, usize::MAX);
                    for entry in &mut model.entries {
                        entry.hot &= entry.sequence >= model.next_sequence.saturating_sub(young);
                    }
                }
                Step::Cool { young, keep, most } => {
                    let before = queue.in_memory();
                    queue.cool(durable(young), keep, most);
                    prop_assert!(before - queue.in_memory() <= most);
                    let next: Vec<u64> = model.ready().take(1).map(|entry| entry.sequence).collect();
                    for entry in &mut model.entries {
                        let is_hot = queue.entry(entry.sequence).unwrap().0.body.message().is_some();
                        prop_assert!(entry.hot || !is_hot);
                        let went = entry.hot && !is_hot;
                        prop_assert!(!went || entry.sequence < model.next_sequence.saturating_sub(young));
                        prop_assert!(!went || !next.contains(&entry.sequence), "the next one stays");
                        entry.hot = is_hot;
                    }
                }
            }
            check(&mut queue, &model)?;
        }
    }
}

/// Compares what a queue says with its model.
fn check(queue: &mut Queue, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(queue.ready(), model.ready().count());
    prop_assert_eq!(queue.ready_bytes(), model.ready().map(Modelled::size).sum::<usize>());
    prop_assert_eq!(queue.first_ready(), model.ready().map(|entry| entry.sequence).next());
    prop_assert_eq!(queue.next_sequence(), model.next_sequence);
    prop_assert_eq!(queue.is_empty(), model.entries.is_empty());
    if let Some(front) = model.entries.first() {
        prop_assert_eq!(queue.front_sequence(), front.sequence);
    }
    let found: Vec<_> = queue.iter().map(|(sequence, _, stage)| (sequence, stage)).collect();
    let expected: Vec<_> = model.entries.iter().map(|entry| (entry.sequence, entry.stage)).collect();
    prop_assert_eq!(found, expected);
    let mut memory = 0;
    for (modelled, (_, entry, _)) in model.entries.iter().zip(queue.iter()) {
        let place = stored(modelled.sequence, modelled.moved);
        prop_assert_eq!(entry.body.stored(), Some(place));
        prop_assert_eq!(entry.body.size(), modelled.size());
        prop_assert_eq!(entry.body.message().is_some(), modelled.hot);
        prop_assert_eq!(entry.ids.len(), modelled.ids as usize);
        memory += entry.body.message().map_or(0, |message| message.memory());
    }
    prop_assert_eq!(queue.in_memory(), model.entries.iter().filter(|entry| entry.hot).count());
    prop_assert_eq!(queue.memory(), memory);
    let middle = model.entries.get(model.entries.len() / 2).map_or(0, |entry| entry.sequence);
    let found: Vec<u64> = queue.entries_from(middle).map(|(sequence, ..)| sequence).take(3).collect();
    let expected = model.entries.iter().map(|entry| entry.sequence).filter(|sequence| *sequence >= middle);
    prop_assert_eq!(found, expected.take(3).collect::<Vec<_>>());
    let ahead = queue.ahead(Reach { entries: 3, bytes: 7 });
    let mut bytes = 0;
    let expected = model.ready().take(3).enumerate().take_while(|(index, entry)| {
        bytes += entry.size();
        *index == 0 || bytes <= 7
    });
    let expected: Vec<&Modelled> = expected.map(|(_, entry)| entry).collect();
    prop_assert_eq!(ahead.entries, expected.len());
    prop_assert_eq!(ahead.more, model.ready().count() > expected.len());
    let cold = expected.iter().filter(|entry| !entry.hot);
    let cold: Vec<_> = cold.map(|entry| (entry.sequence, stored(entry.sequence, entry.moved))).collect();
    prop_assert_eq!(ahead.cold, cold);
    Ok(())
}

#[test]
fn letting_go_looks_at_an_entry_once() {
    let mut queue = recorded_queue();
    for sequence in 0..100_000 {
        queue.apply(QueueRecord::Enqueued { sequence, entry: durable_entry(sequence, 0), from: None });
        // The two newest are not durable yet, as is usual.
        queue.cool(Position::new(sequence.saturating_sub(1)), 0, 4);
        assert!(queue.in_memory() <= 2, "{} at {sequence}", queue.in_memory());
    }
    assert_eq!(queue.ready(), 100_000);
}

#[test]
fn what_is_not_recorded_stays_in_memory() {
    let mut queue = Queue::default();
    queue.set_recorded(true);
    for sequence in 0..10 {
        if sequence == 4 {
            queue.set_recorded(false);
        }
        queue.apply(QueueRecord::Enqueued { sequence, entry: durable_entry(sequence, 0), from: None });
    }
    queue.cool(Position::new(u64::MAX), 0, usize::MAX);
    assert_eq!(queue.in_memory(), 6);
    assert_eq!(queue.held().count(), 4);
}

#[test]
fn what_stays_for_a_connected_client_goes_when_it_leaves() {
    let mut queue = recorded_queue();
    for sequence in 0..2000 {
        queue.apply(QueueRecord::Enqueued { sequence, entry: durable_entry(sequence, 0), from: None });
    }
    let durable = Position::new(u64::MAX);
    queue.cool(durable, 10, usize::MAX);
    assert_eq!(queue.in_memory(), 10);
    for sequence in 0..5 {
        queue.mark_sent(sequence);
    }
    queue.cool(durable, 10, usize::MAX);
    assert_eq!(queue.in_memory(), 10);
    queue.cool(durable, 0, usize::MAX);
    assert_eq!((queue.in_memory(), queue.memory()), (0, 0));
    assert!(matches!(queue.entry(3).unwrap().0.body, BodyRef::Log(place) if place == stored(3, 0)));
}

#[test]
fn one_entry_that_stays_does_not_keep_the_memory_of_all_that_follow() {
    let mut queue = Queue::default();
    enqueue(&mut queue, 0);
    queue.mark_sent(0);
    for sequence in 1..200_000 {
        enqueue(&mut queue, sequence);
        queue.mark_sent(sequence);
        settle(&mut queue, sequence);
    }
    assert!(queue.slots.len() <= 2 * SPARSE, "{} slots for one entry", queue.slots.len());
    assert_eq!(queue.front_sequence(), 0);
    assert!(queue.rewind().is_empty());
    assert_eq!(queue.first_ready(), Some(0));
    settle(&mut queue, 0);
    assert!(queue.is_empty());
    assert_eq!(queue.next_sequence(), 200_000);
}

#[test]
fn records_about_unknown_or_repeated_sequences_change_nothing() {
    let mut queue = Queue::default();
    enqueue(&mut queue, 7);
    enqueue(&mut queue, 8);
    enqueue(&mut queue, 7);
    settle(&mut queue, 3);
    settle(&mut queue, 9);
    queue.apply(QueueRecord::Released { sequence: 99 });
    settle(&mut queue, 7);
    settle(&mut queue, 7);
    assert_eq!(queue.iter().map(|(sequence, ..)| sequence).collect::<Vec<_>>(), [8]);
    assert_eq!(queue.next_sequence(), 9);
}
