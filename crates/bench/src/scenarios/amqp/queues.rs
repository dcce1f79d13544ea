//! Many queues at a rate far below saturation: latency.

use super::super::{Context, RunError, Sample, Scenario, Suite};
use super::FEW_ROUNDS;
use super::traffic::{ConsumerPlan, Route, Traffic};
use crate::amqp::wire::QueueFlags;
use crate::amqp::{Acks, Pace};
use crate::engine::{Expect, StreamId};
use crate::peers::{Need, Protocol, Server};

/// Many queues with a consumer each and few messages a second (open loop).
///
/// A message's clock starts when it is handed to the socket; how late it was sent is reported beside
/// (`sent_late_p99_us`).
#[derive(Debug, Clone, Copy)]
pub struct AmqpQueues {
    /// Number of queues.
    pub queues: usize,
    /// Messages a second through each.
    pub rate_of_each: u32,
    /// Payload, in bytes.
    pub size: usize,
    /// Durable queues, persistent messages, confirms and an acknowledgement for each message.
    pub durable: bool,
}

const PER_CONNECTION: usize = 25;

impl Scenario for AmqpQueues {
    fn name(&self) -> String {
        format!("amqp-queues-{}{}", self.queues, if self.durable { "-durable" } else { "" })
    }

    fn describe(&self) -> String {
        let AmqpQueues { queues, rate_of_each, size, durable } = *self;
        let kind = if durable {
            "durable, messages persistent, confirmed and acknowledged one by one"
        } else {
            "transient, no confirms, no-ack"
        };
        format!(
            "{queues} queues with a consumer and {rate_of_each} messages/s each ({} in all), {PER_CONNECTION} to a \
             connection on both sides; {size} B; {kind}",
            queues * rate_of_each as usize
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::OnDisk
    }

    fn suite(&self) -> Suite {
        if self.durable { Suite::Full } else { Suite::Default }
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(FEW_ROUNDS)
    }

    fn connections(&self) -> usize {
        2 * self.queues.div_ceil(PER_CONNECTION) + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let names: Vec<String> = (0..self.queues).map(|at| format!("bench.queues.{at}")).collect();
        let consumer = |(stream, queue): (u32, &String)| ConsumerPlan {
            queue: queue.clone(),
            expect: Expect::Range { first: StreamId(stream), count: 1 },
        };
        let traffic = Traffic {
            consumers: (0..).zip(&names).map(consumer).collect(),
            consumers_per_connection: PER_CONNECTION,
            acks: if self.durable { Acks::Each { prefetch: 100 } } else { Acks::Automatic },
            publishers: names
                .chunks(PER_CONNECTION)
                .map(|queues| queues.iter().map(Route::to_queue).collect())
                .collect(),
            copies: 1,
            persistent: self.durable,
            confirms: self.durable,
            size: self.size,
            pace: Pace::Rate(f64::from(self.rate_of_each) * PER_CONNECTION as f64),
        };
        let durable = self.durable;
        Ok(traffic.run(context, server, |fleet, channel| {
            for name in &names {
                fleet.declare_queue(channel, name, QueueFlags { durable, passive: false });
            }
        })?)
    }
}
