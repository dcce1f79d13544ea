//! The open AMQP connections, as operators see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tercet_amqp::Tuning;
use tercet_amqp::field::TableBuf;
use tercet_broker::actor::ConnectionId;
use tercet_broker::outbox::ConnectionRef;

use crate::reactor::inbox::Command;
use crate::shared::Shared;

/// An open connection.
#[derive(Debug)]
pub struct Listing {
    /// Its identity.
    pub id: ConnectionId,
    /// Its name to its reactor.
    pub connection: ConnectionRef,
    /// The listener it came by.
    pub listener: String,
    /// Where it comes from.
    pub peer: String,
    /// The user.
    pub user: Arc<str>,
    /// The virtual host.
    pub vhost: Arc<str>,
    /// What the client says of itself.
    pub client: TableBuf,
    /// What was agreed upon.
    pub tuning: Tuning,
    /// When it was opened, UTC milliseconds.
    pub connected_ms: u64,
    /// Channels that are open.
    pub channels: AtomicU32,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            id: ConnectionId(0),
            connection: ConnectionRef { reactor: 0, slot: 0, generation: 0 },
            listener: String::new(),
            peer: String::new(),
            user: Arc::from(""),
            vhost: Arc::from(""),
            client: TableBuf::new(),
            tuning: Tuning::default(),
            connected_ms: 0,
            channels: AtomicU32::new(0),
        }
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Connections {
    by_id: Mutex<HashMap<u64, Arc<Listing>>>,
}

impl Connections {
    pub(super) fn insert(&self, listing: &Arc<Listing>) {
        self.by_id.lock().insert(listing.id.0, Arc::clone(listing));
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.by_id.lock().remove(&id.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.lock().len()
    }

    /// How many there are, and how many channels are open on them.
    pub fn totals(&self) -> (usize, usize) {
        let all = self.by_id.lock();
        let channels = all.values().map(|listing| listing.channels.load(Relaxed) as usize).sum();
        (all.len(), channels)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<Arc<Listing>> {
        let mut all: Vec<_> = self.by_id.lock().values().cloned().collect();
        all.sort_unstable_by_key(|listing| listing.id);
        all
    }

    /// How many are those of a user, or of a virtual host.
    pub fn count(&self, mut which: impl FnMut(&Listing) -> bool) -> usize {
        self.by_id.lock().values().filter(|listing| which(listing)).count()
    }

    /// The connection of this identity.
    pub fn find(&self, id: ConnectionId) -> Option<Arc<Listing>> {
        self.by_id.lock().get(&id.0).cloned()
    }

    /// Closes a connection with connection.close 320, for this reason in words. False if it is gone.
    pub fn close(&self, id: ConnectionId, reason: &str, shared: &Shared) -> bool {
        let Some(listing) = self.find(id) else { return false };
        let Some(inbox) = shared.reactors.get(usize::from(listing.connection.reactor)) else { return false };
        inbox.send(Command::Close(listing.connection, reason.into()));
        true
    }
}
