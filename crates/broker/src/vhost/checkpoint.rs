//! A checkpoint of the virtual hosts, taken while everything goes on.
//!
//! Every object (a session, a slice of a queue, a group, a slice of the retained topics) is copied under its own lock,
//! together with its *cut*: the place of the next record. What happens to it later has its record at or behind the cut and
//! is replayed; what happened before is in the copy. No lock is held while something is written.
//!
//! The checkpoint is put in force only when the log is durable up to the greatest cut: otherwise a copy could show what a
//! crash has undone.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tercet_log::batch::Batch;
use tercet_log::engine::CheckpointWriter;
use tercet_log::error::LogError;
use tercet_log::position::{Place, Position};

use crate::hosts::VhostId;
use crate::journal::{Journal, LogJournal};
use crate::named_queue::NamedQueue;
use crate::queue::{Queue, Stage};
use crate::record::EntryExtras;
use crate::record::checkpoint_record::{
    Begin, CheckpointRecord, GroupImage, Owner, QueueSlice, SessionImage, SliceEntry,
};
use crate::record::named_images::{DefinitionSlice, DuplicateSlice, NamedQueueImage, TopologyImage};
use crate::session::{Session, SessionState};
use crate::shared_group::SharedGroup;
use crate::vhost::Vhost;

/// Queue entries, or retained topics, that are copied under one hold of their lock.
pub(crate) const SLICE: usize = 4096;
/// Bytes of a part.
const PART: usize = 256 << 10;

/// A checkpoint that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// Where replay begins.
    pub replay_from: Position,
    /// Its records.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The extents that nothing needs any more, by their first positions: they end before `replay_from`, and nobody held
    /// a message in them when the checkpoint was begun. Only these may be trimmed: another one may have died since, but this
    /// checkpoint still refers to it.
    pub dead: Vec<Position>,
}

/// The log cannot be kept up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// It cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It does not become durable.
    #[error("the log takes no more records at present")]
    NotDurable,
}

impl Vhost {
    /// Writes a checkpoint of everything durable and puts it in force. Blocks on the disk, and for up to `patience` until
    /// what was staged meanwhile is durable. One at a time. For a virtual host that is the only one; else
    /// [`crate::hosts::Hosts::checkpoint`].
    ///
    /// # Errors
    /// The earlier checkpoint, if there is one, stays in force.
    pub fn checkpoint(
        self: &Arc<Self>,
        journal: &LogJournal,
        patience: Duration,
    ) -> Result<Checkpointed, KeepError> {
        self.checkpoint_in_slices(journal, SLICE, patience)
    }

    /// The same with slices of `most` queue entries, or retained topics.
    ///
    /// # Errors
    /// As for [`Vhost::checkpoint`].
    pub fn checkpoint_in_slices(
        self: &Arc<Self>,
        journal: &LogJournal,
        most: usize,
        patience: Duration,
    ) -> Result<Checkpointed, KeepError> {
        write(&mut || (vec![Arc::clone(self)], 1), journal, most, patience)
    }
}

/// Writes a checkpoint of the virtual hosts that `hosts` lists, with the number of the next one, and puts it in force. They
/// are listed after it was begun: what is made later has a record that says so.
pub(crate) fn write(
    hosts: &mut dyn FnMut() -> (Vec<Arc<Vhost>>, u64),
    journal: &LogJournal,
    most: usize,
    patience: Duration,
) -> Result<Checkpointed, KeepError> {
    let commit = journal.group_commit();
    let log = commit.log();
    let begun = commit.cut();
    let replay_from = begun.batch;
    let dead = dead_extents(journal, replay_from);
    let writer = log.begin_checkpoint()?;
    let part = Batch::default();
    let host = VhostId::DEFAULT;
    let mut walk = Walk { journal, writer, part, host, images: 0, bytes: 0, most: most.max(1) };
    let (hosts, next_host) = hosts();
    for host in hosts {
        walk.host = host.id();
        host.walk(&mut walk, begun, next_host)?;
    }
    walk.host = VhostId::DEFAULT;
    walk.put(&CheckpointRecord::End(walk.images))?;
    walk.write_part()?;
    let Walk { writer, images, bytes, .. } = walk;
    let staged = commit.staged();
    commit.flush();
    if !commit.wait_durable(staged, patience) {
        return Err(KeepError::NotDurable);
    }
    writer.commit(replay_from)?;
    Ok(Checkpointed { replay_from, images, bytes, dead })
}

impl Vhost {
    fn walk(&self, walk: &mut Walk<'_>, begun: Place, next_host: u64) -> Result<(), LogError> {
        walk.put(&CheckpointRecord::Begin(Begin {
            cut: begun,
            next_session: self.next_session.load(Relaxed),
            next_group: self.next_group.load(Relaxed),
            next_queue: self.last_queue_id() + 1,
            next_host,
            name: Arc::clone(self.name()),
        }))?;
        for group in self.shared_groups() {
            walk.put_group(&group)?;
        }
        let mut result = Ok(());
        self.registry.for_each(|session| {
            if result.is_ok() {
                result = walk.put_session(session);
            }
        });
        result?;
        self.walk_topology(walk)?;
        self.walk_retained(walk)?;
        self.walk_duplicates(walk)?;
        if self.id() == VhostId::DEFAULT {
            self.walk_definitions(walk)?;
        }
        Ok(())
    }

