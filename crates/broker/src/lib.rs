//! The message core: one topic space, queues, sessions, retained values and permissions for every protocol.
//!
//! The core is synchronous and knows no socket, no wire format and no clock of its own. A *face*
//! (the MQTT front end, say) hands it operations together with the current time ([`clock::Now`]) and an
//! [`effects::Effects`] to fill in: which connections have something to write, what to count, which answers
//! must wait for which log position. Nothing here awaits or blocks on I/O.
//!
//! # Invariants
//! - Every durable state change is a [`record::Record`], applied by the same functions for live traffic and for
//!   replay; records state outcomes and never consult clock, routing, policy or configuration.
//! - Lock order: a client's batch, registry or table of shared groups, then topic tree, then shared group, then session. At most one
//!   session is locked at a time. Tables of exchanges and queues come before a named queue, of which at most one is locked at a
//!   time, and that before the output of a connection.
//! - No lock is held across I/O; bytes leave a session by being swapped out under its lock.
//! - Per publisher and topic, order is kept.
//!
//! # Rooms
//! - [`hosts`]: virtual hosts above one log; [`definitions`]: what operators set, of all of them.
//! - [`vhost`]: everything below one virtual host; the operations that faces call.
//! - [`topic_tree`], [`route`]: from an address to its targets, cached per publisher.
//! - [`exchange`]: exchanges, bindings, and where they lead.
//! - [`duplicates`]: what was let through once.
//! - [`crossing`]: messages that come by one protocol and leave by another.
//! - [`policy`]: what queues and exchanges are told by arguments and policies.
//! - [`session`], [`queue`], [`shared_group`], [`named_queue`]: where messages wait and who takes them.
//! - [`schedule`]: what is due in queues at a certain millisecond.
//! - [`retained`], [`retained_replay`]: last values and their delivery with back-pressure.
//! - [`record`], [`journal`]: the durable side of every change.
//! - [`body`], [`body_budget`], [`read_back`]: messages in memory, messages that are only in the log, and the way between.
//! - [`undurable`]: what may not be handed out before the log has it.
//! - [`access`], [`actor`]: users, and what they may do.
//! - [`watch`]: the latest value of what is observed.
//! - [`outbox`], [`effects`]: the seam between the core and the faces.

#![forbid(unsafe_code)]

pub mod access;
pub mod acknowledgement;
pub mod actor;
pub mod body;
pub mod body_budget;
pub mod census;
pub mod clock;
pub mod consumer;
pub mod crossing;
pub mod deadlines;
pub mod definitions;
pub mod duplicates;
pub mod effects;
pub mod event;
pub mod exchange;
pub mod exchange_publication;
pub mod filter;
pub mod hosts;
pub mod journal;
pub mod limits;
pub mod message;
pub mod metrics;
pub mod named_queue;
pub mod outbox;
pub mod permission;
pub mod policy;
pub mod queue;
pub mod read_back;
pub mod record;
pub mod refusal;
pub mod registry;
pub mod retained;
pub mod retained_replay;
pub mod route;
pub mod schedule;
pub mod session;
pub mod shared_group;
pub mod topic_tree;
pub mod undurable;
pub mod vhost;
pub mod watch;
pub mod will;
