//! What a client says about a delivery.

use std::sync::Arc;

use crate::named_queue::{Consumption, NamedQueue};

/// A delivery that is no longer outstanding.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The queue it came from.
    pub queue: Arc<NamedQueue>,
    /// Its sequence there.
    pub sequence: u64,
    /// The consumer that got it; `None` if it was fetched with basic.get.
    pub consumption: Option<Arc<Consumption>>,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client has it (basic.ack).
    Ack,
    /// The client wants it again, or somebody else to have it (basic.recover).
    Requeue,
    /// basic.reject.
    Reject {
        /// Whether it goes back to its place; else it is dead-lettered or dropped.
        requeue: bool,
    },
    /// basic.nack.
    Nack {
        /// Whether it goes back to its place; else it is dead-lettered or dropped.
        requeue: bool,
    },
    /// Its channel or connection has ended.
    ChannelGone,
}

impl Outcome {
    /// Whether it goes back to its place.
    #[must_use]
    pub fn comes_back(self) -> bool {
        match self {
            Self::Requeue | Self::ChannelGone => true,
            Self::Reject { requeue } | Self::Nack { requeue } => requeue,
            Self::Ack => false,
        }
    }

    /// Whether the client failed to deal with it, where that makes a difference.
    #[must_use]
    pub fn failed(self) -> bool {
        matches!(self, Self::Reject { .. } | Self::ChannelGone)
    }
}
