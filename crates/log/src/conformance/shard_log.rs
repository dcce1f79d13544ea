//! Appending, reading, claims.

use std::sync::atomic::{AtomicU64, Ordering};

use super::filling::{Appended, batch};
use super::{Node, Subject};
use crate::engine::Resolved;
use crate::error::AppendError;
use crate::position::Position;
use crate::sim::Chance;

/// Lengths around every boundary that an engine may have.
const LENGTHS: [usize; 12] = [1, 7, 8, 9, 100, 4095, 4096, 70_000, 1, 3 << 20, 24, (1 << 20) + 3];

/// A new log.
pub fn an_empty_log_has_nothing_to_read(subject: &dyn Subject) {
    let node = subject.open();
    let claim = node.log.claim().expect("claimed");
    assert!(claim.next > Position::NONE, "no batch has the position of nothing");
    Appended::default().expect(&*node.log);
    assert!(node.log.checkpoint().expect("readable").is_none());
    Appended::default().expect_from(&*node.log, claim.next);
    drop(node);
    let node = subject.open();
    Appended::default().expect(&*node.log);
    assert_eq!(node.log.claim().expect("claimed").next, claim.next);
}

/// Small and large ones.
pub fn batches_are_read_back_as_they_were_appended(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    for length in LENGTHS {
        appended.append(&*node.log, &mut claim, length);
    }
    appended.expect(&*node.log);
    drop(node);
    appended.expect(&*subject.open().log);
}

/// Also at the position behind the last batch, where nothing is yet.
pub fn reading_begins_at_any_batch_and_ends_at_the_end(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    for length in LENGTHS {
        let position = appended.append(&*node.log, &mut claim, length);
        appended.expect_from(&*node.log, position);
        appended.expect_from(&*node.log, claim.next);
    }
    let check = |node: &Node| {
        for (position, _) in &appended.0 {
            appended.expect_from(&*node.log, *position);
        }
        appended.expect_from(&*node.log, claim.next);
    };
    check(&node);
    drop(node);
    check(&subject.open());
}

/// Single bytes, ends, everything, nothing.
pub fn parts_of_a_batch_are_read_back(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    for length in LENGTHS {
        appended.append(&*node.log, &mut claim, length);
    }
    let mut chance = Chance::new(1);
    for (position, payload) in &appended.0 {
        for _ in 0..20 {
            let from = chance.below(payload.len() as u64 + 1) as usize;
            let length = chance.below((payload.len() - from) as u64 + 1) as usize;
            let mut bytes = vec![1, 2, 3];
            node.log.get(*position, from as u32, length, &mut bytes).expect("readable");
            assert_eq!(bytes.get(..3), Some(&[1, 2, 3][..]), "what was there stays");
            assert!(bytes.get(3..) == payload.get(from..from + length), "{from}+{length} of {position}");
        }
    }
    let nowhere = Position::new(claim.next.number() + (1 << 40));
    assert!(node.log.get(nowhere, 0, 1, &mut Vec::new()).is_err(), "there is nothing");
}

/// An orderly end, a killed process, a power cut, in turn and with batches appended in between.
pub fn what_is_confirmed_survives_every_end(subject: &dyn Subject) {
    let mut appended = Appended::default();
    let mut next = None;
    for round in 0..12 {
        let node = subject.open();
        appended.expect(&*node.log);
        let mut claim = node.log.claim().expect("claimed");
        if let Some(next) = next {
            assert_eq!(claim.next, next, "the log goes on behind its last batch");
        }
        for length in [10, 5000, 300_000].iter().skip(round % 3) {
            appended.append(&*node.log, &mut claim, *length);
        }
        next = Some(claim.next);
        match round % 3 {
            0 => drop(node),
            1 => subject.kill(node),
            _ => subject.cut_power(node, round as u64),
        }
    }
    appended.expect(&*subject.open().log);
}

/// The one that was fenced changes nothing.
pub fn a_claim_fences_the_claims_before_it(subject: &dyn Subject) {
    let node = subject.open();
    let mut appended = Appended::default();
    let mut first = node.log.claim().expect("claimed");
    appended.append(&*node.log, &mut first, 100);
    let mut second = node.log.claim().expect("claimed");
    assert!(second.epoch > first.epoch, "epochs grow");
    assert_eq!((second.next, second.last_number), (first.next, first.last_number));
    for _ in 0..2 {
        let next = first.next;
        let refused = node.log.append(&mut first, &mut batch(b"too late"));
        assert!(matches!(refused, Err(AppendError::Fenced)), "{refused:?}");
        assert_eq!(first.next, next, "the claim has not moved");
        appended.append(&*node.log, &mut second, 100);
    }
    appended.expect(&*node.log);
    subject.cut_power(node, 1);
    let node = subject.open();
    appended.expect(&*node.log);
    let third = node.log.claim().expect("claimed");
    assert!(third.epoch > second.epoch);
}

