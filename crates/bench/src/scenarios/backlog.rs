//! A long backlog of a session that is away: stored, survived, drained, and gone from the disk.

use std::time::Duration;

use super::restart::{Figures, bytes_on_disk, ready_again, restarts, tidy};
use super::{Context, RunError, SETTLE, Sample, Scenario, Section, Suite, Window, backlog_name};
use crate::engine::{Expect, LoadError, StreamId};
use crate::mqtt::wire::Qos;
use crate::mqtt::{ClientId, Connect, Fleet, Pace, PublishTemplate, PublisherPlan};
use crate::peers::{Need, Promise, Server};

/// A backlog that is filled, outlives the ends of the server that it promises to survive, and is then drained.
///
/// A server that promises to survive a kill is killed twice (the second time its checkpoint is taken away),
/// then stopped. Everything must still arrive once and in order, and after one more kill nothing that was
/// acknowledged may come back.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Messages stored while the subscriber is away.
    pub messages: usize,
    /// Payload, in bytes.
    pub size: usize,
    /// Which sessions it is part of.
    pub suite: Suite,
}

const PUBLISHERS: u64 = 8;
const WINDOW: u32 = 250;
const MIB: f64 = 1048576.0;
/// Acknowledgements are on disk after this, and what comes back after a kill has come within as much again.
const CALM: Duration = Duration::from_millis(250);

impl Scenario for Backlog {
    fn name(&self) -> String {
        backlog_name(self.messages, self.size)
    }

    fn describe(&self) -> String {
        format!(
            "{} messages of QoS 1, {} B stored by {PUBLISHERS} publishers (window {WINDOW} each) for a persistent \
             session that is away; restarts; then the session comes back and drains them, which is the rate given",
            self.messages, self.size
        )
    }

    fn need(&self) -> Need {
        Need::Restart
    }

    fn suite(&self) -> Suite {
        self.suite
    }

    fn section(&self) -> Section {
        Section::Stored
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn connections(&self) -> usize {
        PUBLISHERS as usize + 2
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let messages = context.sized(self.messages) as u64 / PUBLISHERS * PUBLISHERS;
        let before = server.usage();
        let mut fleet = Fleet::new(server.addr(), context.version, context.interrupt.clone())?;
        let mut figures = self.fill(messages, context, server, &mut fleet)?;
        let full = server.usage();
        figures.append(&mut restarts(server, &mut fleet)?);
        figures
            .extend(server.usage().map(|usage| ("rss_after_restart_mib".to_owned(), usage.rss as f64 / MIB)));

        let drain = Window::begin(server, 0);
        let subscriber = fleet.connect(&session())?;
        fleet.expect(subscriber, &everything());
        // What does not come is counted as lost below.
        fleet.wait_or_give_up(|load| load.received(subscriber).0 >= messages)?;
        let drained_after = drain.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = drain.settle(server, fleet.load().received(subscriber).0, drained_after);
        sample.set_memory(before, full);
        figures.extend(
            server.usage().map(|usage| ("rss_peak_of_drain_mib".to_owned(), usage.peak as f64 / MIB)),
        );
        figures.append(&mut tidy(server, |time| fleet.run_for(time))?);

        let mut faults = fleet.load().tally();
        if server.promise() == Promise::SurviveKill {
            let back = came_back(server, &mut fleet, subscriber)?;
            figures.insert("came_back_after_kill".to_owned(), back as f64);
            faults.duplicated += back;
        }
        sample.extra.append(&mut figures);
        sample.set_faults(faults);
        Ok(sample)
    }
}

fn session() -> Connect {
    Connect::persistent("backlog-sub")
}

fn everything() -> Expect {
    Expect::Range { first: StreamId(0), count: PUBLISHERS as usize }
}

impl Backlog {
    /// Leaves a session with its backlog behind and nobody connected.
    fn fill(
        &self,
        messages: u64,
        context: &Context,
        server: &Server,
        fleet: &mut Fleet,
    ) -> Result<Figures, RunError> {
        let subscriber = fleet.connect_all(1, 1, |_| session())?[0];
        fleet.subscribe(subscriber, &["bench/backlog/#".to_owned()], Qos::AtLeastOnce, &everything());
        fleet.await_subscribed()?;
        fleet.forget(subscriber);
        let publishers = self.add_publishers(messages, context, fleet)?;
        fleet.time_confirms();

        let fill = Window::begin(server, 0);
        fleet.start();
        fleet.wait("filling the backlog", |load| load.is_stored())?;
        let filled_after = fill.elapsed();
        fleet.run_for(SETTLE)?;
        let fill = fill.settle(server, messages, filled_after);

        let mut figures = Figures::new();
        let mut note = |name: &str, value: f64| figures.insert(name.to_owned(), value);
        let payload = messages as f64 * self.size as f64;
        note("messages", messages as f64);
        note("fill_rate", fill.rate);
        note("fill_cpu_us_per_message", fill.cpu_us_per_message().unwrap_or(0.0));
        if let Some(confirms) = fleet.load().confirm_latency() {
            note("fill_confirm_p50_us", confirms.quantile(0.5) as f64 / 1000.0);
            note("fill_confirm_p99_us", confirms.quantile(0.99) as f64 / 1000.0);
        }
        if let Some(usage) = server.usage() {
            note("rss_full_mib", usage.rss as f64 / MIB);
            note("rss_peak_of_fill_mib", usage.peak as f64 / MIB);
        }
        if let Some(data) = server.data() {
            note("disk_full_mib", bytes_on_disk(data) as f64 / MIB);
        }
        if let Some(written) = fill.written {
            note("write_amplification", written as f64 / payload);
        }
        publishers.into_iter().for_each(|publisher| fleet.forget(publisher));
        Ok(figures)
    }

    fn add_publishers(
        &self,
        messages: u64,
        context: &Context,
        fleet: &mut Fleet,
    ) -> Result<Vec<ClientId>, LoadError> {
        let connect = |at| Connect::clean(format!("backlog-pub-{at}"));
        let clients = fleet.connect_all(PUBLISHERS as usize, PUBLISHERS as usize, connect)?;
        for (at, client) in clients.iter().enumerate() {
            let topic = format!("bench/backlog/{at}");
            let template = PublishTemplate::new(context.version, &topic, Qos::AtLeastOnce, false, self.size);
            let messages_of_it = vec![(fleet.stream(), template)];
            fleet.add_publisher(PublisherPlan {
                client: *client,
                qos: Qos::AtLeastOnce,
                messages: messages_of_it,
                pace: Pace::Window(WINDOW),
                limit: Some(messages / PUBLISHERS),
                copies: 0,
            });
        }
        Ok(clients)
    }
}

/// How many messages a killed server delivers again, although they were acknowledged well before.
fn came_back(server: &mut Server, fleet: &mut Fleet, subscriber: ClientId) -> Result<u64, RunError> {
    fleet.run_for(CALM)?;
    fleet.forget(subscriber);
    server.kill();
    ready_again(server, fleet)?;
    // It expects nothing: whatever comes is foreign.
    let before = fleet.load().tally().foreign;
    fleet.connect_all(1, 1, |_| session())?;
    fleet.run_for(CALM)?;
    Ok(fleet.load().tally().foreign - before)
}
