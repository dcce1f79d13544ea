//! Connections and queues that do nothing, and what they cost.

use std::fs;
use std::path::Path;

use super::super::restart::bytes_on_disk;
use super::super::{Context, RunError, SETTLE, Sample, Scenario, Window};
use crate::amqp::Fleet;
use crate::amqp::wire::QueueFlags;
use crate::peers::{Need, Protocol, Server};

/// Opens many connections with a bounded number under way, then a channel on each.
///
/// `count` and latency are of connections (protocol header to connection.open-ok).
#[derive(Debug, Clone, Copy)]
pub struct AmqpIdleConnections {
    /// Number of connections.
    pub connections: usize,
    /// Connects under way at once.
    pub at_once: usize,
}

impl Scenario for AmqpIdleConnections {
    fn name(&self) -> String {
        format!("amqp-idle-connections-{}k", self.connections / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} connections, {} under way at once; then a channel on each; connections are counted",
            self.connections, self.at_once
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::OnDisk
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn connections(&self) -> usize {
        self.connections + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let connections = context.sized(self.connections);
        let mut fleet = Fleet::new(server.addr(), context.interrupt.clone())?;
        // What the first connection sets up belongs to the server, not to each connection.
        fleet.connect_with_channel()?;
        let before = server.usage();
        let window = Window::begin(server, 1);
        let clients = fleet.connect_all(connections, self.at_once)?;
        let connected_after = window.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = window.settle(server, fleet.load().connected() as u64, connected_after);
        sample.set_latency(fleet.load().connect_latency());
        let connected = server.usage();
        sample.set_memory(before, connected);
        for client in clients {
            fleet.open_channel(client);
        }
        fleet.await_answers("opening channels")?;
        fleet.run_for(SETTLE)?;
        if let (Some(before), Some(connected), Some(opened)) = (before, connected, server.usage()) {
            let each = |after: u64| after.saturating_sub(before.anonymous) as f64 / connections as f64;
            sample.set_extra("anonymous_bytes_per_connection", each(connected.anonymous));
            sample.set_extra("anonymous_bytes_per_connection_with_channel", each(opened.anonymous));
        }
        sample.set_extra("connections", connections as f64);
        sample.set_faults(fleet.load().tally());
        Ok(sample)
    }
}

/// Declares many durable queues, one request after the other on one channel.
///
/// `count` is of queues.
#[derive(Debug, Clone, Copy)]
pub struct AmqpIdleQueues {
    /// Number of queues.
    pub queues: usize,
}

impl Scenario for AmqpIdleQueues {
    fn name(&self) -> String {
        format!("amqp-idle-queues-{}k", self.queues / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} durable queues declared on one channel (pipelined), empty; queues are counted",
            self.queues
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::OnDisk
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn connections(&self) -> usize {
        1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let queues = context.sized(self.queues);
        let durable = QueueFlags { durable: true, passive: false };
        let mut fleet = Fleet::new(server.addr(), context.interrupt.clone())?;
        let channel = fleet.connect_with_channel()?;
        // What the first queue sets up belongs to the server, not to each queue.
        fleet.declare_queue(channel, "bench.idle.first", durable);
        fleet.await_answers("declaring")?;
        let before = server.usage();
        let disk_before = server.data().map(|data| (bytes_on_disk(data), files_in(data)));
        let window = Window::begin(server, 0);
        for at in 0..queues {
            fleet.declare_queue(channel, &format!("bench.idle.{at}"), durable);
        }
        fleet.await_answers("declaring")?;
        let declared_after = window.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = window.settle(server, queues as u64, declared_after);
        let after = server.usage();
        sample.set_memory(before, after);
        if let Some((before, after)) = before.zip(after) {
            let bytes = after.anonymous.saturating_sub(before.anonymous) as f64;
            sample.set_extra("anonymous_bytes_per_queue", bytes / queues as f64);
        }
        if let Some((data, (bytes_before, files_before))) = server.data().zip(disk_before) {
            let bytes = bytes_on_disk(data).saturating_sub(bytes_before) as f64;
            sample.set_extra("disk_bytes_per_queue", bytes / queues as f64);
            let files = files_in(data).saturating_sub(files_before) as f64;
            sample.set_extra("files_per_queue", files / queues as f64);
        }
        sample.set_extra("queues", queues as f64);
        sample.set_faults(fleet.load().tally());
        Ok(sample)
    }
}

/// How many files and directories are below `dir`.
fn files_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    // What was removed since the listing counts nothing below.
    entries.map(|entry| 1 + if entry.path().is_dir() { files_in(&entry.path()) } else { 0 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_with_their_directories() {
        let dir = std::env::temp_dir().join(format!("tercet-bench-files-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/c"), "").unwrap();
        assert_eq!(files_in(&dir), 3);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(files_in(&dir), 0);
    }
}
