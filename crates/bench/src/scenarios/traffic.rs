//! Steady traffic from publishers to subscribers: what pipes, fans, wildcards and latency have in common.

use std::time::Duration;

use super::{Context, Sample, Window};
use crate::engine::{Expect, LoadError, Watched};
use crate::mqtt::wire::Qos;
use crate::mqtt::{Connect, Fleet, Load, Pace, PublishTemplate, PublisherPlan};
use crate::peers::Server;

/// Who sends what to whom.
#[derive(Debug)]
pub struct Traffic {
    /// The subscribers.
    pub subscribers: Vec<SubscriberPlan>,
    /// Each publisher's topics, used in turn. Streams are numbered in this order, over all publishers.
    pub topics: Vec<Vec<String>>,
    /// How many subscribers each message reaches.
    pub copies: u32,
    /// QoS of messages and subscriptions.
    pub qos: Qos,
    /// Payload, in bytes.
    pub size: usize,
    /// How fast each publisher sends.
    pub pace: Pace,
    /// What becomes of the subscribers' sessions.
    pub sessions: Sessions,
}

/// What becomes of the subscribers' sessions when their connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// They end too.
    Clean,
    /// They stay, so what is confirmed to a publisher must be kept for them; the time until it is confirmed is
    /// measured too.
    Persistent,
}

/// One subscriber's filters and the streams they match.
#[derive(Debug)]
pub struct SubscriberPlan {
    /// Filters.
    pub filters: Vec<String>,
    /// Matching streams.
    pub expect: Expect,
}

/// More connects at once overflow the listen backlog of some servers and cost a SYN retry.
const AT_ONCE: usize = 64;

impl Traffic {
    /// Connects everybody, warms up, measures, and waits for what is still under way.
    ///
    /// # Errors
    /// When clients cannot connect or subscribe.
    pub fn run(self, context: &Context, server: &Server) -> Result<Sample, LoadError> {
        let before = server.usage();
        let mut fleet = Fleet::new(server.addr(), context.version, context.interrupt.clone())?;
        if self.sessions == Sessions::Persistent {
            fleet.time_confirms();
        }
        self.connect(&mut fleet, context)?;
        fleet.start();
        fleet.run_for(context.warm_up)?;
        fleet.clear_histograms();
        let window = Window::begin(server, fleet.load().deliveries());
        fleet.run_for(context.measured)?;
        let mut sample = window.end(server, fleet.load().deliveries());
        sample.set_latency(fleet.load().latency());
        if let Some(confirms) = fleet.load().confirm_latency() {
            sample.set_confirm_latency(confirms);
        }
        sample.set_memory(before, server.usage());
        if fleet.load().lateness().count() > 0 {
            sample.set_extra("sent_late_p99_us", fleet.load().lateness().quantile(0.99) as f64 / 1000.0);
        }
        fleet.stop();
        fleet.wait_or_give_up(Load::is_settled)?;
        sample.set_faults(fleet.load().tally());
        sample.closed_because = fleet.load().last_reason().map(str::to_owned);
        Ok(sample)
    }

    fn connect(self, fleet: &mut Fleet, context: &Context) -> Result<(), LoadError> {
        let clean = self.sessions == Sessions::Clean;
        let subscriber = |at| Connect { client_id: format!("sub-{at}"), clean };
        let subscribers = fleet.connect_all(self.subscribers.len(), AT_ONCE, subscriber)?;
        for (client, plan) in subscribers.into_iter().zip(self.subscribers) {
            fleet.subscribe(client, &plan.filters, self.qos, &plan.expect);
        }
        fleet.await_subscribed()?;
        let publishers =
            fleet.connect_all(self.topics.len(), AT_ONCE, |at| Connect::clean(format!("pub-{at}")))?;
        for (client, topics) in publishers.into_iter().zip(self.topics) {
            let template =
                |topic: String| PublishTemplate::new(context.version, &topic, self.qos, false, self.size);
            let messages = topics.into_iter().map(|topic| (fleet.stream(), template(topic))).collect();
            fleet.add_publisher(PublisherPlan {
                client,
                qos: self.qos,
                messages,
                pace: self.pace,
                limit: None,
                copies: self.copies,
            });
        }
        if let Pace::Rate(rate) = self.pace {
            fleet.tick(Duration::from_secs_f64(1.0 / rate))?;
        }
        Ok(())
    }
}
