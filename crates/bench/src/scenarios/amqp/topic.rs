//! A topic exchange with ten thousand bindings; each message matches four queues.

use super::super::{Context, RunError, Sample, Scenario};
use super::MOST_ROUNDS;
use super::traffic::{ConsumerPlan, Route, Traffic};
use crate::amqp::wire::QueueFlags;
use crate::amqp::{Acks, Pace};
use crate::engine::{Expect, StreamId};
use crate::peers::{Need, Protocol, Server};

/// A fleet of devices, watched through queues with exact and wildcard bindings.
///
/// A quarter as many devices as bindings, each with one binding of each of four kinds, in a queue of that
/// kind: exact, `*` at the end, `*` inside, `#` at the end.
#[derive(Debug, Clone, Copy)]
pub struct AmqpTopic {
    /// Number of bindings.
    pub bindings: usize,
    /// Payload, in bytes.
    pub size: usize,
}

const KINDS: usize = 4;
const QUEUES_OF_EACH_KIND: usize = 25;
const QUEUES: usize = KINDS * QUEUES_OF_EACH_KIND;
const CONSUMERS_PER_CONNECTION: usize = 10;
const PUBLISHERS: usize = 4;
const KEYS_PER_PUBLISHER: usize = 250;
const WINDOW: u32 = 100;
const SITES: usize = 20;
const EXCHANGE: &str = "bench.fleet";

impl Scenario for AmqpTopic {
    fn name(&self) -> String {
        format!("amqp-topic-{}k", self.bindings / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} bindings (1/4 each exact, `a.b.c.*`, `a.*.c.d`, `a.b.c.#`) of {QUEUES} transient queues to a topic \
             exchange, a no-ack consumer each, {CONSUMERS_PER_CONNECTION} to a connection; {PUBLISHERS} publishers \
             with {KEYS_PER_PUBLISHER} keys each; every message goes to {KINDS} queues; transient, {} B, window \
             {WINDOW} each; deliveries are counted",
            self.bindings, self.size
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::OnDisk
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(MOST_ROUNDS)
    }

    fn connections(&self) -> usize {
        QUEUES / CONSUMERS_PER_CONNECTION + PUBLISHERS + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let devices = (context.sized(self.bindings) / KINDS).max(PUBLISHERS * KEYS_PER_PUBLISHER / 4);
        let published = published(devices);
        let traffic = Traffic {
            consumers: consumers(&published),
            consumers_per_connection: CONSUMERS_PER_CONNECTION,
            acks: Acks::Automatic,
            publishers: published
                .iter()
                .map(|devices| devices.iter().map(|at| Route { exchange: EXCHANGE, key: key(*at) }).collect())
                .collect(),
            copies: KINDS as u32,
            persistent: false,
            confirms: false,
            size: self.size,
            pace: Pace::Window { undelivered: WINDOW, unconfirmed: 0 },
        };
        Ok(traffic.run(context, server, |fleet, channel| {
            fleet.declare_exchange(channel, EXCHANGE, "topic", false);
            for queue in 0..QUEUES {
                fleet.declare_queue(channel, &queue_name(queue), QueueFlags::default());
            }
            for device in 0..devices {
                for (kind, pattern) in patterns(device).iter().enumerate() {
                    fleet.bind(channel, &queue_name(queue_of(kind, device)), EXCHANGE, pattern);
                }
            }
        })?)
    }
}

fn queue_name(queue: usize) -> String {
    format!("bench.topic.{queue}")
}

fn queue_of(kind: usize, device: usize) -> usize {
    kind * QUEUES_OF_EACH_KIND + device % QUEUES_OF_EACH_KIND
}

fn key(device: usize) -> String {
    format!("fleet.{}.{device}.temp", device % SITES)
}

fn patterns(device: usize) -> [String; KINDS] {
    let site = device % SITES;
    [
        key(device),
        format!("fleet.{site}.{device}.*"),
        format!("fleet.*.{device}.temp"),
        format!("fleet.{site}.{device}.#"),
    ]
}

/// The devices that each publisher speaks for, spread over all of them.
fn published(devices: usize) -> Vec<Vec<usize>> {
    let each = KEYS_PER_PUBLISHER.min(devices / PUBLISHERS);
    let stride = devices / (each * PUBLISHERS);
    let device = |publisher, at| (at * PUBLISHERS + publisher) * stride;
    (0..PUBLISHERS).map(|publisher| (0..each).map(|at| device(publisher, at)).collect()).collect()
}

fn consumers(published: &[Vec<usize>]) -> Vec<ConsumerPlan> {
    let mut streams = vec![Vec::new(); QUEUES];
    for (stream, device) in (0..).zip(published.iter().flatten()) {
        for kind in 0..KINDS {
            streams[queue_of(kind, *device)].push(StreamId(stream));
        }
    }
    let plan = |(queue, streams)| ConsumerPlan { queue: queue_name(queue), expect: Expect::Set(streams) };
    streams.into_iter().enumerate().map(plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_due_at_four_queues() {
        for devices in [250, 2500] {
            let published = published(devices);
            let count: usize = published.iter().map(Vec::len).sum();
            assert!(count == PUBLISHERS * KEYS_PER_PUBLISHER || count == devices / PUBLISHERS * PUBLISHERS);
            let mut once: Vec<usize> = published.iter().flatten().copied().collect();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), count);
            let mut due = vec![0; count];
            for plan in consumers(&published) {
                let Expect::Set(streams) = plan.expect else { panic!("a set was planned") };
                streams.iter().for_each(|stream| due[stream.0 as usize] += 1);
            }
            assert!(due.iter().all(|copies| *copies == KINDS));
        }
    }
}
