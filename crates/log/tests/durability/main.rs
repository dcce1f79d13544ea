//! The log on a disk that fails, loses its power and fills up: what was confirmed is there, unchanged and in order.
//!
//! - [`conformance`]: what every engine has to pass. [`crash_points`]: the power fails at every step of a run.
//! - [`model`]: random operations beside a model. [`group_commit`]: the same questions with several stagers.
//! - [`metadata`]: the metadata beside a model. [`damage`]: bits that turn over.
//! - [`torn`]: two power cuts at one place. [`syncs`]: what all that costs.
//! - [`expected`]: what a log has to hold. [`local`]: the local engine on the simulated disk.

mod conformance;
mod crash_points;
mod damage;
mod expected;
mod group_commit;
mod local;
mod metadata;
mod model;
mod syncs;
mod torn;
