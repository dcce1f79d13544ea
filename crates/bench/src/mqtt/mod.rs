//! The MQTT load: packets encoded once and patched per message, and the clients that send and check them.
//!
//! [`wire`] is a deliberately small codec of its own: a load generator that shared the broker's codec would
//! share its mistakes. [`Fleet`] owns the connections, [`Load`] is their state.

mod client;
mod fleet;
mod load;
mod publisher;
mod receiver;
mod template;
pub mod wire;

pub use client::{ClientId, ClientState, Connect};
pub use fleet::Fleet;
pub use load::Load;
pub use publisher::{Pace, PublisherPlan};
pub use template::PublishTemplate;
