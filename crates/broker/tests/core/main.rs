//! Behaviour of the core without sockets: clients are driven in virtual time, what they are sent is recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(unreachable_pub)]

mod support;

mod acknowledging;
mod admission;
mod checkpointing;
mod cold;
mod concurrency;
mod earlier_directory;
mod holding;
mod housekeeping;
mod log;
mod model;
mod observing;
mod overlapping;
mod permissions;
mod queue_limits;
mod recording;
mod recovery_time;
mod redelivery;
mod replay;
mod retained;
mod routing;
mod sessions;
mod shared;
mod together;
mod watermark;
mod watermark_threads;
mod wills;
