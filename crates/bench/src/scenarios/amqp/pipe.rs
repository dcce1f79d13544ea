//! Transient messages from one publisher to one consumer, as fast as it goes.

use super::super::{Context, RunError, Sample, Scenario, Suite, payload_name};
use super::MOST_ROUNDS;
use super::traffic::{ConsumerPlan, Route, Traffic};
use crate::amqp::wire::QueueFlags;
use crate::amqp::{Acks, Pace};
use crate::engine::{Expect, StreamId};
use crate::peers::{Need, Protocol, Server};

/// One publisher, one queue, one consumer that does not acknowledge.
#[derive(Debug, Clone, Copy)]
pub struct AmqpPipe {
    /// Payload, in bytes.
    pub size: usize,
    /// Messages under way.
    pub window: u32,
    /// Through `amq.direct` and a binding instead of the default exchange.
    pub direct: bool,
}

const QUEUE: &str = "bench.pipe";
const DIRECT: &str = "amq.direct";

impl Scenario for AmqpPipe {
    fn name(&self) -> String {
        let direct = if self.direct { "direct-" } else { "" };
        format!("amqp-pipe-{direct}{}", payload_name(self.size))
    }

    fn describe(&self) -> String {
        let AmqpPipe { size, window, .. } = *self;
        let exchange = if self.direct { "amq.direct" } else { "the default exchange" };
        format!(
            "one publisher through {exchange} and a transient queue to one consumer; transient messages, {size} B, \
             no confirms, no-ack, window {window}"
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::OnDisk
    }

    fn suite(&self) -> Suite {
        if self.direct { Suite::Full } else { Suite::Default }
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(MOST_ROUNDS)
    }

    fn connections(&self) -> usize {
        3
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let route = if self.direct {
            Route { exchange: DIRECT, key: "pipe".to_owned() }
        } else {
            Route::to_queue(QUEUE)
        };
        let traffic = Traffic {
            consumers: vec![ConsumerPlan {
                queue: QUEUE.to_owned(),
                expect: Expect::Range { first: StreamId(0), count: 1 },
            }],
            consumers_per_connection: 1,
            acks: Acks::Automatic,
            publishers: vec![vec![route]],
            copies: 1,
            persistent: false,
            confirms: false,
            size: self.size,
            pace: Pace::Window { undelivered: self.window, unconfirmed: 0 },
        };
        let direct = self.direct;
        Ok(traffic.run(context, server, |fleet, channel| {
            fleet.declare_queue(channel, QUEUE, QueueFlags::default());
            if direct {
                fleet.bind(channel, QUEUE, DIRECT, "pipe");
            }
        })?)
    }
}
