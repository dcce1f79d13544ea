//! Exchanges: from a routing key, or the headers of a message, to queues.
//!
//! - [`request`]: what clients ask of exchanges, queues and bindings; [`listing`]: what there is, for operators.
//! - [`kind`]: the types of exchanges; [`equivalence`]: whether what is declared again is what is there.
//! - [`tables`], [`queue_table`]: exchanges, queues and bindings; [`router`]: the bindings of one exchange, arranged for its type, with
//!   [`headers`], [`hashing`], [`recent_history`].
//! - [`deduplication`]: exchanges that let a message through once.
//! - [`search`]: from an exchange to queues; [`routable`]: what of a message counts there.
//! - [`route_cache`]: what spares most publications the search; [`generations`]: how long it holds.

pub(crate) mod deduplication;
pub(crate) mod equivalence;
pub(crate) mod generations;
pub(crate) mod hashing;
pub(crate) mod headers;
pub mod kind;
pub mod listing;
pub(crate) mod queue_table;
pub(crate) mod recent_history;
pub mod request;
pub(crate) mod routable;
pub mod route_cache;
pub(crate) mod router;
pub(crate) mod search;
pub(crate) mod tables;
pub(crate) mod target;
