//! A long backlog of a queue that nobody consumes: stored, survived, drained by a late consumer, and gone.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::restart::{Figures, Visitor, bytes_on_disk, ready_again, restarts, tidy};
use super::super::{Context, RunError, SETTLE, Sample, Scenario, Section, Window, backlog_name};
use crate::amqp::wire::QueueFlags;
use crate::amqp::{Acks, ChannelId, Fleet, Pace, PublishTemplate, PublisherPlan};
use crate::engine::{Expect, LoadError, StreamId};
use crate::peers::{Need, Promise, Protocol, Server};

/// A durable queue that is filled with confirmed persistent messages, and is then drained.
///
/// If the server promises to survive a kill, this is done twice: the first time the full server is killed twice (the
/// second time its checkpoint is taken away), then stopped. Everything must still arrive once and in order, and
/// in the end, after one more kill, nothing that was acknowledged may come back.
#[derive(Debug, Clone, Copy)]
pub struct AmqpBacklog {
    /// Messages stored.
    pub messages: usize,
    /// Payload, in bytes.
    pub size: usize,
}

const QUEUE: &str = "bench.backlog";
const DURABLE: QueueFlags = QueueFlags { durable: true, passive: false };
const PUBLISHERS: u64 = 8;
const WINDOW: u32 = 250;
/// As consumers do that were not written for benchmarks.
const PREFETCH: u16 = 300;
const MIB: f64 = 1048576.0;
/// Acknowledgements are on disk after this.
const CALM: Duration = Duration::from_millis(250);

impl Scenario for AmqpBacklog {
    fn name(&self) -> String {
        format!("amqp-{}", backlog_name(self.messages, self.size))
    }

    fn describe(&self) -> String {
        format!(
            "{} persistent messages, {} B, published to a durable queue by {PUBLISHERS} publishers ({WINDOW} \
             unconfirmed each); then one consumer (prefetch {PREFETCH}, each message acknowledged) \
             drains it, which is the rate given; before that the same with restarts between, for a server that \
             promises to survive a kill",
            self.messages, self.size
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn need(&self) -> Need {
        Need::Restart
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
        let mut fleet = Fleet::new(server.addr(), context.interrupt.clone())?;
        let survives = server.promise() == Promise::SurviveKill;
        let mut survived = Figures::new();
        if survives {
            survived = self.survive(messages, server, &mut fleet)?;
        }
        let (mut figures, first) = self.fill(messages, server, &mut fleet)?;
        let full = server.usage();
        let mut sample = drain(messages, first, server, &mut fleet)?;
        sample.set_memory(before, full);
        figures.extend(
            server.usage().map(|usage| ("rss_peak_of_drain_mib".to_owned(), usage.peak as f64 / MIB)),
        );
        figures.append(&mut tidy(server, |time| fleet.run_for(time))?);
        figures.append(&mut survived);
        let mut came_back = 0;
        if survives {
            came_back = left_after_kill(server, &mut fleet)?;
            figures.insert("came_back_after_kill".to_owned(), came_back as f64);
        }
        sample.extra.append(&mut figures);
        let mut faults = fleet.load().tally();
        faults.duplicated += came_back;
        sample.set_faults(faults);
        Ok(sample)
    }
}

/// Consumes everything, which is measured, and leaves.
fn drain(messages: u64, first: StreamId, server: &Server, fleet: &mut Fleet) -> Result<Sample, RunError> {
    let channel = fleet.connect_with_channel()?;
    let window = Window::begin(server, 0);
    let everything = Expect::Range { first, count: PUBLISHERS as usize };
    let consumer = fleet.consume(channel, QUEUE, Acks::Each { prefetch: PREFETCH }, &everything);
    // What does not come is counted as lost in the end.
    fleet.wait_or_give_up(|load| load.received(consumer).0 >= messages)?;
    fleet.acknowledge_all();
    let drained_after = window.elapsed();
    fleet.run_for(SETTLE)?;
    let mut sample = window.settle(server, fleet.load().received(consumer).0, drained_after);
    sample.set_extra("left_when_drained", fleet.count_messages(channel, QUEUE)? as f64);
    fleet.forget_connection_of(channel);
    Ok(sample)
}

/// How many messages are there after a kill, although they were acknowledged well before.
fn left_after_kill(server: &mut Server, fleet: &mut Fleet) -> Result<u64, RunError> {
    fleet.run_for(CALM)?;
    server.kill();
    let mut visitor = QueueVisitor { fleet, least: u64::MAX };
    ready_again(server, &mut visitor)?;
    Ok(visitor.least)
}

/// Looks how many messages are there again.
struct QueueVisitor<'a> {
    fleet: &'a mut Fleet,
    /// The fewest that it has seen.
    least: u64,
}

impl Visitor for QueueVisitor<'_> {
    fn redirect(&mut self, addr: SocketAddr) {
        self.fleet.redirect(addr);
    }

