//! Ten thousand connections that do nothing.

use super::{Context, RunError, SETTLE, Sample, Scenario, Window};
use crate::mqtt::{Connect, Fleet};
use crate::peers::Server;

/// Connects many clients with a bounded number under way, and looks at what they cost.
///
/// `count` and latency are of connects (CONNECT to CONNACK). Memory is looked at when all are connected, and
/// again after each has sent a PINGREQ and got its answer, which also shows that all are alive.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Number of connections.
    pub connections: usize,
    /// Connects under way at once.
    pub at_once: usize,
}

impl Scenario for Idle {
    fn name(&self) -> String {
        format!("idle-{}k", self.connections / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} connections, {} connects under way at once, clean sessions; then one ping each",
            self.connections, self.at_once
        )
    }

    fn connections(&self) -> usize {
        self.connections + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let connections = context.sized(self.connections);
        let mut fleet = Fleet::new(server.addr(), context.version, context.interrupt.clone())?;
        // What the first connection sets up belongs to the server, not to each connection.
        fleet.connect_all(1, 1, |_| Connect::clean("idle-first"))?;
        let before = server.usage();
        let window = Window::begin(server, 1);
        fleet.connect_all(connections, self.at_once, |at| Connect::clean(format!("idle-{at:05}")))?;
        let connected_after = window.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = window.settle(server, fleet.load().connected() as u64, connected_after);
        sample.set_latency(fleet.load().connect_latency());
        let connected = server.usage();
        sample.set_memory(before, connected);
        fleet.ping_all();
        fleet.wait("pinging", |load| load.pongs() > connections as u64)?;
        fleet.run_for(SETTLE)?;
        if let (Some(before), Some(connected), Some(pinged)) = (before, connected, server.usage()) {
            let each = |after: u64| after.saturating_sub(before.anonymous) as f64 / connections as f64;
            sample.set_extra("anonymous_bytes_per_connection", each(connected.anonymous));
            sample.set_extra("anonymous_bytes_per_connection_after_ping", each(pinged.anonymous));
        }
        sample.set_extra("connections", connections as f64);
        sample.set_faults(fleet.load().tally());
        Ok(sample)
    }
}
