//! Connections, channels and queues that are there for a moment only.

use super::super::{Context, RunError, Sample, Scenario, Suite, Window};
use super::FEW_ROUNDS;
use crate::amqp::{Churn, Cycle};
use crate::peers::{Need, Protocol, Server};

/// Opens and closes as fast as it goes; cycles are counted, and latency is that of a whole cycle.
#[derive(Debug, Clone, Copy)]
pub struct AmqpChurn {
    /// What is opened and closed.
    pub cycle: Cycle,
    /// Which sessions it is part of.
    pub suite: Suite,
}

const CLIENTS: usize = 16;

impl Scenario for AmqpChurn {
    fn name(&self) -> String {
        let what = match self.cycle {
            Cycle::Connection => "connection-churn",
            Cycle::Channel => "channel-churn",
            Cycle::Queue { durable: false } => "queue-churn",
            Cycle::Queue { durable: true } => "queue-churn-durable",
        };
        format!("amqp-{what}")
    }

    fn describe(&self) -> String {
        let what = match self.cycle {
            Cycle::Connection => "connect, handshake, open a channel, close the connection",
            Cycle::Channel => "open a channel, close it",
            Cycle::Queue { durable: false } => "declare a transient queue, delete it",
            Cycle::Queue { durable: true } => "declare a durable queue, delete it",
        };
        format!("{CLIENTS} clients, each one cycle after the other: {what}; cycles are counted")
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::OnDisk
    }

    fn suite(&self) -> Suite {
        self.suite
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(FEW_ROUNDS)
    }

    fn connections(&self) -> usize {
        CLIENTS
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let before = server.usage();
        let mut churn = Churn::new(server.addr(), self.cycle, context.interrupt.clone())?;
        churn.start(CLIENTS);
        churn.run_for(context.warm_up)?;
        churn.clear_histogram();
        let window = Window::begin(server, churn.completed());
        churn.run_for(context.measured)?;
        let mut sample = window.end(server, churn.completed());
        sample.set_latency(churn.latency());
        sample.set_memory(before, server.usage());
        churn.stop()?;
        sample.set_faults(churn.tally());
        Ok(sample)
    }
}
