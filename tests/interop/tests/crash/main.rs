//! Brokers that are killed, restarted and watched: what was confirmed survives, and costs what was promised.
//!
//! A killed process leaves its writes behind in the page cache; what a power cut takes is tested on a simulated disk
//! (`tercet-log`), and that syncs happen when they have to is seen in [`system_calls`].
//!
//! The random kills take [`seconds`] each; `TERCET_SOAK_SECONDS` makes them longer, `TERCET_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::panic)]

mod after_a_kill;
mod amqp_clients;
mod amqp_ledger;
mod amqp_survives_random_kills;
mod clean_restart;
mod disk_space;
mod publisher;
mod queues_survive_random_kills;
mod shared_groups_survive_random_kills;
mod state_survives_random_kills;
mod subscriber;
mod system_calls;

use std::env;
use std::time::{Duration, Instant};

/// How long a broker is killed again and again by one test.
fn seconds() -> u64 {
    env::var("TERCET_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// When a test that begins now stops killing.
fn end_of_kills() -> Instant {
    Instant::now() + Duration::from_secs(seconds())
}
