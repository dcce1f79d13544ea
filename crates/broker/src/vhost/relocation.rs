//! Moving messages out of parts of the log that are mostly dead, so that these can be given back.
//!
//! Records of messages are copied to the end of the log as they are; when the copies are durable, whoever holds them is told
//! the new places, in memory. Nothing is recorded of it: until a checkpoint has the new places the old ones are what
//! recovery finds, and so the old part may be trimmed only after that.

use std::sync::Arc;
use std::time::Duration;

use tercet_log::engine::Extent;
use tercet_log::group_commit::{Admission, Urgency};
use tercet_log::position::{Place, Position};

use crate::body::Stored;
use crate::journal::LogJournal;
use crate::queue::Queue;
use crate::record::message_record;
use crate::session::Session;
use crate::vhost::Vhost;
use crate::vhost::checkpoint::KeepError;

/// Entries looked at under one hold of a queue's lock.
const SLICE: usize = 4096;
/// Bytes copied before it is waited until they are durable.
const COPY: usize = 1 << 20;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relocated {
    /// Messages that are held at a new place.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that cannot be read, or are not as they were written: they stay where they are.
    pub unreadable: u64,
}

impl Vhost {
    /// Moves the messages that are held in these extents to the end of the log. Blocks on the disk, for up to `patience`
    /// with each part. No lock is held meanwhile. For a virtual host that is the only one; else
    /// [`crate::hosts::Hosts::relocate`].
    ///
    /// # Errors
    /// Part of them may have been moved.
    pub fn relocate(
        self: &Arc<Self>,
        journal: &LogJournal,
        extents: &[Extent],
        patience: Duration,
    ) -> Result<Relocated, KeepError> {
        relocate(&[Arc::clone(self)], journal, extents, patience)
    }
}

/// Moves the messages that these virtual hosts, which are all there are, hold in these extents.
pub(crate) fn relocate(
    hosts: &[Arc<Vhost>],
    journal: &LogJournal,
    extents: &[Extent],
    patience: Duration,
) -> Result<Relocated, KeepError> {
    let mut extents = extents.to_vec();
    extents.sort_unstable_by_key(|extent| extent.first);
    let mut mover = Mover { journal, extents, patience, moved: Relocated::default() };
    mover.move_shared()?;
    for host in hosts {
        let mut result = Ok(());
        host.registry.for_each(|session| {
            if result.is_ok() {
                result = mover.move_entries(&mut |change| change(&mut session.queue()));
            }
        });
        result?;
        for group in host.shared_groups() {
            mover.move_entries(&mut |change| group.with_queue(change))?;
        }
        for queue in host.recorded_queues() {
            mover.move_entries(&mut |change| queue.with_queue(change))?;
        }
    }
    Ok(mover.moved)
}

impl Session {
    fn queue(&self) -> parking_lot::MappedMutexGuard<'_, Queue> {
        parking_lot::MutexGuard::map(self.lock(), |state| &mut state.queue)
    }
}

/// Gives a function the queue, under its lock.
type WithQueue<'a> = dyn FnMut(&mut dyn FnMut(&mut Queue)) + 'a;

struct Mover<'a> {
    journal: &'a LogJournal,
    extents: Vec<Extent>,
    patience: Duration,
    moved: Relocated,
}

impl Mover<'_> {
    fn is_within(&self, batch: Position) -> bool {
        let index = self.extents.partition_point(|extent| extent.end <= batch);
        self.extents.get(index).is_some_and(|extent| extent.first <= batch)
    }

    /// Shared messages are known by name: one change moves them for all their holders.
    fn move_shared(&mut self) -> Result<(), KeepError> {
        let mut records = self.journal.shared_within(|batch| self.is_within(batch));
        records.sort_unstable_by_key(|record| record.at);
        for part in parts(&records, |record| record.len) {
            let wanted: Vec<_> =
                part.iter().map(|record| Stored::new(record.at, record.len, 0, false)).collect();
            for (index, to) in self.copy(&wanted)? {
                if let Some(record) = part.get(index)
                    && self.journal.shared_moved(record, to)
                {
                    self.count(record.len);
                }
            }
        }
        Ok(())
    }

    /// Moves the messages that only this queue holds.
    fn move_entries(&mut self, with_queue: &mut WithQueue<'_>) -> Result<(), KeepError> {
        let mut from = 0;
        loop {
            let mut found = Vec::new();
            let mut next = None;
            with_queue(&mut |queue| (found, next) = self.find(queue, from));
            for part in parts(&found, |(_, stored)| stored.len) {
                let wanted: Vec<_> = part.iter().map(|(_, stored)| *stored).collect();
                let copied = self.copy(&wanted)?;
                with_queue(&mut |queue| self.swap(queue, part, &copied));
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    /// Entries from a sequence on whose messages have to be moved, and where to go on.
    fn find(&self, queue: &Queue, from: u64) -> (Vec<(u64, Stored)>, Option<u64>) {
        let mut found = Vec::new();
        let held = queue.entries_from(from).take_while(|(sequence, ..)| queue.records(*sequence));
        for (looked_at, (sequence, entry, _)) in held.enumerate() {
            if looked_at == SLICE {
                return (found, Some(sequence));
            }
            let stored = entry.body.stored().filter(|stored| entry.is_durable() && !stored.shared);
            found.extend(
                stored.filter(|stored| self.is_within(stored.place().batch)).map(|stored| (sequence, stored)),
            );
        }
        (found, None)
    }

    fn swap(&mut self, queue: &mut Queue, part: &[(u64, Stored)], copied: &[(usize, Place)]) {
        for (index, to) in copied {
            let Some((sequence, from)) = part.get(*index) else { continue };
            let stored = Stored::new(*to, from.len, from.size, from.shared);
            // False if it was settled meanwhile.
            if queue.relocate(*sequence, from.place(), stored) {
                self.journal.moved(from, *to);
                self.count(from.len);
            }
        }
    }

    fn count(&mut self, bytes: u32) {
        self.moved.messages += 1;
        self.moved.bytes += u64::from(bytes);
    }

    /// Copies records to the end of the log and waits until they are durable. Returns where each is, by its index.
    fn copy(&mut self, wanted: &[Stored]) -> Result<Vec<(usize, Place)>, KeepError> {
        let commit = self.journal.group_commit();
        if matches!(commit.admission(), Admission::Full | Admission::Failed) {
            return Err(KeepError::NotDurable);
        }
        let mut copied = Vec::with_capacity(wanted.len());
        self.journal.read_records(wanted, &mut |index, _, record| match record {
            Ok(record) if message_record::is_intact(record) => {
                let copy = |out: &mut Vec<u8>, _| out.extend_from_slice(record);
                copied.push((index, commit.stage(Urgency::Urgent, copy).0));
            }
            _ => self.moved.unreadable += 1,
        });
        commit.flush();
        let last = copied.iter().map(|(_, place)| place.batch).max().unwrap_or_default();
        if commit.wait_durable(last, self.patience) { Ok(copied) } else { Err(KeepError::NotDurable) }
    }
}

/// Cuts a list into parts of about [`COPY`] bytes.
fn parts<T>(list: &[T], len: impl Fn(&T) -> u32) -> impl Iterator<Item = &[T]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|item| {
            let first = bytes == 0;
            bytes += len(item) as usize;
            first || bytes <= COPY
        });
        let (part, after) = rest.split_at(fits.count());
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}
