//! Very many retained topics: what they take in memory and on disk, and how soon they are back.

use super::restart::{bytes_on_disk, restarts};
use super::{Context, RunError, SETTLE, Sample, Scenario, Section, Suite, Window};
use crate::engine::Expect;
use crate::mqtt::wire::Qos;
use crate::mqtt::{Connect, Fleet, Pace, PublishTemplate, PublisherPlan};
use crate::peers::{Need, Server};

/// Retained messages on as many topics, that outlive the ends of the server and are then replayed.
///
/// The rate given is that of the replay to one subscriber of all topics.
#[derive(Debug, Clone, Copy)]
pub struct RetainedOnDisk {
    /// Number of topics.
    pub topics: usize,
    /// Payload, in bytes.
    pub size: usize,
}

const WINDOW: u32 = 2000;
const TOPICS_PER_GROUP: usize = 1000;
const MIB: f64 = 1048576.0;

impl Scenario for RetainedOnDisk {
    fn name(&self) -> String {
        format!("retained-disk-{}m", self.topics / 1_000_000)
    }

    fn describe(&self) -> String {
        format!(
            "{} retained messages of QoS 1, {} B stored (window {WINDOW}); restarts; then all are replayed to one \
             subscriber, which is the rate given",
            self.topics, self.size
        )
    }

    fn need(&self) -> Need {
        Need::Restart
    }

    fn suite(&self) -> Suite {
        Suite::Long
    }

    fn section(&self) -> Section {
        Section::Stored
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn connections(&self) -> usize {
        2
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topics = context.sized(self.topics);
        let before = server.usage();
        let mut fleet = Fleet::new(server.addr(), context.version, context.interrupt.clone())?;
        let publisher = fleet.connect_all(1, 1, |_| Connect::clean("retained-pub"))?[0];
        let stream = fleet.stream();
        let template = |at: usize| {
            let topic = format!("bench/retained/{}/{}", at / TOPICS_PER_GROUP, at % TOPICS_PER_GROUP);
            PublishTemplate::new(context.version, &topic, Qos::AtLeastOnce, true, self.size)
        };
        fleet.add_publisher(PublisherPlan {
            client: publisher,
            qos: Qos::AtLeastOnce,
            messages: (0..topics).map(|at| (stream, template(at))).collect(),
            pace: Pace::Window(WINDOW),
            limit: Some(topics as u64),
            copies: 0,
        });
        let store = Window::begin(server, 0);
        fleet.start();
        fleet.wait("storing", |load| load.is_stored())?;
        let store = store.end(server, topics as u64);
        let full = server.usage();
        let disk_full = server.data().map(bytes_on_disk);
        fleet.forget(publisher);
        let mut figures = restarts(server, &mut fleet)?;

        let replay = Window::begin(server, 0);
        let subscriber = fleet.connect_all(1, 1, |_| Connect::clean("retained-sub"))?[0];
        let everything = Expect::OnceEach { count: topics };
        fleet.subscribe(subscriber, &["bench/retained/#".to_owned()], Qos::AtLeastOnce, &everything);
        fleet.wait_or_give_up(|load| load.received(subscriber).0 >= topics as u64)?;
        let replayed_after = replay.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = replay.settle(server, fleet.load().deliveries(), replayed_after);
        sample.set_memory(before, full);
        sample.extra.append(&mut figures);
        sample.set_extra("topics", topics as f64);
        sample.set_extra("store_rate", store.rate);
        sample.set_extra("store_cpu_us_per_message", store.cpu_us_per_message().unwrap_or(0.0));
        if let Some(full) = full {
            sample.set_extra("rss_full_mib", full.rss as f64 / MIB);
        }
        if let Some(bytes) = disk_full {
            sample.set_extra("disk_full_mib", bytes as f64 / MIB);
        }
        sample.set_faults(fleet.load().tally());
        Ok(sample)
    }
}
