//! Extents, trimming, checkpoints, full disks.

use super::filling::{Appended, batch, read_checkpoint, write_checkpoint};
use super::{Node, Subject};
use crate::engine::{Claim, Extent, ShardLog};
use crate::error::AppendError;
use crate::position::Position;
use crate::sim::Chance;

/// Enough to have several extents in an engine whose extents are a few MiB.
const MUCH: usize = 12 << 20;

fn append_much(log: &dyn ShardLog, claim: &mut Claim, appended: &mut Appended) {
    for length in [700_000, 10, 300_000].into_iter().cycle().take(MUCH / 336_000) {
        appended.append(log, claim, length);
    }
}

/// Every batch is in one of them, the last one is open.
pub fn extents_cover_the_log(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    append_much(&*node.log, &mut claim, &mut appended);
    let check = |extents: &[Extent]| {
        for pair in extents.windows(2) {
            if let [one, two] = pair {
                assert!(one.first < one.end && one.end == two.first, "{pair:?}");
            }
        }
        assert_eq!(extents.last().map(|last| last.end), Some(claim.next));
        for (position, _) in &appended.0 {
            let holders = extents.iter().filter(|extent| (extent.first..extent.end).contains(position));
            assert_eq!(holders.count(), 1, "{position}");
        }
        let bytes: u64 = extents.iter().map(|extent| extent.bytes).sum();
        assert!(bytes >= appended.0.iter().map(|(_, payload)| payload.len() as u64).sum());
    };
    check(&node.log.extents());
    subject.cut_power(node, 3);
    let node = subject.open();
    // Where a log ends need not be known before it is read or claimed.
    assert_eq!(node.log.claim().expect("claimed").next, claim.next);
    check(&node.log.extents());
}

/// From the oldest or from the middle; what is left reads as before.
pub fn trimmed_extents_are_gone_and_the_rest_stays(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    append_much(&*node.log, &mut claim, &mut appended);
    let extents = node.log.extents();
    let [first, second, third, fourth, .., last] = extents.as_slice() else {
        return; // An engine without extents of this size has to be tested by its own means.
    };
    write_checkpoint(&*node.log, &[], fourth.first);
    node.log.trim(&[last.first, Position::new(first.first.number() + 1)]).expect("nothing to do");
    assert_eq!(node.log.extents(), extents, "neither the open extent nor one that is not there is trimmed");
    node.log.trim(&[first.first, third.first]).expect("trimmed");
    let check = |node: &Node, gone: &[&Extent]| {
        let left: Vec<_> = node.log.extents().iter().map(|extent| extent.first).collect();
        let expected = extents.iter().filter(|extent| !gone.contains(extent)).map(|extent| extent.first);
        assert_eq!(left, expected.collect::<Vec<_>>());
        for (position, payload) in &appended.0 {
            let inside = gone.iter().any(|extent| (extent.first..extent.end).contains(position));
            let mut bytes = Vec::new();
            let result = node.log.get(*position, 0, payload.len(), &mut bytes);
            assert_eq!(result.is_err(), inside, "{position}");
            assert!(inside || bytes == *payload, "{position} is unchanged");
        }
        appended.expect_from(&*node.log, fourth.first);
    };
    check(&node, &[first, third]);
    subject.kill(node);
    let node = subject.open();
    check(&node, &[first, third]);
    node.log.trim(&[second.first]).expect("trimmed");
    check(&node, &[first, second, third]);
    subject.kill(node);
    let node = subject.open();
    check(&node, &[first, second, third]);
    let rest = appended.0.iter().filter(|(position, _)| *position >= fourth.first).cloned().collect();
    Appended(rest).expect(&*node.log);
    let mut claim = node.log.claim().expect("claimed");
    appended.append(&*node.log, &mut claim, 10);
    appended.expect_from(&*node.log, fourth.first);
}

