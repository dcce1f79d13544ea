//! Topic aliases (MQTT 5.0 §3.3.2.3.4): numbers that stand for topic names within one connection and one direction.
//!
//! [`Inbound`] resolves the aliases a peer uses, [`Outbound`] assigns ours. Both begin empty with each connection and
//! own no memory until the first alias.

mod inbound;
mod outbound;

pub use inbound::{AliasError, Inbound};
pub use outbound::{Outbound, TopicForm};
