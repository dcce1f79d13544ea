//! Latency at a rate far below saturation.

use super::traffic::{Sessions, SubscriberPlan, Traffic};
use super::{Context, RunError, Sample, Scenario};
use crate::engine::{Expect, StreamId};
use crate::mqtt::Pace;
use crate::mqtt::wire::Qos;
use crate::peers::Server;

/// One publisher at a fixed rate to one subscriber (open loop).
///
/// A message's clock starts when it is handed to the socket, so that the load generator being held up by the
/// scheduler is not charged to the server; how late it was sent is reported beside (`sent_late_p99_us`).
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// QoS of messages and subscription.
    pub qos: Qos,
    /// Payload, in bytes.
    pub size: usize,
    /// Messages per second.
    pub rate: u32,
}

impl Scenario for Latency {
    fn name(&self) -> String {
        format!("latency-{}k-qos{}", self.rate / 1000, self.qos as u8)
    }

    fn describe(&self) -> String {
        let Latency { qos, size, rate } = *self;
        format!("one publisher at {rate} messages/s to one subscriber; QoS {}, {size} B", qos as u8)
    }

    fn connections(&self) -> usize {
        2
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topic = || vec!["bench/latency".to_owned()];
        let expect = Expect::Range { first: StreamId(0), count: 1 };
        let traffic = Traffic {
            subscribers: vec![SubscriberPlan { filters: topic(), expect }],
            topics: vec![topic()],
            copies: 1,
            qos: self.qos,
            size: self.size,
            pace: Pace::Rate(f64::from(self.rate)),
            sessions: Sessions::Clean,
        };
        Ok(traffic.run(context, server)?)
    }
}