    /// The queues that there were at the cut of exchanges and bindings, then these. A queue that has ended since is there
    /// without anything in it: the record of its end takes the bindings to it away.
    fn walk_topology(&self, walk: &mut Walk<'_>) -> Result<(), LogError> {
        let (cut, exchanges, bindings, queues) = {
            let tables = self.topology.tables.read();
            let cut = walk.journal.cut();
            let exchanges = tables.exchanges.values().map(|entry| &entry.exchange);
            let exchanges = exchanges.filter(|exchange| exchange.is_recorded());
            let exchanges: Vec<_> = exchanges.map(|exchange| exchange.declaration.clone()).collect();
            let bindings = tables.bindings().filter(|binding| tables.is_recorded(binding));
            let bindings: Vec<_> = bindings.map(Arc::clone).collect();
            let queues = tables.queues.values().filter(|queue| queue.is_recorded());
            (cut, exchanges, bindings, queues.map(Arc::clone).collect::<Vec<_>>())
        };
        for queue in queues {
            walk.put_named_queue(&queue, cut)?;
        }
        for part in exchanges.chunks(walk.most) {
            let (exchanges, bindings) = (part.to_vec(), Vec::new());
            walk.put(&CheckpointRecord::Topology(TopologyImage { cut, exchanges, bindings }))?;
        }
        for part in bindings.chunks(walk.most) {
            let (exchanges, bindings) =
                (Vec::new(), part.iter().map(|binding| (**binding).clone()).collect());
            walk.put(&CheckpointRecord::Topology(TopologyImage { cut, exchanges, bindings }))?;
        }
        // Without any the cut counts all the same.
        if exchanges.is_empty() && bindings.is_empty() {
            let (exchanges, bindings) = (Vec::new(), Vec::new());
            walk.put(&CheckpointRecord::Topology(TopologyImage { cut, exchanges, bindings }))?;
        }
        Ok(())
    }

