//! A hundred thousand filters, many with wildcards; each message matches three of them.

use std::collections::HashMap;

use super::traffic::{Sessions, SubscriberPlan, Traffic};
use super::{Context, RunError, Sample, Scenario};
use crate::engine::{Expect, StreamId};
use crate::mqtt::Pace;
use crate::mqtt::wire::Qos;
use crate::peers::{Need, Server};

/// A fleet of devices, watched by subscribers with exact and wildcard filters.
///
/// A quarter as many devices as filters, each with topics `fleet/<site>/<device>/temp` and `.../state`. Half
/// of the filters are exact, a quarter end in `+`, an eighth have `+` as the first or second level, an
/// eighth end in `#`. No connection has two filters for one topic, so every message is due exactly once at
/// each of three connections.
#[derive(Debug, Clone, Copy)]
pub struct Wildcards {
    /// Number of filters.
    pub filters: usize,
    /// QoS of messages and subscriptions.
    pub qos: Qos,
    /// Payload, in bytes.
    pub size: usize,
}

const PUBLISHERS: usize = 10;
const TOPICS_PER_PUBLISHER: usize = 500;
const WINDOW: u32 = 50;
const SITES: usize = 20;
const CONNECTIONS: usize = 200;
/// Connections for exact filters, for `+` at the end, for `+` in front, for `#`.
const SHARES: [usize; 4] = [100, 50, 25, 25];

impl Scenario for Wildcards {
    fn name(&self) -> String {
        format!("wildcards-{}k-qos{}", self.filters / 1000, self.qos as u8)
    }

    fn describe(&self) -> String {
        format!(
            "{} filters on {CONNECTIONS} connections (1/2 exact, 1/4 `a/b/c/+`, 1/16 `+/b/c/d`, 1/16 `a/+/c/d`, \
             1/8 `a/b/c/#`); {PUBLISHERS} publishers with {TOPICS_PER_PUBLISHER} topics each, every message \
             matches 3 filters; QoS {}, {} B, window {WINDOW} each",
            self.filters, self.qos as u8, self.size
        )
    }

    fn need(&self) -> Need {
        Need::Broker
    }

    fn connections(&self) -> usize {
        CONNECTIONS + PUBLISHERS
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let devices = (context.sized(self.filters) / 4).max(PUBLISHERS);
        let topics = topics(devices);
        let traffic = Traffic {
            subscribers: subscribers(devices, &topics),
            topics: topics
                .iter()
                .map(|list| list.iter().map(|device| temperature(*device)).collect())
                .collect(),
            copies: 3,
            qos: self.qos,
            size: self.size,
            pace: Pace::Window(WINDOW),
            sessions: Sessions::Clean,
        };
        Ok(traffic.run(context, server)?)
    }
}

/// The devices that each publisher speaks for, spread over all of them.
fn topics(devices: usize) -> Vec<Vec<usize>> {
    let each = TOPICS_PER_PUBLISHER.min(devices / PUBLISHERS);
    let stride = devices / (each * PUBLISHERS);
    let device = |publisher, at| (at * PUBLISHERS + publisher) * stride;
    (0..PUBLISHERS).map(|publisher| (0..each).map(|at| device(publisher, at)).collect()).collect()
}

fn temperature(device: usize) -> String {
    format!("fleet/{}/{device}/temp", device % SITES)
}

fn subscribers(devices: usize, topics: &[Vec<usize>]) -> Vec<SubscriberPlan> {
    let published: HashMap<usize, u32> =
        topics.iter().flatten().zip(0..).map(|(device, stream)| (*device, stream)).collect();
    let mut plans: Vec<(Vec<String>, Vec<StreamId>)> = vec![Default::default(); CONNECTIONS];
    for device in 0..devices {
        let site = device % SITES;
        let stream = published.get(&device).map(|stream| StreamId(*stream));
        for (connection, filter, matches) in filters_of(device, site) {
            let (filters, streams) = &mut plans[connection];
            filters.push(filter);
            streams.extend(stream.filter(|_| matches));
        }
    }
    let plan = |(filters, streams)| SubscriberPlan { filters, expect: Expect::Set(streams) };
    plans.into_iter().map(plan).collect()
}

/// A device's four filters: connection, filter, whether it matches the published topic.
fn filters_of(device: usize, site: usize) -> [(usize, String, bool); 4] {
    let [exact, plus, front, _] = SHARES;
    let wild = match device % 4 {
        0 => format!("+/{site}/{device}/temp"),
        2 => format!("fleet/+/{device}/temp"),
        _ => format!("fleet/{site}/{device}/#"),
    };
    let wild_at = if device.is_multiple_of(2) {
        exact + plus + (device / 2) % front
    } else {
        exact + plus + front + (device / 2) % SHARES[3]
    };
    [
        ((device * 2) % exact, format!("fleet/{site}/{device}/temp"), true),
        ((device * 2 + 1) % exact, format!("fleet/{site}/{device}/state"), false),
        (exact + device % plus, format!("fleet/{site}/{device}/+"), true),
        (wild_at, wild, true),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_due_at_three_connections_and_nowhere_twice() {
        let devices = 25_000;
        let topics = topics(devices);
        let count = topics.iter().map(Vec::len).sum::<usize>();
        assert_eq!(count, PUBLISHERS * TOPICS_PER_PUBLISHER);
        let plans = subscribers(devices, &topics);
        assert_eq!(plans.len(), CONNECTIONS);
        assert_eq!(plans.iter().map(|plan| plan.filters.len()).sum::<usize>(), 100_000);
        let mut due = vec![0; count];
        for plan in &plans {
            let Expect::Set(streams) = &plan.expect else { panic!("a set was planned") };
            let mut once = streams.iter().map(|stream| stream.0).collect::<Vec<_>>();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), streams.len());
            for stream in once {
                due[stream as usize] += 1;
            }
        }
        assert!(due.iter().all(|copies| *copies == 3));
    }
}
