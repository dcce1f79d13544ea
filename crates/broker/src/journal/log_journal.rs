//! The journal that is a log: records become bytes, messages are written once and counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tercet_log::engine::Extent;
use tercet_log::error::LogError;
use tercet_log::group_commit::{self, GroupCommit, ReadError, Urgency};
use tercet_log::position::{Place, Position};

use crate::body::{Body, Stored};
use crate::hosts::VhostId;
use crate::journal::accounts::{Accounts, SharedRecord};
use crate::journal::{Admission, Journal};
use crate::message::Message;
use crate::record::message_record::Parts;
use crate::record::{
    GroupRecord, Malformed, NamedQueueRecord, QueueRecord, Record, SessionRecord, codec, message_record,
};

/// A message cannot be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBackError {
    /// Its record is not durable yet; whoever published it still has it in memory.
    #[error("the message at {0} is not written yet")]
    NotDurable(Place),
    /// The log says why.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its record is not as it was written.
    #[error("the message at {place} cannot be read: {reason}")]
    Damaged {
        /// Where it is.
        place: Place,
        /// What is wrong.
        reason: Malformed,
    },
}

impl From<ReadError> for ReadBackError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotDurable(place) => Self::NotDurable(place),
            ReadError::Log(error) => Self::Log(error),
            other => Self::Log(LogError::Io {
                operation: "read back",
                path: "the log".into(),
                source: std::io::Error::other(other.to_string()),
            }),
        }
    }
}

/// A journal above a log, which is that of the default virtual host; [`LogJournal::of_host`] gives those of others. Holders of
/// messages are counted over all of them.
///
/// The first record that needs a message puts the message's record before itself, in the same batch. From then on whoever
/// holds the message refers to that.
pub struct LogJournal {
    commit: Arc<GroupCommit>,
    accounts: Accounts,
}

impl fmt::Debug for LogJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogJournal").finish_non_exhaustive()
    }
}

impl LogJournal {
    /// A journal of which nothing is held yet; what the log has is taken over by
    /// [`crate::vhost::Vhost::recover_from`].
    #[must_use]
    pub fn new(commit: Arc<GroupCommit>) -> Arc<Self> {
        Arc::new(Self { commit, accounts: Accounts::default() })
    }

    /// The staging below.
    #[must_use]
    pub fn group_commit(&self) -> &Arc<GroupCommit> {
        &self.commit
    }

    /// Bytes of messages' records that somebody holds, within each of these extents, which are in the order of their positions
    /// (as [`tercet_log::engine::ShardLog::extents`] gives them, all or some). An extent with none is dead once a checkpoint is in force that was begun after
    /// that.
    #[must_use]
    pub fn live(&self, extents: &[Extent]) -> Vec<u64> {
        self.accounts.live(extents)
    }

    /// Bytes of messages' records that somebody holds, in the whole log.
    #[must_use]
    pub fn total_live(&self) -> u64 {
        self.accounts.total_live()
    }

    /// The holders of each shared message's record, by the place that they name it by.
    #[must_use]
    pub fn shared_holders(&self) -> BTreeMap<Place, u32> {
        self.accounts.shared()
    }

    /// Reads a message back. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ReadBackError`]. The record of a message that is not shared may have been moved, and its old place given up,
    /// since `stored` was copied from the entry: look there again.
    pub fn read(&self, stored: &Stored) -> Result<Message, ReadBackError> {
        let mut bytes = Vec::new();
        let (place, read) = self.read_where_it_is(stored, self.current(stored).place(), &mut bytes);
        read?;
        decode(&bytes, stored, place)
    }

    /// Reads many messages back, those that are neighbours in the log at once. Shows each with its index in `wanted`, in the
    /// order of the log. Blocks on the disk.
    pub fn read_run(&self, wanted: &[Stored], each: &mut dyn FnMut(usize, Result<Message, ReadBackError>)) {
        let mut last = Parts::default();
        self.read_in_buffers(wanted, SHARED_BUFFER, &mut |index, place, record| {
            let Some(stored) = wanted.get(index) else { return };
            let damaged = |reason| ReadBackError::Damaged { place, reason };
            let read = |record| message_record::read_shared(&record, stored, &mut last).map_err(damaged);
            each(index, record.and_then(read));
        });
    }

