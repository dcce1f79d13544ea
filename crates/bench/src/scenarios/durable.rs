//! QoS 1 that is on disk before it is confirmed.

use super::traffic::{Sessions, SubscriberPlan, Traffic};
use super::{Context, RunError, Sample, Scenario, Section, Suite, payload_name};
use crate::engine::{Expect, StreamId};
use crate::mqtt::Pace;
use crate::mqtt::wire::Qos;
use crate::peers::{Need, Server};

/// Publishers, a topic each, to one subscriber whose session outlives its connection.
///
/// The subscriber receives and acknowledges everything, so that the server has to write messages and
/// acknowledgements alike. A message is under way until its publisher has the PUBACK and the subscriber the
/// message; what is judged is the time from PUBLISH to PUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// Number of publishers.
    pub publishers: u32,
    /// Messages under way from each publisher.
    pub window: u32,
    /// Payload, in bytes.
    pub size: usize,
}

/// The combinations (publishers, window, payload) that every session runs.
const ALWAYS: &[(u32, u32, usize)] =
    &[(1, 1, 100), (16, 1, 100), (64, 16, 100), (64, 16, 1024), (1000, 1, 1024)];

impl Durable {
    /// All combinations.
    pub fn matrix() -> Vec<Durable> {
        let mut all = Vec::new();
        for publishers in [1, 16, 64, 1000] {
            for window in [1, 16] {
                all.extend([100, 1024].map(|size| Durable { publishers, window, size }));
            }
        }
        all
    }

    /// Messages under way from all publishers together.
    pub fn in_flight(&self) -> u32 {
        self.publishers * self.window
    }
}

/// The name of [`Durable::in_flight`] among a sample's figures.
pub const IN_FLIGHT: &str = "in_flight";

/// The name of the bytes that the device wrote for each byte of payload among a sample's figures.
pub const WRITTEN: &str = "written_by_payload";

impl Scenario for Durable {
    fn name(&self) -> String {
        format!("durable-{}x{}-{}", self.publishers, self.window, payload_name(self.size))
    }

    fn describe(&self) -> String {
        let Durable { publishers, window, size } = *self;
        format!(
            "{publishers} publisher(s), a topic each, to one subscriber with a persistent session; QoS 1, {size} B, \
             window {window} each; data on disk"
        )
    }

    fn need(&self) -> Need {
        Need::Durable
    }

    fn suite(&self) -> Suite {
        if ALWAYS.contains(&(self.publishers, self.window, self.size)) { Suite::Default } else { Suite::Full }
    }

    fn section(&self) -> Section {
        Section::Durable
    }

    fn connections(&self) -> usize {
        self.publishers as usize + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topics: Vec<String> = (0..self.publishers).map(|at| format!("bench/durable/{at}")).collect();
        let all = Expect::Range { first: StreamId(0), count: topics.len() };
        let traffic = Traffic {
            subscribers: vec![SubscriberPlan { filters: topics.clone(), expect: all }],
            topics: topics.into_iter().map(|topic| vec![topic]).collect(),
            copies: 1,
            qos: Qos::AtLeastOnce,
            size: self.size,
            pace: Pace::Window(self.window),
            sessions: Sessions::Persistent,
        };
        let mut sample = traffic.run(context, server)?;
        sample.set_extra(IN_FLIGHT, f64::from(self.in_flight()));
        if let Some(written) = sample.written {
            sample.set_extra(WRITTEN, written as f64 / (sample.count * self.size as u64) as f64);
        }
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_combinations_are_part_of_the_matrix() {
        let always = Durable::matrix().into_iter().filter(|durable| durable.suite() == Suite::Default);
        assert_eq!(always.count(), ALWAYS.len());
        assert_eq!(Durable::matrix().len(), 16);
    }
}
