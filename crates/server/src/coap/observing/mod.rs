//! Who is told of what changes (RFC 7641).
//!
//! A reactor watches each filter once, however many of its clients observe it. When the watch fires, the representation is
//! encoded once for all observers of the same form and identity, and written to each with its own token.
//!
//! An observer has at most one confirmable notification under way. What changes meanwhile replaces it there (§4.5.2); states
//! never queue up. One that rejects a notification or does not acknowledge it is gone.
//!
//! - [`observer`]: one relation.
//! - [`table`]: all of them, by filter and by client.
//! - [`notifying`]: what is sent when something has changed.

pub mod notifying;
pub mod observer;
pub mod table;
