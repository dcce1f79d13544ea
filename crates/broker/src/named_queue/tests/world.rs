//! A virtual host with queues and consumers, without exchanges and without a face.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tercet_amqp::content::BasicProperties;
use tercet_amqp::field::Table;

use super::journal::MemoryJournal;
use crate::clock::Now;
use crate::consumer::{ConsumerOutbox, QueueDelivery};
use crate::effects::Effects;
use crate::event::{Event, EventSink};
use crate::journal::Journal;
use crate::limits::Limits;
use crate::message::{Properties, PropertyEncoding};
use crate::metrics::Metrics;
use crate::named_queue::{
    Consume, Consumption, Enqueued, GetOutcome, Got, Incoming, NamedQueue, Outcome, QueueDescription,
    QueueId, QueueKind, QueueSettings, Settlement,
};
use crate::outbox::Pushed;
use crate::permission::Permissions;
use crate::refusal::Refusal;
use crate::session::Context;
use crate::vhost::Vhost;

struct Silent;

impl EventSink for Silent {
    fn event(&self, _: Event) {}
}

/// What a consumer was sent.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub tag: Arc<str>,
    pub sequence: u64,
    pub body: String,
    pub redelivered: bool,
    pub count: Option<u32>,
    /// Its offset in a stream.
    pub offset: Option<u64>,
    /// Whether it came from an owned message.
    pub owned: bool,
    consumption: Arc<Consumption>,
}

/// The connection of consumers.
#[derive(Default)]
pub(crate) struct Line {
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    got: Vec<Delivered>,
    /// What does not fit is refused.
    room: usize,
    cancelled: Vec<Arc<str>>,
    again: u32,
}

impl Line {
    /// Everything since the last call.
    pub(super) fn take(&self) -> Vec<Delivered> {
        std::mem::take(&mut self.state.lock().got)
    }

    /// The bodies of everything since the last call.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.take().into_iter().map(|delivered| delivered.body).collect()
    }

    pub(super) fn set_room(&self, room: usize) {
        self.state.lock().room = room;
    }

    pub(super) fn cancelled(&self) -> Vec<Arc<str>> {
        self.state.lock().cancelled.clone()
    }

    pub(super) fn again(&self) -> u32 {
        std::mem::take(&mut self.state.lock().again)
    }
}

impl ConsumerOutbox for Line {
    fn deliver(&self, delivery: &QueueDelivery<'_>, _: &mut Effects) -> Pushed {
        let mut state = self.state.lock();
        if state.room == 0 {
            return Pushed::Full;
        }
        state.room -= 1;
        state.got.push(Delivered {
            tag: Arc::clone(&delivery.consumption.tag),
            sequence: delivery.sequence,
            body: String::from_utf8(delivery.payload.to_vec()).unwrap(),
            redelivered: delivery.redelivered,
            count: delivery.delivery_count,
            offset: delivery.stream_offset,
            owned: delivery.message.is_some(),
            consumption: Arc::clone(delivery.consumption),
        });
        Pushed::Accepted
    }

    fn cancelled(&self, consumption: &Consumption, _: &mut Effects) {
        self.state.lock().cancelled.push(Arc::clone(&consumption.tag));
    }

    fn get_again(&self, _: &Arc<NamedQueue>, _: &mut Effects) {
        self.state.lock().again += 1;
    }
}

/// The settings of a test.
pub(super) fn settings(change: impl FnOnce(&mut QueueSettings)) -> QueueSettings {
    let mut settings = QueueSettings::default();
    change(&mut settings);
    settings
}

pub(super) struct World {
    pub vhost: Vhost,
    pub journal: Arc<MemoryJournal>,
    pub now: Now,
    pub effects: Effects,
    next_id: u64,
    line: Arc<Line>,
}

impl Default for World {
    fn default() -> Self {
        Self::with(Limits::default())
    }
}

impl World {
    pub(super) fn with(limits: Limits) -> Self {
        let journal = Arc::new(MemoryJournal::default());
        let recorder = Some(Arc::clone(&journal) as Arc<dyn Journal>);
        let vhost = Vhost::new(
            limits,
            Permissions::allow_all(),
            recorder,
            Arc::new(Silent),
            Arc::new(Metrics::default()),
        );
        Self {
            vhost,
            journal,
            now: Now::read(),
            effects: Effects::default(),
            next_id: 1,
            line: Arc::new(Line::default()),
        }
    }

    pub(super) fn transient(&mut self, settings: QueueSettings) -> Arc<NamedQueue> {
        self.queue(QueueKind::Classic, false, settings)
    }

    pub(super) fn queue(
        &mut self,
        kind: QueueKind,
        durable: bool,
        settings: QueueSettings,
    ) -> Arc<NamedQueue> {
        let description = QueueDescription {
            name: format!("q{}", self.next_id).into(),
            kind,
            durable,
            exclusive: None,
            auto_delete: false,
            arguments: Bytes::new(),
        };
        let id = QueueId(self.next_id);
        self.next_id += 1;
        let queue = NamedQueue::new(id, description, Arc::new(settings));
        self.with_context(|cx| {
            queue.record_declared(cx);
            queue.declared(cx);
        });
        queue
    }

