//! Many retained messages, stored and then replayed to a subscriber of `#`.

use super::{Context, RunError, SETTLE, Sample, Scenario, Window};
use crate::engine::Expect;
use crate::mqtt::wire::Qos;
use crate::mqtt::{Connect, Fleet, Pace, PublishTemplate, PublisherPlan};
use crate::peers::{Need, Server};

/// Retained messages on as many topics.
///
/// The measured window is the replay, from SUBSCRIBE to the last message. Each must come once; the order
/// over topics is the server's choice.
#[derive(Debug, Clone, Copy)]
pub struct Retained {
    /// Number of topics.
    pub topics: usize,
    /// Payload, in bytes.
    pub size: usize,
}

const WINDOW: u32 = 200;
const TOPICS_PER_GROUP: usize = 1000;

impl Scenario for Retained {
    fn name(&self) -> String {
        format!("retained-{}k", self.topics / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} retained messages of QoS 1, {} B stored (window {WINDOW}), then replayed to one subscriber of \
             `#` at QoS 1; the replay is measured",
            self.topics, self.size
        )
    }

    fn need(&self) -> Need {
        Need::FreshBroker
    }

    fn connections(&self) -> usize {
        2
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let topics = context.sized(self.topics);
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
        let subscriber = fleet.connect_all(1, 1, |_| Connect::clean("retained-sub"))?[0];

        let before = server.usage();
        let store = Window::begin(server, 0);
        fleet.start();
        fleet.wait("storing", |load| load.is_stored())?;
        let stored_after = store.elapsed();
        fleet.run_for(SETTLE)?;
        let store = store.settle(server, topics as u64, stored_after);
        let full = server.usage();

        let replay = Window::begin(server, fleet.load().deliveries());
        let everything = Expect::OnceEach { count: topics };
        fleet.subscribe(subscriber, &["#".to_owned()], Qos::AtLeastOnce, &everything);
        fleet.wait_or_give_up(|load| load.received(subscriber).0 >= topics as u64)?;
        let replayed_after = replay.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = replay.settle(server, fleet.load().deliveries(), replayed_after);

        sample.set_memory(before, full);
        sample.set_extra("topics", topics as f64);
        sample.set_extra("store_rate", store.rate);
        sample.set_extra("store_per_cpu_second", store.per_cpu_second.unwrap_or(0.0));
        if let (Some(before), Some(full)) = (before, full) {
            let bytes = full.anonymous.saturating_sub(before.anonymous) as f64;
            sample.set_extra("anonymous_bytes_per_message", bytes / topics as f64);
        }
        sample.set_faults(fleet.load().tally());
        Ok(sample)
    }
}
