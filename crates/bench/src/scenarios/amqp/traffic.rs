//! Steady traffic from publishers through queues to consumers.

use std::time::Duration;

use super::super::{Context, Sample, Window};
use crate::amqp::{Acks, ChannelId, Fleet, Pace, PublishTemplate, PublisherPlan};
use crate::engine::{Expect, LoadError, Watched};
use crate::peers::Server;

/// Who sends what, and who receives it.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The consumers, each on a channel of its own.
    pub(super) consumers: Vec<ConsumerPlan>,
    /// How many of them share a connection.
    pub(super) consumers_per_connection: usize,
    /// How they acknowledge.
    pub(super) acks: Acks,
    /// Where each publisher, on a connection of its own, sends its messages, in turn. Streams are numbered in
    /// this order, over all publishers.
    pub(super) publishers: Vec<Vec<Route>>,
    /// How many consumers each message reaches.
    pub(super) copies: u32,
    /// Whether messages are persistent.
    pub(super) persistent: bool,
    /// Whether channels are in confirm mode; the time until a message is confirmed is measured then.
    pub(super) confirms: bool,
    /// Payload, in bytes.
    pub(super) size: usize,
    /// How fast each publisher sends.
    pub(super) pace: Pace,
}

/// One consumer's queue and the streams that come through it.
#[derive(Debug)]
pub(super) struct ConsumerPlan {
    pub(super) queue: String,
    pub(super) expect: Expect,
}

/// An exchange and a routing key.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) exchange: &'static str,
    pub(super) key: String,
}

impl Route {
    /// To a queue, through the default exchange.
    pub(super) fn to_queue(queue: impl Into<String>) -> Self {
        Route { exchange: "", key: queue.into() }
    }
}

/// More connects at once overflow the listen backlog of some servers and cost a SYN retry.
const AT_ONCE: usize = 64;

impl Traffic {
    /// Declares what is needed, connects everybody, warms up, measures, and waits for what is still under way.
    pub(super) fn run(
        self,
        context: &Context,
        server: &Server,
        declare: impl FnOnce(&mut Fleet, ChannelId),
    ) -> Result<Sample, LoadError> {
        let before = server.usage();
        let mut fleet = Fleet::new(server.addr(), context.interrupt.clone())?;
        let channel = fleet.connect_with_channel()?;
        declare(&mut fleet, channel);
        fleet.await_answers("declaring")?;
        let confirms = self.confirms;
        self.connect(&mut fleet)?;
        fleet.start();
        fleet.run_for(context.warm_up)?;
        fleet.clear_histograms();
        let window = Window::begin(server, fleet.load().deliveries());
        fleet.run_for(context.measured)?;
        let mut sample = window.end(server, fleet.load().deliveries());
        let load = fleet.load();
        sample.set_latency(load.latency());
        if confirms {
            sample.set_confirm_latency(load.confirm_latency());
            for (name, value) in
                [("confirm_p50_us", sample.confirm_p50_us), ("confirm_p99_us", sample.confirm_p99_us)]
            {
                value.into_iter().for_each(|value| sample.set_extra(name, value));
            }
        }
        if load.lateness().count() > 0 {
            sample.set_extra("sent_late_p99_us", load.lateness().quantile(0.99) as f64 / 1000.0);
        }
        if load.blocked() > 0 {
            sample.set_extra("connection_blocked", load.blocked() as f64);
        }
        sample.set_memory(before, server.usage());
        fleet.stop();
        fleet.wait_or_give_up(|load| load.is_settled())?;
        fleet.acknowledge_all();
        sample.set_faults(fleet.load().tally());
        sample.closed_because = fleet.load().last_reason().map(str::to_owned);
        Ok(sample)
    }

    fn connect(self, fleet: &mut Fleet) -> Result<(), LoadError> {
        let per_connection = self.consumers_per_connection.max(1);
        let connections = fleet.connect_all(self.consumers.len().div_ceil(per_connection), AT_ONCE)?;
        for (at, plan) in self.consumers.iter().enumerate() {
            let channel = fleet.open_channel(connections[at / per_connection]);
            fleet.consume(channel, &plan.queue, self.acks, &plan.expect);
        }
        fleet.await_answers("consuming")?;
        let connections = fleet.connect_all(self.publishers.len(), AT_ONCE)?;
        let count = self.publishers.len();
        for (connection, routes) in connections.into_iter().zip(self.publishers) {
            let channel = fleet.open_channel(connection);
            let template = |route: &Route| {
                PublishTemplate::new(channel.number(), route.exchange, &route.key, self.persistent, self.size)
            };
            let messages = routes.iter().map(|route| (fleet.stream(), template(route))).collect();
            fleet.add_publisher(PublisherPlan {
                channel,
                messages,
                pace: self.pace,
                confirms: self.confirms,
                limit: None,
                copies: self.copies,
            });
        }
        fleet.await_answers("opening channels")?;
        if let Pace::Rate(rate) = self.pace {
            fleet.tick(Duration::from_secs_f64(1.0 / (rate * count as f64)))?;
        }
        Ok(())
    }
}
