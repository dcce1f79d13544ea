//! Alarms: what happens to a connection that publishes while memory or disk are short.
//!
//! It is read no further than its first publish, and told so once (connection.blocked) if it understands that;
//! connections that only consume are not concerned. When all is well again it is told so and read on.

use tercet_amqp::method::connection::{Blocked, Unblocked};
use tercet_broker::journal::Admission;

use crate::amqp::parent::Parent;
use crate::memory::BRAKE;
use crate::reactor::face::{FaceContext, PATIENCE, Step};

/// What a connection knows of alarms.
pub(super) struct Alarm {
    /// The client wants to be told.
    tells: bool,
    /// It is blocked.
    blocked: bool,
    /// There was no alarm when this batch was looked at.
    quiet: bool,
}

impl Alarm {
    pub(super) fn new(tells: bool) -> Self {
        Self { tells, blocked: false, quiet: false }
    }

    /// Alarms are looked at once per batch.
    pub(super) fn new_batch(&mut self) {
        self.quiet = false;
    }

    /// The connection publishes: how it has to wait, if it has to.
    #[inline]
    pub(super) fn on_publish(&mut self, parent: &Parent, cx: &mut FaceContext<'_>) -> Option<Step> {
        if self.quiet {
            return None;
        }
        let disk = parent.vhost.admission() >= Admission::Full;
        let memory = cx.shared.memory.is_short();
        if !disk && !memory {
            self.quiet = true;
            if std::mem::take(&mut self.blocked) && self.tells {
                parent.send(0, Unblocked {}, cx.effects);
            }
            return None;
        }
        if !std::mem::replace(&mut self.blocked, true) {
            let reason = if disk { "low on disk" } else { "low on memory" };
            if self.tells {
                parent.send(0, Blocked { reason }, cx.effects);
            }
            tracing::info!(target: crate::logging::CONNECTIONS, user = %parent.actor.user, reason,
                "AMQP connection blocked: it publishes");
        }
        Some(if disk { Step::AwaitLog(PATIENCE) } else { Step::Pause(BRAKE) })
    }
}
