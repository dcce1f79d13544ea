//! What clients play: one script a file.

mod blocks;
mod fan_out;
mod flood;
mod small;

pub use blocks::{BODY, Blocks, Direction};
pub use fan_out::FanOut;
pub use flood::{Flood, IN_A_ROW};
pub use small::{Small, resource};