    fn visit(&mut self) -> Result<(), LoadError> {
        let channel = self.fleet.connect_with_channel()?;
        self.least = self.least.min(self.fleet.count_messages(channel, QUEUE)?);
        self.fleet.forget_connection_of(channel);
        Ok(())
    }
}

impl AmqpBacklog {
    /// Fills the queue, ends the server in every way that it promises to survive, and drains it.
    fn survive(&self, messages: u64, server: &mut Server, fleet: &mut Fleet) -> Result<Figures, RunError> {
        let (_, first) = self.fill(messages, server, fleet)?;
        let mut visitor = QueueVisitor { fleet, least: messages };
        let mut figures = restarts(server, &mut visitor)?;
        figures.insert("messages_after_restarts".to_owned(), visitor.least as f64);
        figures
            .extend(server.usage().map(|usage| ("rss_after_restart_mib".to_owned(), usage.rss as f64 / MIB)));
        let drained = drain(messages, first, server, fleet)?;
        figures
            .insert("drain_after_restart_per_cpu_second".to_owned(), drained.per_cpu_second.unwrap_or(0.0));
        Ok(figures)
    }

    /// Leaves a queue with its backlog behind and nobody connected; also tells the first of its streams.
    fn fill(
        &self,
        messages: u64,
        server: &Server,
        fleet: &mut Fleet,
    ) -> Result<(Figures, StreamId), RunError> {
        let control = fleet.connect_with_channel()?;
        fleet.declare_queue(control, QUEUE, DURABLE);
        fleet.await_answers("declaring")?;
        let (publishers, first) = self.add_publishers(messages, fleet)?;

        let fill = Window::begin(server, 0);
        fleet.start();
        fleet.wait("filling the backlog", |load| load.is_stored())?;
        let filled_after = fill.elapsed();
        fleet.run_for(SETTLE)?;
        let fill = fill.settle(server, messages, filled_after);

        let mut figures = Figures::new();
        let mut note = |name: &str, value: f64| figures.insert(name.to_owned(), value);
        note("messages", messages as f64);
        note("fill_rate", fill.rate);
        note("fill_per_cpu_second", fill.per_cpu_second.unwrap_or(0.0));
        note("fill_confirm_p50_us", fleet.load().confirm_latency().quantile(0.5) as f64 / 1000.0);
        note("fill_confirm_p99_us", fleet.load().confirm_latency().quantile(0.99) as f64 / 1000.0);
        if let Some(usage) = server.usage() {
            note("rss_full_mib", usage.rss as f64 / MIB);
            note("rss_peak_of_fill_mib", usage.peak as f64 / MIB);
        }
        if let Some(data) = server.data() {
            note("disk_full_mib", bytes_on_disk(data) as f64 / MIB);
        }
        if let Some(written) = fill.written {
            note("write_amplification", written as f64 / (messages as f64 * self.size as f64));
        }
        for channel in publishers.into_iter().chain([control]) {
            fleet.forget_connection_of(channel);
        }
        Ok((figures, first))
    }

    fn add_publishers(
        &self,
        messages: u64,
        fleet: &mut Fleet,
    ) -> Result<(Vec<ChannelId>, StreamId), LoadError> {
        let clients = fleet.connect_all(PUBLISHERS as usize, PUBLISHERS as usize)?;
        let channels: Vec<ChannelId> = clients.into_iter().map(|client| fleet.open_channel(client)).collect();
        let first = fleet.next_stream();
        for channel in &channels {
            let template = PublishTemplate::new(channel.number(), "", QUEUE, true, self.size);
            let stream = fleet.stream();
            fleet.add_publisher(PublisherPlan {
                channel: *channel,
                messages: vec![(stream, template)],
                pace: Pace::Window { undelivered: u32::MAX, unconfirmed: WINDOW },
                confirms: true,
                limit: Some(messages / PUBLISHERS),
                copies: 0,
            });
        }
        fleet.await_answers("opening channels")?;
        Ok((channels, first))
    }
}
