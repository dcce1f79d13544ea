//! Persistent messages that are confirmed when they are on disk, and acknowledged when they are received.

use super::super::{Context, IN_FLIGHT, RunError, Sample, Scenario, WRITTEN};
use super::MOST_ROUNDS;
use super::traffic::{ConsumerPlan, Route, Traffic};
use crate::amqp::wire::QueueFlags;
use crate::amqp::{Acks, Pace};
use crate::engine::{Expect, StreamId};
use crate::peers::{Need, Protocol, Server};

/// One publisher with confirms, one durable queue, one consumer with manual acknowledgements.
#[derive(Debug, Clone, Copy)]
pub struct AmqpConfirmed {
    /// Unconfirmed messages.
    pub window: u32,
    /// Unacknowledged messages that the consumer takes.
    pub prefetch: u16,
    /// Deliveries for each acknowledgement.
    pub every: u32,
    /// Payload, in bytes.
    pub size: usize,
}

const QUEUE: &str = "bench.confirmed";

impl Scenario for AmqpConfirmed {
    fn name(&self) -> String {
        format!("amqp-confirm-{}", self.window)
    }

    fn describe(&self) -> String {
        let AmqpConfirmed { window, prefetch, every, size } = *self;
        format!(
            "one publisher through the default exchange and a durable queue to one consumer; persistent messages, \
             {size} B, at most {window} unconfirmed, prefetch {prefetch}, one acknowledgement for {every} messages"
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::Durable
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(MOST_ROUNDS)
    }

    fn connections(&self) -> usize {
        3
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let traffic = Traffic {
            consumers: vec![ConsumerPlan {
                queue: QUEUE.to_owned(),
                expect: Expect::Range { first: StreamId(0), count: 1 },
            }],
            consumers_per_connection: 1,
            acks: Acks::Multiple { every: self.every, prefetch: self.prefetch },
            publishers: vec![vec![Route::to_queue(QUEUE)]],
            copies: 1,
            persistent: true,
            confirms: true,
            size: self.size,
            // The queue must not grow for ever, and neither may the publisher wait for the consumer as a rule.
            pace: Pace::Window {
                undelivered: 2 * (self.window + u32::from(self.prefetch)),
                unconfirmed: self.window,
            },
        };
        let mut sample = traffic.run(context, server, |fleet, channel| {
            fleet.declare_queue(channel, QUEUE, QueueFlags { durable: true, passive: false });
        })?;
        sample.set_extra(IN_FLIGHT, f64::from(self.window));
        if let Some(written) = sample.written {
            sample.set_extra(WRITTEN, written as f64 / (sample.count * self.size as u64) as f64);
        }
        Ok(sample)
    }
}