/// Without parts, with small ones and with large ones.
pub fn a_checkpoint_is_read_back_and_replaced_as_a_whole(subject: &dyn Subject) {
    let mut chance = Chance::new(5);
    for round in 0..6_usize {
        let node = subject.open();
        let mut claim = node.log.claim().expect("claimed");
        let mut appended = Appended::default();
        appended.append(&*node.log, &mut claim, 1000);
        let lengths = [1, 4000, 2_500_000, 17, 0, 8].into_iter().take(round);
        let parts: Vec<_> = lengths.map(|length| chance.bytes(length)).collect();
        // At the end of the log, too: nothing is to be replayed then.
        let replay_from = if round % 2 == 0 { claim.next } else { appended.0.first().expect("one").0 };
        write_checkpoint(&*node.log, &parts, replay_from);
        assert_eq!(read_checkpoint(&*node.log), Some((replay_from, parts.clone())));
        subject.cut_power(node, round as u64);
        let node = subject.open();
        assert_eq!(read_checkpoint(&*node.log), Some((replay_from, parts)));
        if round % 2 == 0 {
            Appended::default().expect_from(&*node.log, replay_from);
        } else {
            appended.expect_from(&*node.log, replay_from);
        }
    }
}

/// Nor does one that a crash has cut off.
pub fn an_abandoned_checkpoint_changes_nothing(subject: &dyn Subject) {
    let mut node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    appended.append(&*node.log, &mut claim, 1000);
    for round in 0..3 {
        let mut writer = node.log.begin_checkpoint().expect("begun");
        writer.write(&mut batch(b"never in force")).expect("written");
        drop(writer);
        assert_eq!(read_checkpoint(&*node.log), None);
        if round > 0 {
            let writer = node.log.begin_checkpoint().expect("begun");
            std::mem::forget(writer);
            subject.cut_power(node, round);
        } else {
            subject.kill(node);
        }
        node = subject.open();
        assert_eq!(read_checkpoint(&*node.log), None);
    }
    write_checkpoint(&*node.log, &[b"in force".to_vec()], claim.next);
    let mut writer = node.log.begin_checkpoint().expect("begun");
    writer.write(&mut batch(b"never in force")).expect("written");
    drop(writer);
    let expected = Some((claim.next, vec![b"in force".to_vec()]));
    assert_eq!(read_checkpoint(&*node.log), expected);
    subject.kill(node);
    let node = subject.open();
    assert_eq!(read_checkpoint(&*node.log), expected);
    appended.expect(&*node.log);
}

/// Refusing it changes nothing, and `room` tells.
pub fn a_full_log_takes_the_same_batch_when_there_is_space_again(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut appended = Appended::default();
    appended.append(&*node.log, &mut claim, 1000);
    assert_eq!(node.log.room(), u64::MAX);
    if !subject.fill(&node, true) {
        return;
    }
    let mut refused = batch(&Chance::new(7).bytes(100_000));
    let mut taken = 0;
    loop {
        let next = claim.next;
        match node.log.append(&mut claim, &mut refused) {
            Ok(position) => appended.0.push((position, refused.payload().to_vec())),
            Err(AppendError::Full(_)) => {
                assert_eq!(claim.next, next, "the claim has not moved");
                break;
            }
            Err(error) => unreachable!("{error}"),
        }
        taken += 1;
        assert!(taken < 10_000, "the log is full at some time");
    }
    assert!(node.log.room() < 100_000 + 1000, "{} bytes of room", node.log.room());
    appended.expect(&*node.log);
    assert!(subject.fill(&node, false));
    let position = node.log.append(&mut claim, &mut refused).expect("there is space again");
    appended.0.push((position, refused.payload().to_vec()));
    assert_eq!(node.log.room(), u64::MAX);
    appended.append(&*node.log, &mut claim, 10);
    appended.expect(&*node.log);
    subject.cut_power(node, 1);
    appended.expect(&*subject.open().log);
}

/// Checkpoints and trimming give back all but the open extent, over and over.
pub fn a_log_that_is_consumed_does_not_grow(subject: &dyn Subject) {
    let node = subject.open();
    let mut claim = node.log.claim().expect("claimed");
    let mut most = 0;
    for round in 0..20_u64 {
        for length in [400_000, 20, 900_000] {
            Appended::default().append(&*node.log, &mut claim, length);
        }
        write_checkpoint(&*node.log, &[vec![1; 100]], claim.next);
        let extents = node.log.extents();
        let dead: Vec<_> = extents.iter().rev().skip(1).map(|extent| extent.first).collect();
        node.log.trim(&dead).expect("trimmed");
        let left: u64 = node.log.extents().iter().map(|extent| extent.bytes).sum();
        assert_eq!(node.log.extents().len(), 1, "only the open one is left");
        if round < 10 {
            most = most.max(left);
        } else {
            assert!(left <= most.max(8 << 20), "{left} bytes in round {round}, {most} before");
        }
    }
}
