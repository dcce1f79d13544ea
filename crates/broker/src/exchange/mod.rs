//! Exchanges: from a routing key, or the headers of a message, to queues.
//!
//! - [`request`]: what clients ask of exchanges, queues and bindings.
//! - [`listing`]: what there is, for operators.
//! - [`route_cache`]: what spares most publications the search.

pub mod listing;
pub mod request;
pub mod route_cache;
