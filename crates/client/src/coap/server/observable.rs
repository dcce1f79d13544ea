//! Resources that tell their observers of changes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::reply::{IntoReply, Reply};

/// Tells the observers of a resource that it has changed. Clones are the same trigger.
///
/// A change is a state, not an event: observers that are behind get the newest state and not every one in between
/// (RFC 7641 §1.3).
#[derive(Clone)]
pub struct Trigger {
    changes: watch::Sender<u64>,
}

impl Default for Trigger {
    fn default() -> Self {
        Self { changes: watch::Sender::new(0) }
    }
}

impl Trigger {
    /// A trigger for [`MethodRouter::observed`](super::MethodRouter::observed).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the handler run again for each observer.
    pub fn notify(&self) {
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// How many observers there are.
    pub fn observers(&self) -> usize {
        self.changes.receiver_count()
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A value that can be read and observed; see [`observe`](super::observe). Clones are the same value.
///
/// ```
/// use tercet_client::coap::server::{Observable, Router, observe};
///
/// let temperature = Observable::new("21.5");
/// let router: Router = Router::new().route("/temperature", observe(&temperature));
/// temperature.set("22.0");
/// ```
#[derive(Clone)]
pub struct Observable {
    value: Arc<Mutex<Reply>>,
    trigger: Trigger,
}

impl Observable {
    /// A value to begin with.
    #[must_use]
    pub fn new(value: impl IntoReply) -> Self {
        Self { value: Arc::new(Mutex::new(value.into_reply())), trigger: Trigger::new() }
    }

    /// Replaces the value and tells the observers.
    pub fn set(&self, value: impl IntoReply) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = value.into_reply();
        self.trigger.notify();
    }

    /// How many observers there are.
    pub fn observers(&self) -> usize {
        self.trigger.observers()
    }

    pub(super) fn reply(&self) -> Reply {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn trigger(&self) -> &Trigger {
        &self.trigger
    }
}
