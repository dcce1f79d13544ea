//! The typed event stream: what happened, for logs, audit, the console and rules. Never on the message path.

use std::sync::Arc;

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session is connected.
    Connected {
        /// Client identifier.
        client_id: Arc<str>,
        /// Whether earlier state was found.
        session_present: bool,
    },
    /// A session's connection is gone.
    Disconnected {
        /// Client identifier.
        client_id: Arc<str>,
    },
    /// A session ended and its state is gone.
    SessionEnded {
        /// Client identifier.
        client_id: Arc<str>,
        /// Whether it expired, rather than being replaced or ended by its client.
        expired: bool,
    },
    /// A will was published.
    WillPublished {
        /// Client identifier.
        client_id: Arc<str>,
        /// Topic of the will.
        topic: Arc<str>,
    },
}

/// Receives events. Implementations must not block.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}