/// However the node ended, and also if nothing was appended under a claim.
pub fn epochs_and_numbers_grow_over_restarts(subject: &dyn Subject) {
    let (mut epoch, mut number) = (0, None);
    let mut appended = Appended::default();
    for round in 0..9 {
        let node = subject.open();
        let mut claim = node.log.claim().expect("claimed");
        assert!(claim.epoch > epoch, "round {round}: {} after {epoch}", claim.epoch);
        assert_eq!(claim.last_number, number.unwrap_or(claim.last_number));
        if round % 2 == 0 {
            appended.append(&*node.log, &mut claim, 50);
        }
        (epoch, number) = (claim.epoch, Some(claim.last_number));
        if round % 3 == 0 {
            subject.kill(node);
        } else {
            subject.cut_power(node, round);
        }
    }
}

/// Resolved and, if it is not there, appended again: once in the log, at its position, before those behind it.
pub fn a_batch_whose_answer_was_lost_is_there_once(subject: &dyn Subject) {
    let mut appended = Appended::default();
    let mut node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    for (round, length) in [100, 100_000, 8, 1 << 20, 1, 40_000].into_iter().enumerate() {
        if round % 2 == 1 {
            appended.append(&*node.log, &mut claim, 77);
        }
        if !subject.lose_next_answer(&node) {
            return;
        }
        let payload = Chance::new(round as u64 + 1000).bytes(length);
        let (mut unsure, next, number) = (batch(&payload), claim.next, claim.last_number);
        let answer = node.log.append(&mut claim, &mut unsure);
        assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");
        assert_eq!((claim.next, claim.last_number), (next, number), "the claim has not moved");
        match node.log.resolve(&mut claim, &mut unsure).expect("resolved") {
            Resolved::Committed(position) => assert_eq!(position, next),
            Resolved::NotThere => {
                assert_eq!((claim.next, claim.last_number), (next, number), "the claim has not moved");
                let position = node.log.append(&mut claim, &mut unsure).expect("taken");
                assert_eq!(position, next, "a position belongs to one batch for ever");
            }
        }
        assert_eq!(unsure.payload(), payload, "the batch is unchanged");
        assert_eq!((claim.next, claim.last_number), (node.log.position_after(next, length), number + 1));
        appended.0.push((next, payload));
        if round % 3 == 2 {
            appended.append(&*node.log, &mut claim, 5);
        }
        appended.expect(&*node.log);
        subject.cut_power(node, round as u64);
        node = subject.open();
        appended.expect(&*node.log);
        claim = node.log.claim().expect("claimed");
    }
}

/// Readers see at least what was confirmed when they began, in order and unchanged.
pub fn reading_goes_on_beside_appending(subject: &dyn Subject) {
    const BATCHES: usize = 200;
    let node = subject.open();
    let log = &*node.log;
    let mut claim = log.claim().expect("claimed");
    let start = claim.next;
    let payload = |index: usize| Chance::new(index as u64).bytes(1 + index * 97 % 20_000);
    let mut positions = vec![start];
    for index in 0..BATCHES {
        let next = log.position_after(positions.last().copied().unwrap_or(start), payload(index).len());
        positions.push(next);
    }
    let confirmed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (positions, confirmed) = (&positions, &confirmed);
            scope.spawn(move || {
                let mut chance = Chance::new(reader);
                loop {
                    let least = confirmed.load(Ordering::Acquire) as usize;
                    let mut batches = log.read(start).expect("readable");
                    let mut count = 0;
                    while let Some((position, bytes)) = batches.next().expect("readable") {
                        assert_eq!(Some(&position), positions.get(count));
                        assert!(bytes == payload(count), "batch {count}");
                        count += 1;
                    }
                    assert!(count >= least, "{count} of {least} batches");
                    if least > 0 {
                        let index = chance.below(least as u64) as usize;
                        let (expected, mut bytes) = (payload(index), Vec::new());
                        let position = positions.get(index).copied().unwrap_or(start);
                        log.get(position, 0, expected.len(), &mut bytes).expect("readable");
                        assert!(bytes == expected, "batch {index}");
                    }
                    if least == BATCHES {
                        break;
                    }
                }
            });
        }
        for index in 0..BATCHES {
            log.append(&mut claim, &mut batch(&payload(index))).expect("taken");
            confirmed.store(index as u64 + 1, Ordering::Release);
        }
    });
}
