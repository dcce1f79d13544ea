use std::sync::Arc;

use proptest::prelude::*;

use super::*;
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

fn enqueue(queue: &mut Queue, sequence: u64) {
    queue.apply(QueueRecord::Enqueued { sequence, entry: entry(sequence as usize % 5), from: None });
}

fn settle(queue: &mut Queue, sequence: u64) {
    queue.apply(QueueRecord::Settled { sequence, reason: SettleReason::Acknowledged });
}

/// What a queue is, written down without any cleverness.
#[derive(Default)]
struct Model {
    entries: Vec<(u64, Stage, usize)>,
    next_sequence: u64,
}

impl Model {
    fn stage(&mut self, sequence: u64) -> Option<&mut Stage> {
        self.entries.iter_mut().find(|(found, ..)| *found == sequence).map(|(_, stage, _)| stage)
    }

    fn first_ready(&self) -> Option<u64> {
        self.entries.iter().find(|(_, stage, _)| *stage == Stage::Ready).map(|(sequence, ..)| *sequence)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue(u64),
    Send,
    Settle(prop::sample::Index),
    Release(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Rewind,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Enqueue(0)),
        1 => prop_oneof![Just(1), Just(3), Just(5_000)].prop_map(Step::Enqueue),
        4 => Just(Step::Send),
        3 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
        1 => Just(Step::Rewind),
    ]
}

proptest! {
    #[test]
    fn a_queue_behaves_like_a_plain_list(steps in prop::collection::vec(step(), 1..120)) {
        let mut queue = Queue::default();
        let mut model = Model::default();
        for step in steps {
            let pick = |index: prop::sample::Index| {
                (!model.entries.is_empty()).then(|| model.entries[index.index(model.entries.len())].0)
            };
            match step {
                Step::Enqueue(gap) => {
                    let sequence = model.next_sequence + gap;
                    enqueue(&mut queue, sequence);
                    model.entries.push((sequence, Stage::Ready, 1 + sequence as usize % 5));
                    model.next_sequence = sequence + 1;
                }
                Step::Send => {
                    if let Some(sequence) = queue.first_ready() {
                        queue.mark_sent(sequence);
                        *model.stage(sequence).unwrap() = Stage::Sent;
                    }
                }
                Step::Settle(index) => {
                    if let Some(sequence) = pick(index) {
                        settle(&mut queue, sequence);
                        model.entries.retain(|(found, ..)| *found != sequence);
                    }
                }
                Step::Release(index) => {
                    if let Some(sequence) = pick(index) {
                        queue.apply(QueueRecord::Released { sequence });
                        *model.stage(sequence).unwrap() = Stage::Released;
                    }
                }
                Step::GiveBack(index) => {
                    if let Some(sequence) = pick(index) {
                        queue.give_back(sequence);
                        let stage = model.stage(sequence).unwrap();
                        if *stage == Stage::Sent {
                            *stage = Stage::Ready;
                        }
                    }
                }
                Step::Rewind => {
                    let released = queue.rewind();
                    let outstanding = model.entries.iter().filter(|(_, stage, _)| *stage == Stage::Released);
                    let expected: Vec<u64> = outstanding.map(|(sequence, ..)| *sequence).collect();
                    prop_assert_eq!(released, expected);
                    for (_, stage, _) in model.entries.iter_mut().filter(|(_, stage, _)| *stage == Stage::Sent) {
                        *stage = Stage::Ready;
                    }
                }
            }
            let ready = || model.entries.iter().filter(|(_, stage, _)| *stage == Stage::Ready);
            prop_assert_eq!(queue.ready(), ready().count());
            prop_assert_eq!(queue.ready_bytes(), ready().map(|(.., size)| size).sum::<usize>());
            prop_assert_eq!(queue.first_ready(), model.first_ready());
            prop_assert_eq!(queue.next_sequence(), model.next_sequence);
            prop_assert_eq!(queue.is_empty(), model.entries.is_empty());
            let found: Vec<_> = queue.iter().map(|(sequence, _, stage)| (sequence, stage)).collect();
            let expected: Vec<_> = model.entries.iter().map(|(sequence, stage, _)| (*sequence, *stage)).collect();
            if let Some((front, _)) = expected.first() {
                prop_assert_eq!(queue.front_sequence(), *front);
            }
            prop_assert_eq!(found, expected);
        }
    }
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
