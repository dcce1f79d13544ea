//! What is measured: one file per kind of load, each made of steps of a [`Fleet`](crate::mqtt::Fleet), or in
//! `amqp` of the [`Fleet`](crate::amqp::Fleet) that speaks AMQP, or in `coap` a script that the
//! [`Fleet`](crate::coap::Fleet) of CoAP plays.
//!
//! Names are stable, as results are compared over time. Every scenario gets a fresh server.

mod amqp;
mod backlog;
mod coap;
mod durable;
mod fan;
mod idle;
mod latency;
mod offline;
mod pipe;
mod restart;
mod retained;
mod retained_on_disk;
mod sample;
mod traffic;
mod wildcards;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Interrupt, LoadError};
use crate::mqtt::wire::{Qos, Version};
use crate::peers::{Need, PeerError, Protocol, Server};

pub use amqp::{
    AmqpBacklog, AmqpChurn, AmqpConfirmed, AmqpIdleConnections, AmqpIdleQueues, AmqpPipe, AmqpQueues,
    AmqpTopic,
};
pub use backlog::Backlog;
pub use coap::{
    CoapBlocks, CoapFanOut, CoapFlood, CoapHandshakes, CoapIdleObservers, CoapIdlePeers, CoapRequests, Method,
};
pub use durable::{Durable, IN_FLIGHT, WRITTEN};
pub use fan::{FanIn, FanOut};
pub use idle::Idle;
pub use latency::Latency;
pub use offline::Offline;
pub use pipe::Pipe;
pub use retained::Retained;
pub use retained_on_disk::RetainedOnDisk;
pub use sample::{Sample, Window};
pub use traffic::{Sessions, SubscriberPlan, Traffic};
pub use wildcards::Wildcards;

/// What all runs of a session share.
#[derive(Debug, Clone)]
pub struct Context {
    /// MQTT version of all clients.
    pub version: Version,
    /// Load before the measured window.
    pub warm_up: Duration,
    /// The measured window.
    pub measured: Duration,
    /// Divides the sizes of the big scenarios, for a quick look; 1 for a real measurement.
    pub shrink: usize,
    /// Ends a run early.
    pub interrupt: Interrupt,
}

impl Context {
    /// A scenario's size, shrunk for a quick look.
    pub fn sized(&self, full: usize) -> usize {
        (full / self.shrink.max(1)).max(1)
    }
}

/// Why a run has no sample.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server could not be started, stopped or started again.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The load could not be carried through.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The disk beside the run could not be measured.
    #[error("measuring the disk: {0}")]
    Disk(std::io::Error),
    /// The limit of open files is too low.
    #[error("does not fit: needs {needed} open files, the hard limit is {allowed} (ulimit -Hn)")]
    OpenFiles {
        /// How many it takes.
        needed: u64,
        /// How many there may be.
        allowed: u64,
    },
}

/// When a scenario is part of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Always.
    Default,
    /// When everything is asked for: more combinations of what others show already.
    Full,
    /// When long runs are asked for: minutes and gigabytes.
    Long,
}

/// How a scenario's figures are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Section {
    /// By what the server's CPU time yields.
    #[default]
    Cpu,
    /// Durable traffic, beside what the disk can do.
    Durable,
    /// What is stored and survives, by figures of its own.
    Stored,
}

/// One thing to measure.
pub trait Scenario {
    /// Stable name, as in tables and on the command line.
    fn name(&self) -> String;

    /// What it does, in a line with all its parameters.
    fn describe(&self) -> String;

    /// What its clients speak.
    fn protocol(&self) -> Protocol {
        Protocol::Mqtt
    }

    /// What the server must be able to do.
    fn need(&self) -> Need {
        Need::Plain
    }

    /// Which sessions it is part of.
    fn suite(&self) -> Suite {
        Suite::Default
    }

    /// How its figures are shown.
    fn section(&self) -> Section {
        Section::Cpu
    }

    /// How often it is repeated in a session of so many rounds.
    fn rounds(&self, asked: u32) -> u32 {
        asked
    }

    /// How many connections it holds at once; both sides need as many open files, and a few more.
    fn connections(&self) -> usize;

    /// Runs it once against a fresh server.
    ///
    /// # Errors
    /// When the run could not be carried through; a run in which messages were lost is not an error but a
    /// sample that is not clean.
    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError>;
}

/// What a server does after the last message of a fixed amount of work is done within this.
const SETTLE: Duration = Duration::from_millis(50);

/// All scenarios, in the order of the report.
pub fn all() -> Vec<Box<dyn Scenario>> {
    use Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    let mut list: Vec<Box<dyn Scenario>> = Vec::new();
    for (size, window) in [(64, 200), (1024, 200), (16_384, 50)] {
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            list.push(Box::new(Pipe { pairs: 1, qos, size, window }));
        }
    }
    for qos in [AtMostOnce, AtLeastOnce] {
        list.push(Box::new(Pipe { pairs: 10, qos, size: 256, window: 50 }));
    }
    for qos in [AtMostOnce, AtLeastOnce] {
        list.push(Box::new(FanIn { publishers: 100, qos, size: 64, window: 20 }));
    }
    for qos in [AtMostOnce, AtLeastOnce] {
        list.push(Box::new(FanOut { subscribers: 500, qos, size: 64, window: 4 }));
    }
    list.push(Box::new(Wildcards { filters: 100_000, qos: AtMostOnce, size: 64 }));
    for qos in [AtMostOnce, AtLeastOnce] {
        list.push(Box::new(Latency { qos, size: 64, rate: 5000 }));
    }
    list.push(Box::new(Idle { connections: 10_000, at_once: 64 }));
    list.push(Box::new(Offline { messages: 50_000, size: 64 }));
    list.push(Box::new(Retained { topics: 100_000, size: 64 }));
    for durable in Durable::matrix() {
        list.push(Box::new(durable));
    }
    list.push(Box::new(Backlog { messages: 1_000_000, size: 1024, suite: Suite::Default }));
    list.push(Box::new(Backlog { messages: 10_000_000, size: 100, suite: Suite::Long }));
    list.push(Box::new(RetainedOnDisk { topics: 1_000_000, size: 1024 }));
    list.extend(amqp::all());
    list.extend(coap::all());
    list
}

/// Whether `name` fits a pattern in which `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))
}

fn backlog_name(messages: usize, size: usize) -> String {
    let count = if messages.is_multiple_of(1_000_000) {
        format!("{}m", messages / 1_000_000)
    } else {
        format!("{}k", messages / 1000)
    };
    format!("backlog-{count}-{}", payload_name(size))
}

fn payload_name(size: usize) -> String {
    if size.is_multiple_of(1024) { format!("{}k", size / 1024) } else { size.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_cover_the_list() {
        let names: Vec<String> = all().iter().map(|scenario| scenario.name()).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for expected in ["pipe-qos0-64", "pipe-qos2-16k", "pipe10-qos1-256", "fanin100-qos0", "idle-10k"] {
            assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
        }
    }

    #[test]
    fn patterns_match_like_globs() {
        let cases = [
            ("pipe-qos0-64", "pipe-qos0-64", true),
            ("pipe*", "pipe-qos0-64", true),
            ("*qos1*", "pipe-qos1-64", true),
            ("*", "x", true),
            ("pipe", "pipe-qos0-64", false),
            ("*-64", "pipe-qos0-64k", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }
}
