//! Policies: what operators wish of queues and exchanges by their names.
//!
//! Of all policies that apply to a queue the one with the highest priority counts, and of all operator policies likewise.
//! What a queue does follows from its arguments, that policy and that operator policy: of numbers the smallest wins,
//! elsewhere arguments go over policies, and operators over both for what happens on overflow.
//!
//! - [`queue_arguments`]: the arguments of queue.declare.
//! - [`definition`]: one policy.
//! - [`policies`]: those of a virtual host.
//! - [`wishes`]: what somebody wishes of a queue, and what several wishes come to.

pub mod definition;
pub mod policies;
pub mod queue_arguments;
pub(crate) mod wishes;

pub use definition::{ApplyTo, Policy, PolicyError, PolicyKind};
pub use policies::Policies;

pub(crate) use wishes::max_age_ms;
