//! The AMQP 0-9-1 load: frames encoded once and patched per message, and the clients that send and check them.
//!
//! [`wire`] is a deliberately small codec of its own: a load generator that shared the broker's codec would
//! share its mistakes. [`Fleet`] owns the connections, [`Load`] is their state; [`Churn`] opens and closes
//! connections, channels and queues as fast as it goes.

mod churn;
mod client;
mod confirms;
mod consumer;
mod fleet;
mod load;
mod publisher;
mod template;
pub mod wire;

pub use churn::{Churn, Cycle};
pub use client::ClientState;
pub use consumer::Acks;
pub use fleet::{ChannelId, ClientId, ConsumerId, Fleet};
pub use load::Load;
pub use publisher::{Pace, PublisherPlan};
pub use template::PublishTemplate;
