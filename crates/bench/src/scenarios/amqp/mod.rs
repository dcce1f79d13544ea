//! The AMQP 0-9-1 scenarios, beside RabbitMQ.
//!
//! Data are on disk in all of them, as RabbitMQ knows nothing else, though transient messages need not go there.

mod backlog;
mod churn;
mod confirmed;
mod idle;
mod pipe;
mod queues;
mod topic;
mod traffic;

use super::{Scenario, Suite};
use crate::amqp::Cycle;

pub use backlog::AmqpBacklog;
pub use churn::AmqpChurn;
pub use confirmed::AmqpConfirmed;
pub use idle::{AmqpIdleConnections, AmqpIdleQueues};
pub use pipe::AmqpPipe;
pub use queues::AmqpQueues;
pub use topic::AmqpTopic;

/// A RabbitMQ node takes seconds to start, for each run.
const MOST_ROUNDS: u32 = 3;
/// The same where no bar is at stake.
const FEW_ROUNDS: u32 = 2;

/// All of them, in the order of the report.
pub(super) fn all() -> Vec<Box<dyn Scenario>> {
    let mut list: Vec<Box<dyn Scenario>> = Vec::new();
    for (size, window) in [(16, 500), (1024, 500), (16_384, 100)] {
        list.push(Box::new(AmqpPipe { size, window, direct: false }));
    }
    for (size, window) in [(16, 500), (1024, 500)] {
        list.push(Box::new(AmqpPipe { size, window, direct: true }));
    }
    for (window, prefetch) in [(192, 200), (1000, 2000)] {
        list.push(Box::new(AmqpConfirmed { window, prefetch, every: 100, size: 256 }));
    }
    list.push(Box::new(AmqpTopic { bindings: 10_000, size: 256 }));
    list.push(Box::new(AmqpQueues { queues: 500, rate_of_each: 10, size: 256, durable: false }));
    list.push(Box::new(AmqpQueues { queues: 500, rate_of_each: 10, size: 256, durable: true }));
    let durable_queue = Cycle::Queue { durable: true };
    for cycle in [Cycle::Connection, Cycle::Channel, Cycle::Queue { durable: false }, durable_queue] {
        let suite = if cycle == durable_queue { Suite::Full } else { Suite::Default };
        list.push(Box::new(AmqpChurn { cycle, suite }));
    }
    list.push(Box::new(AmqpIdleConnections { connections: 2000, at_once: 64 }));
    list.push(Box::new(AmqpIdleQueues { queues: 5000 }));
    list.push(Box::new(AmqpBacklog { messages: 1_000_000, size: 1024 }));
    list
}
