//! What an operation of the core asks its caller to do.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::body_budget::Account;
use crate::metrics::Counters;
use crate::named_queue::DeadLetter;
use crate::outbox::ConnectionRef;
use crate::read_back::Fetch;
use crate::shared_group::SharedGroup;
use crate::undurable::Deferred;
use crate::vhost::Policy;
use crate::vhost::observing::FetchedValues;

/// Collected while a batch runs, carried out by the reactor after it.
///
/// One per reactor, reused from batch to batch, so that nothing here allocates in steady state.
#[derive(Default)]
pub struct Effects {
    /// Connections that have something to write; each at most once until it is flushed.
    pub wakes: Vec<ConnectionRef>,
    /// Encoded forms of the message being fanned out.
    pub forms: EncodedForms,
    /// Output buffers ready for reuse.
    pub buffers: BufferPool,
    /// Counters of this batch.
    pub counters: Counters,
    /// Who is owed a visit when the log has moved: call [`crate::vhost::Vhost::after_durable`] then. Not to be dropped:
    /// they are on no other list.
    pub deferred: Vec<Deferred>,
    /// Values that were read for those who asked ([`crate::vhost::Vhost::fetch_values`]), for the reactors of their tickets.
    pub values: Vec<FetchedValues>,
    /// The policy of the virtual host used last.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Entries of shared groups that a member has settled or given back; worked off without a session lock.
    pub(crate) group_work: Vec<GroupWork>,
    /// Messages that queues could not keep; published once no queue is locked.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Who needs messages that are only in the log.
    pub(crate) fetches: Vec<Fetch>,
    /// Memory of messages that has come or gone.
    pub(crate) memory: Account,
}

impl Effects {
    /// Whether something has to be done now that no session and no queue is locked.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.group_work.is_empty() || !self.dead_letters.is_empty()
    }
}

/// Work for a shared group that had to wait until no session was locked.
pub(crate) enum GroupWork {
    /// The member acknowledged the entry.
    Settled(Arc<SharedGroup>, u64),
    /// The member left with the entry unacknowledged.
    Returned(Arc<SharedGroup>, u64),
    /// The member has credit again.
    Credit(Arc<SharedGroup>),
}

/// A PUBLISH encoded once per form (version, QoS, flags) and shared by all subscribers of that form.
///
/// The core does not know what a form is: the face chooses a key and says where the packet identifier is.
#[derive(Default)]
pub struct EncodedForms {
    bytes: Vec<u8>,
    forms: SmallVec<[Form; 4]>,
}

struct Form {
    key: u64,
    start: usize,
    end: usize,
    patch: Option<usize>,
}

impl EncodedForms {
    /// Forgets all forms; called for each message.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.forms.clear();
    }

    /// The bytes of the form `key`, encoding it with `encode` the first time. `encode` appends to the buffer and
    /// returns the offset, within what it appended, of a two-byte field that differs per receiver.
    pub fn get_or_encode(
        &mut self,
        key: u64,
        encode: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
    ) -> (&[u8], Option<usize>) {
        let found = self.forms.iter().position(|form| form.key == key);
        let index = found.unwrap_or_else(|| {
            let start = self.bytes.len();
            let patch = encode(&mut self.bytes);
            self.forms.push(Form { key, start, end: self.bytes.len(), patch });
            self.forms.len() - 1
        });
        match self.forms.get(index) {
            Some(form) => (self.bytes.get(form.start..form.end).unwrap_or_default(), form.patch),
            None => (&[], None),
        }
    }
}

/// Recycles output buffers between connections, so that an idle connection owns none.
#[derive(Default)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    const KEPT: usize = 64;
    const LARGEST: usize = 256 * 1024;

    /// An empty buffer, with capacity if one is free.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    /// Returns a buffer. Large ones and those beyond the pool's size are dropped.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && buffer.capacity() <= Self::LARGEST && self.free.len() < Self::KEPT {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}
