//! Events of the core as log lines.

use tercet_broker::event::{Event, EventSink};

use crate::logging::CONNECTIONS;

/// Writes events to the log. Connects and disconnects are logged by the faces, which know more about them.
#[derive(Debug, Default)]
pub struct EventLog;

impl EventSink for EventLog {
    fn event(&self, event: Event) {
        match event {
            Event::Connected { .. } | Event::Disconnected { .. } => {}
            Event::SessionEnded { client_id, expired: true } => {
                tracing::info!(target: CONNECTIONS, %client_id, "session expired");
            }
            Event::SessionEnded { client_id, expired: false } => {
                tracing::debug!(target: CONNECTIONS, %client_id, "session ended");
            }
            Event::WillPublished { client_id, topic } => {
                tracing::info!(target: CONNECTIONS, %client_id, %topic, "will published");
            }
        }
    }
}
