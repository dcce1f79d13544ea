//! Exchanges, queues and bindings as they are shown to operators.

use std::sync::Arc;

use bytes::Bytes;

use crate::actor::ConnectionId;
use crate::named_queue::NamedQueue;

/// An exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeInfo {
    /// Its name; empty for the default exchange.
    pub name: Arc<str>,
    /// The name of its type.
    pub kind: &'static str,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// Its arguments: the fields of an encoded table.
    pub arguments: Bytes,
    /// The name of the policy in force.
    pub policy: Option<Arc<str>>,
}

/// A queue, with what it was declared as.
#[derive(Clone, Debug)]
pub struct QueueInfo {
    /// The queue.
    pub queue: Arc<NamedQueue>,
    /// Whether it survives a restart.
    pub durable: bool,
    /// The connection that it belongs to and goes with.
    pub exclusive: Option<ConnectionId>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments: the fields of an encoded table.
    pub arguments: Bytes,
    /// The name of the policy in force.
    pub policy: Option<Arc<str>>,
    /// The name of the operator policy in force.
    pub operator_policy: Option<Arc<str>>,
}

/// A binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingInfo {
    /// The exchange that it leads from; empty for the default one, from which every queue is bound by its name.
    pub source: Arc<str>,
    /// The queue or exchange that it leads to.
    pub destination: Arc<str>,
    /// Whether it leads to an exchange.
    pub to_exchange: bool,
    /// The binding key.
    pub key: Arc<str>,
    /// Its arguments: the fields of an encoded table.
    pub arguments: Bytes,
}