    /// The same for the records as they are, without a look at what they say.
    pub(crate) fn read_records(&self, wanted: &[Stored], each: &mut EachRecord<'_>) {
        self.read_in_buffers(wanted, LARGEST_BUFFER, &mut |index, place, record| match record {
            Ok(record) => each(index, place, Ok(&record)),
            Err(error) => each(index, place, Err(error)),
        });
    }

    /// Shows records as parts of buffers, which have up to `most` bytes unless a record alone has more.
    fn read_in_buffers(
        &self,
        wanted: &[Stored],
        most: usize,
        each: &mut dyn FnMut(usize, Place, Result<Bytes, ReadBackError>),
    ) {
        let mut order: Vec<(Place, usize)> =
            wanted.iter().enumerate().map(|(index, stored)| (self.current(stored).place(), index)).collect();
        order.sort_unstable();
        let mut rest = &order[..];
        while let Some(((first, _), _)) = rest.split_first() {
            let (count, length) = neighbours(rest, wanted, most);
            let (run, after) = rest.split_at(count);
            rest = after;
            let mut bytes = Vec::with_capacity(length);
            let whole = self.commit.read(*first, length, &mut bytes).is_ok();
            let bytes = Bytes::from(bytes);
            for (place, index) in run {
                let length = wanted.get(*index).map_or(0, |stored| stored.len as usize);
                let start = (place.offset - first.offset) as usize;
                if whole && start + length <= bytes.len() {
                    each(*index, *place, Ok(bytes.slice(start..start + length)));
                    continue;
                }
                // One of them cannot be read: which one?
                let Some(stored) = wanted.get(*index) else { continue };
                let mut single = Vec::new();
                let (place, read) = self.read_where_it_is(stored, *place, &mut single);
                each(*index, place, read.map(|()| single.into()).map_err(ReadBackError::from));
            }
        }
    }

    /// Reads one record at `place`, or where it has been moved to meanwhile.
    fn read_where_it_is(
        &self,
        stored: &Stored,
        mut place: Place,
        into: &mut Vec<u8>,
    ) -> (Place, Result<(), ReadError>) {
        loop {
            into.clear();
            let read = self.commit.read(place, stored.len as usize, into);
            let current = self.current(stored).place();
            if read.is_ok() || current == place {
                return (place, read);
            }
            place = current;
        }
    }

    /// The record of a message as it is now.
    pub(crate) fn current(&self, stored: &Stored) -> Stored {
        self.accounts.current(stored)
    }

    /// Takes over a shared record that this many hold in what was rebuilt from the log.
    pub(crate) fn adopt_shared(&self, stored: &Stored, holders: u32) {
        self.accounts.adopt_shared(stored, holders);
    }

    /// Takes over the bytes that are held in the extent that begins at `batch`.
    pub(crate) fn adopt_bytes(&self, batch: Position, bytes: u64) {
        self.accounts.add_live(batch, bytes);
    }

    pub(crate) fn shared_within(&self, wanted: impl Fn(Position) -> bool) -> Vec<SharedRecord> {
        self.accounts.shared_within(wanted)
    }

    pub(crate) fn shared_moved(&self, record: &SharedRecord, to: Place) -> bool {
        self.accounts.shared_moved(record, to)
    }

    pub(crate) fn moved(&self, from: &Stored, to: Place) {
        self.accounts.moved(from, to);
    }

    /// The journal of a virtual host.
    #[must_use]
    pub fn of_host(self: &Arc<Self>, host: VhostId) -> HostJournal {
        HostJournal { log: Arc::clone(self), host }
    }

    fn stage_in(&self, host: VhostId, record: &Record<'_>) -> Position {
        let body = record.body();
        let (place, ()) = self.commit.stage(urgency(record), |out, place| {
            let start = out.len();
            let stored = body.map(|body| self.hold(host, body, out, place));
            let written = (out.len() - start) as u32;
            let place = Place { offset: place.offset + written, ..place };
            codec::write(out, place, host, record, stored.as_ref());
        });
        place.batch
    }

    /// Adds a holder of the body, putting the message's record at `place` if it has none; returns where that is.
    fn hold(&self, host: VhostId, body: &Body, out: &mut Vec<u8>, place: Place) -> Stored {
        let message = match body {
            Body::Memory(message) => message,
            Body::Log(stored) => {
                let again = stored.shared.then(|| self.accounts.hold_again(stored)).flatten();
                return again.unwrap_or_else(|| {
                    self.accounts.hold_first(stored);
                    *stored
                });
            }
        };
        let mut known = message.stored.lock();
        if let Some(stored) = &mut *known {
            if stored.shared {
                if let Some(current) = self.accounts.hold_again(stored) {
                    return current;
                }
            } else {
                debug_assert!(false, "several hold a message that is not shared");
                stored.shared = true;
                self.accounts.share(stored);
                return *stored;
            }
        }
        let start = out.len();
        message_record::write(out, host, message);
        let size = u32::try_from(message.size()).unwrap_or(u32::MAX);
        let stored = Stored::new(place, (out.len() - start) as u32, size, message.shared);
        *known = Some(stored);
        self.accounts.hold_first(&stored);
        stored
    }
}

