//! A persistent session that misses many messages and comes back for them.

use super::{Context, RunError, SETTLE, Sample, Scenario, Window};
use crate::engine::{Expect, LoadError, StreamId};
use crate::mqtt::wire::Qos;
use crate::mqtt::{Connect, Fleet, Pace, PublishTemplate, PublisherPlan};
use crate::peers::{Need, Server};

/// A subscriber's offline queue: filled, then drained on reconnect.
///
/// The subscriber first receives a hundred messages without acknowledging them and is cut off, so that the
/// drain begins with a redelivery of what was in flight. The measured window is the drain, from the
/// reconnect to the last message; what was received before is expected again.
#[derive(Debug, Clone, Copy)]
pub struct Offline {
    /// Messages stored while the subscriber is away.
    pub messages: usize,
    /// Payload, in bytes.
    pub size: usize,
}

const IN_FLIGHT: u64 = 100;
const WINDOW: u32 = 200;
const TOPIC: &str = "bench/offline";

impl Scenario for Offline {
    fn name(&self) -> String {
        format!("offline-{}k", self.messages / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} messages of QoS 1, {} B stored for a persistent session (store window {WINDOW}), which had \
             {IN_FLIGHT} more in flight when it was cut off; the drain after the reconnect is measured",
            self.messages, self.size
        )
    }

    fn need(&self) -> Need {
        Need::FreshBroker
    }

    fn connections(&self) -> usize {
        3
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let stored = context.sized(self.messages) as u64;
        let before = server.usage();
        let mut fleet = Fleet::new(server.addr(), context.version, context.interrupt.clone())?;
        let session = || Connect::persistent("offline-sub");
        let expect = Expect::Range { first: StreamId(0), count: 1 };
        let first = fleet.connect_all(1, 1, |_| session())?[0];
        fleet.subscribe(first, &[TOPIC.to_owned()], Qos::AtLeastOnce, &expect);
        fleet.set_acknowledging(first, false);
        fleet.await_subscribed()?;
        self.add_publisher(&mut fleet, context)?;
        fleet.start();
        fleet.wait("filling the in-flight window", |load| load.received(first).0 >= IN_FLIGHT)?;
        fleet.wait("filling the in-flight window", |load| load.is_stored())?;
        fleet.forget(first);

        let empty = server.usage();
        let store = Window::begin(server, 0);
        fleet.extend_publisher(IN_FLIGHT + stored);
        fleet.wait("storing", |load| load.is_stored())?;
        let stored_after = store.elapsed();
        fleet.run_for(SETTLE)?;
        let store = store.settle(server, stored, stored_after);
        let full = server.usage();

        let drain = Window::begin(server, fleet.load().deliveries());
        let again = fleet.connect(&session())?;
        fleet.expect(again, &expect);
        let everything = IN_FLIGHT + stored;
        // What does not come is counted as lost below.
        fleet.wait_or_give_up(|load| load.received(again).0 >= everything)?;
        let drained_after = drain.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = drain.settle(server, fleet.load().deliveries(), drained_after);

        sample.set_memory(before, full);
        sample.set_extra("messages", everything as f64);
        sample.set_extra("store_rate", store.rate);
        sample.set_extra("store_per_cpu_second", store.per_cpu_second.unwrap_or(0.0));
        sample.set_extra("redelivered_with_dup", fleet.load().received(again).1 as f64);
        sample.set_extra("session_present", f64::from(u8::from(fleet.load().session_present(again))));
        if let (Some(empty), Some(full)) = (empty, full) {
            let bytes = full.anonymous.saturating_sub(empty.anonymous) as f64;
            sample.set_extra("anonymous_bytes_per_message", bytes / stored as f64);
        }
        sample.set_faults(fleet.load().tally());
        Ok(sample)
    }
}

impl Offline {
    fn add_publisher(&self, fleet: &mut Fleet, context: &Context) -> Result<(), LoadError> {
        let client = fleet.connect_all(1, 1, |_| Connect::clean("offline-pub"))?[0];
        let template = PublishTemplate::new(context.version, TOPIC, Qos::AtLeastOnce, false, self.size);
        let stream = fleet.stream();
        fleet.add_publisher(PublisherPlan {
            client,
            qos: Qos::AtLeastOnce,
            messages: vec![(stream, template)],
            pace: Pace::Window(WINDOW),
            limit: Some(IN_FLIGHT),
            copies: 0,
        });
        Ok(())
    }
}