    pub(super) fn with_context<R>(&mut self, act: impl FnOnce(&mut Context<'_>) -> R) -> R {
        self.vhost.with_context(self.now, &mut self.effects, act)
    }

    pub(super) fn line(&self) -> Arc<Line> {
        let line = Line::default();
        line.set_room(usize::MAX);
        Arc::new(line)
    }

    pub(super) fn publish(&mut self, queue: &Arc<NamedQueue>, body: &str) -> Enqueued {
        self.publish_with(queue, body, BasicProperties::default())
    }

    pub(super) fn persist(&mut self, queue: &Arc<NamedQueue>, body: &str) -> Enqueued {
        let properties = BasicProperties { delivery_mode: Some(2), ..BasicProperties::default() };
        self.publish_with(queue, body, properties)
    }

    pub(super) fn publish_with(
        &mut self,
        queue: &Arc<NamedQueue>,
        body: &str,
        properties: BasicProperties<'_>,
    ) -> Enqueued {
        let (mut list, mut bytes) = (Vec::new(), Vec::new());
        properties.encode(&mut list).unwrap().write(&mut bytes);
        let (exchange, key): (Arc<str>, Arc<str>) = ("x".into(), "key".into());
        let properties = Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes };
        let mut incoming = Incoming::published(&exchange, &key, properties, body.as_bytes());
        let enqueued = self.with_context(|cx| queue.enqueue(&mut incoming, cx));
        self.settle_down();
        enqueued
    }

    /// Publishes with an expiration of so many milliseconds.
    pub(super) fn publish_for(&mut self, queue: &Arc<NamedQueue>, body: &str, ms: &str) -> Enqueued {
        let properties = BasicProperties { expiration: Some(ms), ..BasicProperties::default() };
        self.publish_with(queue, body, properties)
    }

    /// Does what a reactor does at the end of a turn, and the reader thread.
    pub(super) fn settle_down(&mut self) {
        loop {
            self.vhost.after_durable(self.now, &mut self.effects);
            self.vhost.work_off(self.now, &mut self.effects);
            if !self.vhost.read_back(&*self.journal, self.now, &mut self.effects) {
                return;
            }
        }
    }

    /// Everything is durable, and whoever waited for that is visited.
    pub(super) fn sync(&mut self) {
        self.journal.sync();
        self.settle_down();
    }

    /// A consumer with manual acknowledgement.
    pub(super) fn consumer(
        &mut self,
        queue: &Arc<NamedQueue>,
        line: &Arc<Line>,
        tag: &str,
        prefetch: u16,
    ) -> Arc<Consumption> {
        self.try_consume(queue, line, tag, |request| request.prefetch = prefetch).unwrap()
    }

    pub(super) fn try_consume(
        &mut self,
        queue: &Arc<NamedQueue>,
        line: &Arc<Line>,
        tag: &str,
        change: impl FnOnce(&mut Consume<'_>),
    ) -> Result<Arc<Consumption>, Refusal> {
        let mut request = Consume {
            queue: "",
            tag: tag.into(),
            channel: 1,
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            arguments: Table::default(),
            outbox: Arc::clone(line) as Arc<dyn ConsumerOutbox>,
        };
        change(&mut request);
        let consumption = self.with_context(|cx| queue.add_consumer(&request, "/", cx))?;
        self.vhost.start_consuming(&consumption, self.now, &mut self.effects);
        self.settle_down();
        Ok(consumption)
    }

    pub(super) fn cancel(&mut self, consumption: &Arc<Consumption>) {
        self.vhost.cancel(consumption, self.now, &mut self.effects);
        self.settle_down();
    }

    pub(super) fn settle(&mut self, outcome: Outcome, deliveries: &[Delivered]) {
        let settlements: Vec<_> = deliveries
            .iter()
            .map(|delivered| Settlement {
                queue: Arc::clone(&delivered.consumption.queue),
                sequence: delivered.sequence,
                consumption: Some(Arc::clone(&delivered.consumption)),
                outcome,
            })
            .collect();
        self.vhost.settle(&settlements, self.now, &mut self.effects);
        self.settle_down();
    }

    pub(super) fn try_get(&mut self, queue: &Arc<NamedQueue>, line: &Arc<Line>, no_ack: bool) -> GetOutcome {
        let waiter = Arc::clone(line) as Arc<dyn ConsumerOutbox>;
        let outcome = self.with_context(|cx| queue.get(no_ack, &waiter, cx));
        self.settle_down();
        outcome
    }

    /// Fetches a message and keeps it unacknowledged.
    pub(super) fn get(&mut self, queue: &Arc<NamedQueue>) -> Option<Got> {
        let line = Arc::clone(&self.line);
        match self.try_get(queue, &line, false) {
            GetOutcome::Got(got) => Some(got),
            GetOutcome::Empty => None,
            GetOutcome::Wait => {
                assert!(line.again() > 0, "it was read back meanwhile");
                self.get(queue)
            }
        }
    }

    pub(super) fn settle_got(&mut self, got: &Got, outcome: Outcome) {
        let (queue, sequence) = (Arc::clone(&got.queue), got.sequence);
        let settlement = Settlement { queue, sequence, consumption: None, outcome };
        self.vhost.settle(&[settlement], self.now, &mut self.effects);
        self.settle_down();
    }

    /// Takes everything that is ready.
    pub(super) fn drain(&mut self, queue: &Arc<NamedQueue>) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(got) = self.get(queue) {
            bodies.push(String::from_utf8(got.message.payload.to_vec()).unwrap());
            self.settle_got(&got, Outcome::Ack);
        }
        bodies
    }

    /// Lets time pass, and what is due happen as the scheduler does it.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.after(Duration::from_millis(ms));
        while let Some(due_ms) = self.vhost.schedule().next_due().filter(|due| *due <= end.utc_ms) {
            self.now = self.now.after(Duration::from_millis(due_ms.saturating_sub(self.now.utc_ms)));
            self.vhost.run_due(self.now, &mut self.effects);
            self.settle_down();
        }
        self.now = self.now.after(Duration::from_millis(end.utc_ms - self.now.utc_ms));
    }
}
