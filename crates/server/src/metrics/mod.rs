//! Metrics: what the server counts and measures, for `/metrics` and for the `$SYS` topics.
//!
//! Nothing here is on the message path: counters are kept by the core and the reactors, everything else is looked
//! up when somebody asks. No metric has a label with a client, user or topic in it, so their number does not grow
//! with the load.
//!
//! - [`snapshot`]: all values at about one moment.
//! - [`process`]: what the operating system says about the process.
//! - [`table`]: every metric with its name, meaning and value; the page in `docs/` is made from it.
//! - [`exposition`]: the text that scrapers read.

pub mod exposition;
pub mod process;
pub mod snapshot;
pub mod table;
