//! From samples to a verdict: medians, ratios, bars, and three ways to show them.

mod bars;
mod durability;
mod figures;
mod machine;
mod markdown;
mod results;
mod summary;
mod terminal;

pub use bars::{Bar, Measure, Verdict, bars, verdicts};
pub use figures::{median, short};
pub use machine::Machine;
pub use markdown::markdown;
pub use results::{PeerInfo, Results, Run, ScenarioInfo};
pub use summary::{Cell, NOISE, Summary};
pub use terminal::{progress_line, tables};
