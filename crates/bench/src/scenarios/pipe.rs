//! Pairs of one publisher and one subscriber, each pair on a topic of its own.

use super::traffic::{Sessions, SubscriberPlan, Traffic};
use super::{Context, RunError, Sample, Scenario, payload_name};
use crate::engine::{Expect, StreamId};
use crate::mqtt::Pace;
use crate::mqtt::wire::Qos;
use crate::peers::Server;

/// A number of pipes side by side.
#[derive(Debug, Clone, Copy)]
pub struct Pipe {
    /// Number of pairs.
    pub pairs: u32,
    /// QoS of messages and subscriptions.
    pub qos: Qos,
    /// Payload, in bytes.
    pub size: usize,
    /// Messages under way in each pair.
    pub window: u32,
}

impl Scenario for Pipe {
    fn name(&self) -> String {
        let pairs = if self.pairs == 1 { String::new() } else { self.pairs.to_string() };
        format!("pipe{pairs}-qos{}-{}", self.qos as u8, payload_name(self.size))
    }

    fn describe(&self) -> String {
        let Pipe { pairs, qos, size, window } = *self;
        format!(
            "{pairs} publisher(s), each to its own subscriber; QoS {}, {size} B, window {window}",
            qos as u8
        )
    }

    fn connections(&self) -> usize {
        2 * self.pairs as usize
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topic = |pair: u32| format!("bench/pipe/{pair}");
        let subscribers = (0..self.pairs).map(|pair| SubscriberPlan {
            filters: vec![topic(pair)],
            expect: Expect::Range { first: StreamId(pair), count: 1 },
        });
        let traffic = Traffic {
            subscribers: subscribers.collect(),
            topics: (0..self.pairs).map(|pair| vec![topic(pair)]).collect(),
            copies: 1,
            qos: self.qos,
            size: self.size,
            pace: Pace::Window(self.window),
            sessions: Sessions::Clean,
        };
        Ok(traffic.run(context, server)?)
    }
}