/// Is shown a record with its index and its place.
pub(crate) type EachRecord<'a> = dyn FnMut(usize, Place, Result<&[u8], ReadBackError>) + 'a;

/// Bytes that messages share which are read back together: what one of them, left alone, keeps in memory at most, unless
/// it is larger itself.
const SHARED_BUFFER: usize = 128 << 10;
/// Bytes read at once where nothing of them is kept.
const LARGEST_BUFFER: usize = 1 << 20;

/// How many of the records at the beginning of `order` are read at once, and how many bytes that is: those of one batch with
/// little between them, up to `most` bytes unless the first has more.
fn neighbours(order: &[(Place, usize)], wanted: &[Stored], most: usize) -> (usize, usize) {
    const GAP: usize = 4 << 10;
    let len = |index: &usize| wanted.get(*index).map_or(0, |stored| stored.len as usize);
    let Some((first, index)) = order.first() else { return (0, 0) };
    let mut end = first.offset as usize + len(index);
    let mut count = 1;
    for (place, index) in order.iter().skip(1) {
        let start = place.offset as usize;
        let next = end.max(start + len(index));
        if place.batch != first.batch || start > end + GAP || next - first.offset as usize > most {
            break;
        }
        end = next;
        count += 1;
    }
    (count, end - first.offset as usize)
}

fn decode(bytes: &[u8], stored: &Stored, place: Place) -> Result<Message, ReadBackError> {
    message_record::read(bytes, stored).map_err(|reason| ReadBackError::Damaged { place, reason })
}

/// Nobody waits for a record that only spares repetitions: an entry that is gone, a connection that is.
fn urgency(record: &Record<'_>) -> Urgency {
    match record {
        Record::Session(
            _,
            SessionRecord::Queue(QueueRecord::Settled { .. })
            | SessionRecord::Offline { .. }
            | SessionRecord::Replayed { .. },
        )
        | Record::Group(_, GroupRecord::Queue(QueueRecord::Settled { .. }))
        | Record::NamedQueue(
            _,
            NamedQueueRecord::Settled { .. }
            | NamedQueueRecord::SettledRun { .. }
            | NamedQueueRecord::Returned { .. },
        )
        | Record::Duplicate(_) => Urgency::Lazy,
        _ => Urgency::Urgent,
    }
}

impl Journal for LogJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        self.stage_in(VhostId::DEFAULT, record)
    }

    fn together(&self, operation: &mut dyn FnMut()) {
        self.commit.together(operation);
    }

    fn release(&self, stored: &Stored) {
        self.accounts.release(stored);
    }

    fn staged(&self) -> Position {
        self.commit.staged()
    }

    fn cut(&self) -> Place {
        self.commit.cut()
    }

    fn durable(&self) -> Position {
        self.commit.durable()
    }

    fn flush(&self) {
        self.commit.flush();
    }

    fn admission(&self) -> Admission {
        match self.commit.admission() {
            group_commit::Admission::Open => Admission::Open,
            group_commit::Admission::Busy => Admission::Busy,
            group_commit::Admission::Full => Admission::Full,
            group_commit::Admission::Failed => Admission::Failed,
        }
    }
}

/// The journal of one virtual host, above the log that all share.
#[derive(Clone, Debug)]
pub struct HostJournal {
    log: Arc<LogJournal>,
    host: VhostId,
}

impl Journal for HostJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        self.log.stage_in(self.host, record)
    }

    fn together(&self, operation: &mut dyn FnMut()) {
        self.log.together(operation);
    }

    fn release(&self, stored: &Stored) {
        self.log.release(stored);
    }

    fn staged(&self) -> Position {
        self.log.staged()
    }

    fn cut(&self) -> Place {
        self.log.cut()
    }

    fn durable(&self) -> Position {
        self.log.durable()
    }

    fn flush(&self) {
        self.log.flush();
    }

    fn admission(&self) -> Admission {
        self.log.admission()
    }
}
