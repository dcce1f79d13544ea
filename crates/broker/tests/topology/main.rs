//! Exchanges, queues, bindings and policies as clients and operators see them, without sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(unreachable_pub)]

mod world;

mod bindings;
mod crossing;
mod cycles;
mod deduplicating;
mod delaying;
mod exchanges;
mod policies;
mod publishing;
mod queues;
mod rights;
mod routing;
mod threads;