    fn walk_retained(&self, walk: &mut Walk<'_>) -> Result<(), LogError> {
        let mut after = None;
        loop {
            let mut slice = self.retained.image(after.as_ref(), walk.most, walk.journal);
            for (_, stored, _) in &mut slice.values {
                *stored = walk.journal.current(stored);
            }
            after = slice.last.clone();
            walk.put(&CheckpointRecord::Retained(slice))?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn walk_duplicates(&self, walk: &mut Walk<'_>) -> Result<(), LogError> {
        let mut after = None;
        loop {
            let (cut, last, rows) = self.duplicates().image(after.as_ref(), walk.most, walk.journal);
            walk.put(&CheckpointRecord::Duplicates(DuplicateSlice { cut, last: last.clone(), rows }))?;
            after = last;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn walk_definitions(&self, walk: &mut Walk<'_>) -> Result<(), LogError> {
        let mut after = None;
        loop {
            let (cut, last, rows) = self.definitions().image(after.as_ref(), walk.most, walk.journal);
            walk.put(&CheckpointRecord::Definitions(DefinitionSlice { cut, last: last.clone(), rows }))?;
            after = last;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// The extents before `replay_from` in which nobody holds a message.
fn dead_extents(journal: &LogJournal, replay_from: Position) -> Vec<Position> {
    let extents = journal.group_commit().log().extents();
    let live = journal.live(&extents);
    // The last one is still growing, whatever its end is now.
    let whole = extents.len().saturating_sub(1);
    let dead = extents.iter().zip(live).take(whole);
    let dead = dead.filter(|(extent, live)| *live == 0 && extent.end <= replay_from);
    dead.map(|(extent, _)| extent.first).collect()
}

/// A checkpoint being written.
struct Walk<'a> {
    journal: &'a LogJournal,
    writer: Box<dyn CheckpointWriter + 'a>,
    part: Batch,
    /// The virtual host that is walked through.
    host: VhostId,
    images: u64,
    bytes: u64,
    /// Entries, or topics, of a slice.
    most: usize,
}

impl Walk<'_> {
    fn put(&mut self, image: &CheckpointRecord) -> Result<(), LogError> {
        image.write(self.part.out(), self.host);
        self.images += 1;
        if self.part.len() >= PART { self.write_part() } else { Ok(()) }
    }

    fn write_part(&mut self) -> Result<(), LogError> {
        if !self.part.is_empty() {
            self.bytes += self.part.len() as u64;
            self.writer.write(&mut self.part)?;
            self.part.clear(4 * PART);
        }
        Ok(())
    }

    fn put_session(&mut self, session: &Arc<Session>) -> Result<(), LogError> {
        let (owner, most) = (Owner::Session(session.id()), self.most);
        self.put_queue(&mut |from, journal| {
            let state = session.lock();
            if !state.is_durable() || state.ended {
                return None;
            }
            let cut = journal.cut();
            let image = (from == 0).then(|| CheckpointRecord::Session(session.image(&state, cut)));
            Some((image, slice(&state.queue, owner, from, most, cut)))
        })
    }

    fn put_group(&mut self, group: &Arc<SharedGroup>) -> Result<(), LogError> {
        let (owner, most) = (Owner::Group(group.id()), self.most);
        self.put_queue(&mut |from, journal| {
            group.with_recorded_queue(|queue| {
                let cut = journal.cut();
                let image = (from == 0).then(|| {
                    CheckpointRecord::Group(GroupImage {
                        id: group.id(),
                        cut,
                        name: Arc::from(group.name()),
                        filter: Arc::clone(group.filter()),
                        next_sequence: queue.next_sequence(),
                    })
                });
                (image, slice(queue, owner, from, most, cut))
            })
        })
    }

    /// A queue with a name, which existed at `listed`.
    fn put_named_queue(&mut self, queue: &Arc<NamedQueue>, listed: Place) -> Result<(), LogError> {
        let (owner, most) = (Owner::Queue(queue.id()), self.most);
        // What concerns the queue as a whole may be applied again: it says how things are, not how they change.
        let image = |next_sequence| {
            CheckpointRecord::NamedQueue(NamedQueueImage {
                id: queue.id(),
                cut: listed,
                declaration: queue.declaration(),
                paused: queue.is_paused(),
                next_sequence,
            })
        };
        let mut shown = false;
        self.put_queue(&mut |from, journal| {
            let mut slice = queue.with_recorded(|queue| slice(queue, owner, from, most, journal.cut()))?;
            let header = (from == 0).then(|| image(slice.next_sequence));
            let sequences = slice.entries.first().map_or(0, |entry| entry.sequence)..slice.end;
            let mut extras = queue.extras_of(sequences).into_iter().peekable();
            for entry in &mut slice.entries {
                while extras.next_if(|(sequence, _)| *sequence < entry.sequence).is_some() {}
                if let Some((_, found)) = extras.next_if(|(sequence, _)| *sequence == entry.sequence) {
                    entry.extras = found;
                }
            }
            shown = true;
            Some((header, slice))
        })?;
        if shown { Ok(()) } else { self.put(&image(0)) }
    }

    /// Puts the owner's image, then its queue slice by slice. `copy` takes the lock and returns the image (the first
    /// time) and the slice that begins with a sequence; `None` if the owner is not durable any more.
    fn put_queue(&mut self, copy: &mut Copy<'_>) -> Result<(), LogError> {
        let mut from = 0;
        while let Some((image, mut slice)) = copy(from, self.journal) {
            if let Some(image) = image {
                self.put(&image)?;
                if slice.entries.is_empty() && slice.end == u64::MAX {
                    // The image says it all.
                    return Ok(());
                }
            }
            for entry in &mut slice.entries {
                entry.stored = self.journal.current(&entry.stored);
            }
            from = slice.end;
            self.put(&CheckpointRecord::Slice(slice))?;
            if from == u64::MAX {
                break;
            }
        }
        Ok(())
    }
}

type Copy<'a> = dyn FnMut(u64, &LogJournal) -> Option<(Option<CheckpointRecord>, QueueSlice)> + 'a;

/// A copy of the recorded entries with sequences from `from` on, `most` of them at most.
fn slice(queue: &Queue, owner: Owner, from: u64, most: usize, cut: Place) -> QueueSlice {
    let mut entries = Vec::new();
    let mut end = u64::MAX;
    let all = queue.entries_from(from).take_while(|(sequence, ..)| queue.records(*sequence));
    for (looked_at, (sequence, entry, stage)) in all.enumerate() {
        if looked_at == most {
            end = sequence;
            break;
        }
        let Some(stored) = entry.body.stored().filter(|_| entry.is_durable()) else { continue };
        entries.push(SliceEntry {
            sequence,
            stored,
            ids: entry.subscription_ids(),
            qos: entry.qos,
            retain: entry.retain,
            released: stage == Stage::Released,
            redelivered: queue.entry(sequence).is_some_and(|(.., redelivered)| redelivered),
            extras: EntryExtras::default(),
        });
    }
    QueueSlice { owner, cut, end, next_sequence: queue.next_sequence(), entries }
}

impl Session {
    fn image(&self, state: &SessionState, cut: Place) -> SessionImage {
        let awaits = |filter: &str| state.replay.as_ref().is_some_and(|replay| replay.awaits(filter));
        let subscriptions = state.subscriptions.iter().flat_map(|subscriptions| subscriptions.iter());
        SessionImage {
            id: self.id(),
            cut,
            client_id: Arc::clone(self.client_id()),
            user: state.user.clone(),
            expiry: state.expiry,
            offline_at_ms: state.offline_at_ms,
            next_sequence: state.queue.next_sequence(),
            subscriptions: subscriptions
                .map(|(filter, options)| (Arc::clone(filter), *options, awaits(filter)))
                .collect(),
            received: state.received.iter().copied().collect(),
            will: state.will.clone(),
        }
    }
}
