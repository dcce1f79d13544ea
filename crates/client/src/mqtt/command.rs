//! What the handles ask of the connection's task.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::inbox::Sender;
use super::property::Properties;
use super::publish::Receipt;
use super::subscribe::{Filter, Grant};
use super::{QoS, ReasonCode};
use crate::{Error, Result};

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Properties,
}

/// An operation, done in the order of arrival.
pub(super) enum Command {
    Publish {
        message: Outgoing,
        done: oneshot::Sender<Result<Receipt>>,
    },
    Subscribe {
        filters: Vec<Filter>,
        properties: Properties,
        /// Where the messages go; `None` for the inbox.
        sink: Option<Sender>,
        done: oneshot::Sender<Result<(Subscribed, Vec<Grant>)>>,
    },
    Unsubscribe {
        /// The subscription that ends with it.
        subscription: Option<SubscriptionKey>,
        filters: Vec<String>,
        properties: Properties,
        done: oneshot::Sender<Result<Vec<ReasonCode>>>,
    },
    /// Answered when all publishes before it are done.
    Flush {
        done: oneshot::Sender<Result<()>>,
    },
}

impl Command {
    /// Tells the waiting handle that it failed.
    pub(super) fn fail(self, error: Error) {
        // Whoever waited may be gone; then nobody needs to know.
        match self {
            Self::Publish { done, .. } => drop(done.send(Err(error))),
            Self::Subscribe { done, .. } => drop(done.send(Err(error))),
            Self::Unsubscribe { done, .. } => drop(done.send(Err(error))),
            Self::Flush { done } => drop(done.send(Err(error))),
        }
    }
}

/// Names a subscription of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SubscriptionKey(pub(super) u32);

/// What a SUBACK made.
pub(super) struct Subscribed(pub(super) Option<SubscriptionKey>);

/// The wish to end the connection.
pub(super) struct Goodbye {
    pub(super) reason: ReasonCode,
    pub(super) properties: Properties,
    pub(super) done: oneshot::Sender<()>,
}
