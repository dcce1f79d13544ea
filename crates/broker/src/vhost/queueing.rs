//! Consuming from queues, settling deliveries, and what becomes due in queues.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::actor::{Actor, Right};
use crate::body::Body;
use crate::clock::Now;
use crate::consumer::ConsumerOutbox;
use crate::effects::Effects;
use crate::journal::Position;
use crate::message::Message;
use crate::named_queue::{
    Consume, Consumption, DeadLetter, GetOutcome, Incoming, NamedQueue, Peeked, Peeking, QueueKind,
    Settlement, Taken,
};
use crate::read_back::Bodies;
use crate::record::SettleReason;
use crate::refusal::{Refusal, ReplyCode};
use crate::schedule::{Due, Schedule};
use crate::vhost::Vhost;
use crate::vhost::topology::check_not_waiting_room;

/// Messages moved between two looks at the queue.
const MOVED_AT_ONCE: usize = 256;

impl Vhost {
    /// Begins to consume from a queue. Nothing is delivered before [`Vhost::start_consuming`].
    ///
    /// # Errors
    /// 403: no right to read, or somebody wants to be alone; 404; 405: the queue belongs to another connection.
    pub fn consume(
        &self,
        actor: &Actor,
        request: &Consume<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Arc<Consumption>, Refusal> {
        actor.check(Right::Read, "queue", request.queue)?;
        let queue = self.find_usable_queue(actor, request.queue)?;
        check_not_waiting_room(&queue, &actor.vhost)?;
        let consumption =
            self.with_context(now, effects, |cx| queue.add_consumer(request, &actor.vhost, cx))?;
        consumption.is_for(actor);
        Ok(consumption)
    }

    /// Ends the consumers whose right to read their queue is gone, tells their clients, and says how many there were. To
    /// be called after rights have changed.
    pub fn end_unpermitted_consumers(&self, now: Now, effects: &mut Effects) -> usize {
        let mut ended = 0;
        for info in self.queues() {
            for consumer in info.queue.consumers() {
                let consumption = consumer.consumption;
                if !consumption.may_read() {
                    self.cancel(&consumption, now, effects);
                    consumption.outbox.cancelled(&consumption, effects);
                    ended += 1;
                }
            }
        }
        ended
    }

    /// Delivers what is ready. To be called once the client has been told that it consumes.
    pub fn start_consuming(&self, consumption: &Arc<Consumption>, now: Now, effects: &mut Effects) {
        self.with_context(now, effects, |cx| consumption.queue.start(consumption, cx));
        self.finish_work(now, effects);
    }

    /// Ends a consumer. What it has and did not acknowledge stays with its channel. A queue that was declared so goes with
    /// its last consumer.
    pub fn cancel(&self, consumption: &Arc<Consumption>, now: Now, effects: &mut Effects) {
        let queue = &consumption.queue;
        let deserted = self.with_context(now, effects, |cx| queue.remove_consumer(consumption, cx));
        if deserted && queue.description().auto_delete {
            self.queue_unused(queue, now, effects);
        }
        self.finish_work(now, effects);
    }

    /// Consumers whose outbox had no room, or whose channel had no credit, can take something again.
    pub fn resume_consumers(&self, consumptions: &[Arc<Consumption>], now: Now, effects: &mut Effects) {
        self.with_context(now, effects, |cx| {
            for theirs in consumptions.chunk_by(|a, b| Arc::ptr_eq(&a.queue, &b.queue)) {
                if let Some(first) = theirs.first() {
                    first.queue.resume(theirs.iter(), cx);
                }
            }
        });
        self.finish_work(now, effects);
    }

    /// Fetches one message (basic.get). `waiter` is told when it is worth asking again after [`GetOutcome::Wait`].
    ///
    /// # Errors
    /// 403, 404; 405: the queue belongs to another connection, or to a single active consumer; 540: it is a stream.
    pub fn get(
        &self,
        actor: &Actor,
        queue: &str,
        no_ack: bool,
        waiter: &Arc<dyn ConsumerOutbox>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<GetOutcome, Refusal> {
        actor.check(Right::Read, "queue", queue)?;
        let queue = self.find_usable_queue(actor, queue)?;
        check_not_waiting_room(&queue, &actor.vhost)?;
        let resource = || format!("queue '{}' in vhost '{}'", queue.name(), actor.vhost);
        match queue.kind() {
            QueueKind::Stream => {
                let text = format!("basic.get not supported by stream queues {}", resource());
                return Err(Refusal::new(ReplyCode::NotImplemented, text));
            }
            QueueKind::Quorum if queue.settings().single_active => {
                let text = format!(
                    "cannot obtain access to locked {}. basic.get operations are not supported by quorum queues with \
                     single active consumer",
                    resource()
                );
                return Err(Refusal::resource_locked(text));
            }
            _ => {}
        }
        let outcome = self.with_context(now, effects, |cx| queue.get(no_ack, waiter, cx));
        self.finish_work(now, effects);
        Ok(outcome)
    }

    /// Settles deliveries in their order, those of one queue under one lock, and delivers what that makes room for.
    /// Returns what has to be waited for if the settling is to be durable.
    pub fn settle(&self, settlements: &[Settlement], now: Now, effects: &mut Effects) -> Position {
        let Some(first) = settlements.first() else { return Position::NONE };
        let same = |a: &Settlement, b: &Settlement| Arc::ptr_eq(&a.queue, &b.queue);
        let position = self.with_context(now, effects, |cx| {
            if settlements.iter().all(|settlement| same(settlement, first)) {
                return first.queue.settle(settlements.iter(), cx);
            }
            let mut sorted: SmallVec<[&Settlement; 64]> = settlements.iter().collect();
            // Stable: those of one queue keep their order.
            sorted.sort_by_key(|settlement| settlement.queue.id());
            let runs = sorted.chunk_by(|a, b| same(a, b));
            let positions = runs.filter_map(|run| Some(run.first()?.queue.settle(run.iter().copied(), cx)));
            positions.max().unwrap_or_default()
        });
        self.finish_work(now, effects);
        position
    }

    /// Stops the deliveries of a queue, or resumes them.
    ///
    /// # Errors
    /// 403: no right to configure it; 404; 405.
    pub fn pause_queue(
        &self,
        actor: &Actor,
        queue: &str,
        paused: bool,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        actor.check(Right::Configure, "queue", queue)?;
        let queue = self.find_usable_queue(actor, queue)?;
        let position = self.with_context(now, effects, |cx| queue.pause(paused, cx));
        self.finish_work(now, effects);
        Ok(position)
    }

    /// Looks into a queue without changing anything. Reads the log: not for a thread that serves clients.
    ///
    /// # Errors
    /// 403: no right to read; 404; 405.
    pub fn peek(
        &self,
        actor: &Actor,
        queue: &str,
        peeking: Peeking,
        bodies: &dyn Bodies,
    ) -> Result<Vec<Peeked>, Refusal> {
        actor.check(Right::Read, "queue", queue)?;
        let queue = self.find_usable_queue(actor, queue)?;
        let mut slice = queue.slice(peeking);
        let stored: Vec<_> =
            slice.iter().filter_map(|(_, cold)| cold.as_ref().and_then(Body::stored)).collect();
        let mut read = if stored.is_empty() { Vec::new() } else { bodies.read(&stored) }.into_iter();
        for (peeked, _) in slice.iter_mut().filter(|(_, cold)| cold.is_some()) {
            peeked.message = read.next().and_then(Result::ok);
        }
        Ok(slice.into_iter().map(|(peeked, _)| peeked).collect())
    }

    /// Moves up to `most` ready messages from the head of one queue to the end of another, each as one change. Stops at what
    /// the other does not take. Reads the log: not for a thread that serves clients. Returns how many were moved.
    ///
    /// # Errors
    /// 403: no right to read the one or to write to the other; 404; 405; 406: both are the same, or a stream.
    #[expect(clippy::too_many_arguments)]
    pub fn move_messages(
        &self,
        actor: &Actor,
        from: &str,
        to: &str,
        most: u64,
        bodies: &dyn Bodies,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(u64, Position), Refusal> {
        actor.check(Right::Read, "queue", from)?;
        actor.check(Right::Write, "queue", to)?;
        let (source, target) = (self.find_usable_queue(actor, from)?, self.find_usable_queue(actor, to)?);
        let stream = [&source, &target].iter().any(|queue| queue.kind() == QueueKind::Stream);
        if Arc::ptr_eq(&source, &target) || stream {
            let text = format!("cannot move messages from queue '{from}' to queue '{to}'");
            return Err(Refusal::precondition_failed(text));
        }
        // What comes meanwhile is for the next time.
        let most = most.min(source.stats().ready);
        let (mut moved, mut position) = (0, Position::NONE);
        while moved < most {
            let wanted = usize::try_from(most - moved).unwrap_or(usize::MAX).min(MOVED_AT_ONCE);
            let taken = source.take_for_moving(wanted, now);
            let some = taken.len();
            let done = self.move_taken(&source, &target, taken, bodies, now, effects);
            self.finish_work(now, effects);
            moved += done.0;
            position = position.max(done.1);
            if some == 0 || done.0 < some as u64 {
                break;
            }
        }
        self.with_context(now, effects, |cx| source.resume(std::iter::empty(), cx));
        self.finish_work(now, effects);
        Ok((moved, position))
    }

    fn move_taken(
        &self,
        source: &Arc<NamedQueue>,
        target: &Arc<NamedQueue>,
        taken: Vec<Taken>,
        bodies: &dyn Bodies,
        now: Now,
        effects: &mut Effects,
    ) -> (u64, Position) {
        let stored: Vec<_> = taken
            .iter()
            .filter_map(|taken| if let Body::Log(stored) = &taken.body { Some(*stored) } else { None })
            .collect();
        let mut read = if stored.is_empty() { Vec::new() } else { bodies.read(&stored) }.into_iter();
        let (mut moved, mut position, mut stopped) = (0, Position::NONE, false);
        for Taken { sequence, body, redelivered } in taken {
            let message = match body {
                Body::Memory(message) => Some(message),
                Body::Log(_) => read.next().and_then(Result::ok),
            };
            let Some(message) = message.filter(|_| !stopped) else {
                source.stay(sequence, redelivered);
                stopped = true;
                continue;
            };
            // Its own record: two queues hold it for a moment, and it may not be said to be shared.
            let copy = Arc::new(Message { shared: false, ..message.copied() });
            let enqueued = self.together(|| {
                self.with_context(now, effects, |cx| {
                    let enqueued = target.enqueue(&mut Incoming::owned(&copy, now), cx);
                    if !enqueued.refused {
                        source.left(sequence, SettleReason::Moved, cx);
                    }
                    enqueued
                })
            });
            if enqueued.refused {
                source.stay(sequence, redelivered);
                stopped = true;
                continue;
            }
            moved += 1;
            position = position.max(enqueued.position);
        }
        (moved, position)
    }

    /// What is due in this virtual host.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Does what is due in queues: messages expire, or may be tried again; queues that nobody uses go. Returns when it is
    /// worth calling again, UTC milliseconds. For the thread that waits with [`crate::schedule::Alarm::wait`].
    pub fn run_due(&self, now: Now, effects: &mut Effects) -> Option<u64> {
        while let Some((at_ms, due)) = self.schedule.pop_due(now.utc_ms) {
            match due {
                Due::Queue(queue) => {
                    let Some(queue) = queue.upgrade() else { continue };
                    let visited = self.with_context(now, effects, |cx| queue.time_passed(at_ms, cx));
                    self.finish_work(now, effects);
                    if visited.deserted && queue.description().auto_delete {
                        self.queue_unused(&queue, now, effects);
                    }
                    if visited.unused {
                        self.queue_expired(&queue, now, effects);
                    }
                }
            }
        }
        self.schedule.next_due()
    }

    /// Waits until something is due, no longer than `most`.
    pub fn wait_for_due(&self, now: Now, most: std::time::Duration) {
        self.schedule.alarm().wait(self.schedule.next_due(), now.utc_ms, most);
    }

    /// Publishes a dead letter and ends the entry it comes from, both as one change.
    pub(crate) fn bury(&self, dead: &DeadLetter, now: Now, effects: &mut Effects) {
        let letter = dead.write(now.utc_ms, self.topic_mapping());
        self.together_if(dead.queue.is_recorded(), || {
            if let Some(letter) = &letter {
                let mut accept = |queue: &Arc<NamedQueue>| {
                    let circle = letter.excluded.iter().any(|name| **name == **queue.name());
                    if circle {
                        tracing::debug!(queue = %queue.name(), "a dead letter would go in circles and is dropped there");
                    }
                    !circle
                };
                self.route_dead_letter(&letter.message, &mut accept, now, effects);
            }
            if let Some(sequence) = dead.sequence() {
                let reason = SettleReason::DeadLettered;
                self.with_context(now, effects, |cx| dead.queue.left(sequence, reason, cx));
            }
        });
    }

    /// Does what had to wait until no queue was locked.
    fn finish_work(&self, now: Now, effects: &mut Effects) {
        if effects.has_work() {
            self.work_off(now, effects);
        }
    }
}
