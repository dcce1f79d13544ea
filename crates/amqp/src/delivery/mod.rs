//! Numbered messages and their acknowledgements, in both directions.
//!
//! | | who numbers | who acknowledges | here |
//! |---|---|---|---|
//! | deliveries | the server, per channel | the consumer | [`Unacked`] at the server |
//! | publishes with confirms | both count alike, per channel | the server | [`Confirms`] at the client, [`Publishes`] at the server |

mod confirms;
mod outstanding;
mod publishes;
mod unacked;

pub use confirms::Confirms;
pub use publishes::{Answer, Publishes};
pub use unacked::Unacked;
