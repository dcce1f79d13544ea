//! What a log has to be able to do. The local engine keeps it in files of one machine; another one can keep it in a
//! replicated stream. Nothing above these traits may know which.
//!
//! All calls block. [`ShardLog::append`] is called by one committer thread with one batch at a time; everything else by any
//! thread but those that serve clients.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::error::{AppendError, LogError};
use crate::position::Position;

/// The log of one shard.
pub trait ShardLog: Send + Sync {
    /// Takes the shard, durably: whoever claimed it before cannot append any more.
    ///
    /// # Errors
    /// The claim cannot be made durable.
    fn claim(&self) -> Result<Claim, LogError>;

    /// The position that follows a batch of `payload` bytes at `at`: so records can be staged behind a batch that is
    /// still being written.
    fn position_after(&self, at: Position, payload: usize) -> Position;

    /// Appends a batch at `claim.next` and returns when it is as durable as this log makes it. On success the claim has
    /// moved on behind it; after an error it has not. The batch comes back unchanged but for its header.
    ///
    /// # Errors
    /// See [`AppendError`]. After [`AppendError::Unknown`] the only thing to do is [`ShardLog::resolve`].
    fn append(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Position, AppendError>;

    /// Finds out what became of a batch whose append ended with [`AppendError::Unknown`], and makes the log fit to be
    /// appended to again. A position belongs to one batch for ever: with [`Resolved::NotThere`] the same batch has to be
    /// appended again.
    ///
    /// # Errors
    /// It cannot be found out now; try again later.
    fn resolve(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Resolved, AppendError>;

    /// Bytes of the largest batch that can be appended without asking the system for more space, once it has refused some;
    /// `u64::MAX` as long as it has not, and again when it has given some.
    fn room(&self) -> u64;

    /// The batches from `from` on, in order, to the end; from the first one there is with [`Position::NONE`].
    ///
    /// # Errors
    /// There is nothing at `from`, or it cannot be read.
    fn read(&self, from: Position) -> Result<Batches<'_>, LogError>;

    /// Appends `length` bytes of the payload of the batch at `batch`, from `offset` on, to `into`. Does not check them: what is kept for
    /// being read back carries a checksum of its own.
    ///
    /// # Errors
    /// They cannot be read, or are not there.
    fn get(&self, batch: Position, offset: u32, length: usize, into: &mut Vec<u8>) -> Result<(), LogError>;

    /// The parts in which space can be given back, oldest first; the last one is being appended to.
    fn extents(&self) -> Vec<Extent>;

    /// Gives the space of these extents back, named by their first position. Nothing in them will be read again, and a checkpoint
    /// covers them. An extent that is not there, or that is being appended to, is left alone.
    ///
    /// # Errors
    /// Not all of it could be given back; what remains is listed by [`ShardLog::extents`] as before.
    fn trim(&self, extents: &[Position]) -> Result<(), LogError>;

    /// Begins a checkpoint; it replaces the earlier one when it is committed.
    ///
    /// # Errors
    /// It cannot be created.
    fn begin_checkpoint(&self) -> Result<Box<dyn CheckpointWriter + '_>, LogError>;

    /// The checkpoint in force.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    fn checkpoint(&self) -> Result<Option<Checkpoint<'_>>, LogError>;
}

/// Batches as they are read.
pub type Batches<'a> = Box<dyn BatchReader + 'a>;

/// Hands out batches one by one, each of them lent until the next one is asked for, so that reading a long log copies
/// and allocates nothing per batch.
pub trait BatchReader {
    /// Position and payload of the next batch; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read or is damaged. That ends the reading: there is nothing more after it.
    fn next(&mut self) -> Result<Option<(Position, &[u8])>, LogError>;
}

/// Hands out the parts of a checkpoint one by one, each of them lent until the next one is asked for.
pub trait PartReader {
    /// Payload of the next part; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read or is damaged. That ends the reading.
    fn next(&mut self) -> Result<Option<&[u8]>, LogError>;
}

/// The right to append.
#[derive(Debug)]
pub struct Claim {
    /// Grows with every claim of the shard.
    pub epoch: u64,
    /// Where the next batch goes.
    pub next: Position,
    /// Number of the batch before that.
    pub last_number: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// It is in the log, durably, at this position; the claim has moved on.
    Committed(Position),
    /// It is not: append it again.
    NotThere,
}

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first position.
    pub first: Position,
    /// The position behind its last batch, or a little more where what followed it is gone.
    pub end: Position,
    /// Bytes it takes up.
    pub bytes: u64,
}

/// A checkpoint being written. Dropping it abandons it.
pub trait CheckpointWriter {
    /// Adds a part: a payload of records.
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&mut self, part: &mut Batch) -> Result<(), LogError>;

    /// Makes it durable and puts it in force: whoever opens the log next begins with it and reads the log from
    /// `replay_from` on.
    ///
    /// # Errors
    /// It is not in force.
    fn commit(self: Box<Self>, replay_from: Position) -> Result<(), LogError>;
}

/// A checkpoint.
pub struct Checkpoint<'a> {
    /// Where reading the log goes on.
    pub replay_from: Position,
    /// Payloads of its parts, in order.
    pub parts: Box<dyn PartReader + 'a>,
}

/// Small metadata with compare-and-set: definitions, users, owners of shards.
pub trait Meta: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// It cannot be read.
    fn get(&self, key: &str) -> Result<Option<Versioned>, LogError>;

    /// Sets (or, with `None`, removes) a key if it still has the revision `expected` (0: it does not exist). Returns its new revision once
    /// that is durable.
    ///
    /// # Errors
    /// See [`CasError`].
    fn compare_and_set(&self, key: &str, expected: u64, value: Option<&[u8]>) -> Result<u64, CasError>;

    /// The keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// They cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, LogError>;

    /// Reports every change of keys that begin with `prefix` from now on, until the receiver is dropped.
    fn watch(&self, prefix: &str) -> std::sync::mpsc::Receiver<Change>;

    /// Takes a key for as long as the lease lives and its holder does: `None` if somebody else holds it.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn lease(
        &self,
        key: &str,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<Option<Box<dyn Lease>>, LogError>;
}

/// A value and its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Grows with every change of any key; never 0.
    pub revision: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Revision of the change.
    pub revision: u64,
    /// The new value; `None` if it was removed.
    pub value: Option<Vec<u8>>,
}

/// A key was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CasError {
    /// Somebody else has changed it: it has this revision now, 0 if it is gone.
    #[error("the key has revision {0} by now")]
    Conflict(u64),
    /// It cannot be made durable.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A key that is held; dropped, it is free again.
pub trait Lease: Send {
    /// Prolongs it. False if it is lost.
    fn renew(&mut self) -> bool;
}

/// Messages between the nodes of a cluster.
pub trait Fabric: Send + Sync {
    /// This node.
    fn node(&self) -> NodeId;

    /// The other nodes; none on a single machine.
    fn peers(&self) -> Arc<[NodeId]>;

    /// Sends a frame, in order with others of its lane, or drops it if the peer is gone.
    fn send(&self, to: NodeId, lane: Lane, frame: &[u8]);

    /// The next frame that arrived, or `None` if none came within `wait`.
    fn receive(&self, wait: Duration) -> Option<(NodeId, Lane, Vec<u8>)>;
}

/// A node of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Kinds of traffic between nodes, each with an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// May be dropped when there is too much.
    AtMostOnce,
    /// Requests and answers.
    Control,
    /// Deliveries of durable queues.
    Delivery,
}
