//! What happens to a connection, for those who want to know.

use std::time::Duration;

use crate::Error;

/// Something that happened to the connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The connection is back.
    Connected {
        /// Whether the broker continued the session.
        session_present: bool,
        /// How many attempts it took.
        attempt: u32,
    },
    /// The connection was lost.
    Disconnected {
        /// Why.
        reason: Error,
        /// When the next attempt follows; `None` if there will be none.
        retry_in: Option<Duration>,
    },
    /// The broker had forgotten the session, so these many filters were subscribed again.
    Resubscribed(usize),
}
