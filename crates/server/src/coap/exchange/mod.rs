//! From a request to its answer, the same on every transport.
//!
//! A request is read ([`directions`]), put together if it comes in blocks
//! ([`bodies`], [`bursts`]), handed to the resources, and its answer written
//! ([`writing`]): at once, when the log has it, or when something is known that had to be found out first ([`waiting`]).
//! What resources never see: blocks, suppressed answers, and who is to be told how.

pub mod amplification;
pub mod bodies;
pub mod bursts;
pub mod directions;
pub mod pipeline;
pub mod waiting;
pub mod writing;
