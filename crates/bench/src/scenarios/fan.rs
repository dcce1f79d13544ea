//! Many publishers to one subscriber, and one publisher to many.

use super::traffic::{Sessions, SubscriberPlan, Traffic};
use super::{Context, RunError, Sample, Scenario};
use crate::engine::{Expect, StreamId};
use crate::mqtt::Pace;
use crate::mqtt::wire::Qos;
use crate::peers::Server;

/// Many publishers, each on its own topic, to one subscriber of all these topics.
#[derive(Debug, Clone, Copy)]
pub struct FanIn {
    /// Number of publishers.
    pub publishers: u32,
    /// QoS of messages and subscriptions.
    pub qos: Qos,
    /// Payload, in bytes.
    pub size: usize,
    /// Messages under way from each publisher.
    pub window: u32,
}

impl Scenario for FanIn {
    fn name(&self) -> String {
        format!("fanin{}-qos{}", self.publishers, self.qos as u8)
    }

    fn describe(&self) -> String {
        let FanIn { publishers, qos, size, window } = *self;
        format!(
            "{publishers} publishers, a topic each, to one subscriber of all topics (exact filters); QoS {}, \
             {size} B, window {window} each",
            qos as u8
        )
    }

    fn connections(&self) -> usize {
        self.publishers as usize + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topics: Vec<String> = (0..self.publishers).map(|at| format!("bench/in/{at}")).collect();
        let all = Expect::Range { first: StreamId(0), count: topics.len() };
        let traffic = Traffic {
            subscribers: vec![SubscriberPlan { filters: topics.clone(), expect: all }],
            topics: topics.into_iter().map(|topic| vec![topic]).collect(),
            copies: 1,
            qos: self.qos,
            size: self.size,
            pace: Pace::Window(self.window),
            sessions: Sessions::Clean,
        };
        Ok(traffic.run(context, server)?)
    }
}

/// One publisher to many subscribers of its topic.
#[derive(Debug, Clone, Copy)]
pub struct FanOut {
    /// Number of subscribers.
    pub subscribers: u32,
    /// QoS of messages and subscriptions.
    pub qos: Qos,
    /// Payload, in bytes.
    pub size: usize,
    /// Published messages under way (each is `subscribers` deliveries).
    pub window: u32,
}

impl Scenario for FanOut {
    fn name(&self) -> String {
        format!("fanout{}-qos{}", self.subscribers, self.qos as u8)
    }

    fn describe(&self) -> String {
        let FanOut { subscribers, qos, size, window } = *self;
        format!(
            "one publisher to {subscribers} subscribers of one topic; QoS {}, {size} B, window {window} (x \
             {subscribers}); deliveries are counted",
            qos as u8
        )
    }

    fn connections(&self) -> usize {
        self.subscribers as usize + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topic = || vec!["bench/out".to_owned()];
        let subscriber =
            |_| SubscriberPlan { filters: topic(), expect: Expect::Range { first: StreamId(0), count: 1 } };
        let traffic = Traffic {
            subscribers: (0..self.subscribers).map(subscriber).collect(),
            topics: vec![topic()],
            copies: self.subscribers,
            qos: self.qos,
            size: self.size,
            pace: Pace::Window(self.window),
            sessions: Sessions::Clean,
        };
        Ok(traffic.run(context, server)?)
    }
}
