//! What clients ask of exchanges, queues and bindings, as the faces hand it over.

use std::sync::Arc;

use tercet_amqp::field::Table;

use crate::journal::Position;

/// exchange.declare.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeclareExchange<'a> {
    /// Its name; CR and LF in it are ignored.
    pub name: &'a str,
    /// The name of its type, as `direct` or `x-consistent-hash`. Ignored if `passive`.
    pub kind: &'a str,
    /// Only asks whether it exists.
    pub passive: bool,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// Further arguments.
    pub arguments: Table<'a>,
}

/// queue.declare.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeclareQueue<'a> {
    /// Its name; empty for one that the server is to choose. CR and LF in it are ignored.
    pub name: &'a str,
    /// Only asks whether it exists, and how much is in it.
    pub passive: bool,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it belongs to the connection that declares it, and goes with it.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Further arguments.
    pub arguments: Table<'a>,
}

/// What queue.declare-ok says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclared {
    /// The queue's name.
    pub name: Arc<str>,
    /// Messages that are ready.
    pub ready: u32,
    /// Consumers that could get one.
    pub consumers: u32,
    /// The answer waits for this position.
    pub position: Position,
}

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To the queue of this name.
    Queue(&'a str),
    /// To the exchange of this name.
    Exchange(&'a str),
}

/// queue.bind, exchange.bind, and the opposite of either. The face has filled in what empty names stand for.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// The exchange that it leads from.
    pub source: &'a str,
    /// Where it leads.
    pub destination: Destination<'a>,
    /// The binding key.
    pub key: &'a str,
    /// Further arguments.
    pub arguments: Table<'a>,
}
