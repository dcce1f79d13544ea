//! The output of one connection: what the core delivers and the face answers, in one order, and the ledger of deliveries
//! that are not settled.
//!
//! Everything that an open connection writes goes through here, under one lock: an answer never overtakes a delivery that was
//! made before it, and no delivery of a consumer comes behind its basic.cancel-ok or the channel.close-ok of its channel.
//! Invariant: a tag is given out under the same lock under which the delivery is encoded, so tags of a channel rise on the
//! wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tercet_amqp::delivery::Unacked;
use tercet_amqp::method::basic;
use tercet_amqp::{Error, MethodId};
use tercet_broker::consumer::{ConsumerOutbox, QueueDelivery};
use tercet_broker::crossing::address::TopicMapping;
use tercet_broker::effects::Effects;
use tercet_broker::message::Message;
use tercet_broker::message::SHARE_ABOVE;
use tercet_broker::named_queue::{Consumption, NamedQueue};
use tercet_broker::outbox::{ConnectionRef, Drained, Pushed};

use crate::amqp::content::{self, Content};
use crate::amqp::foreign::{Foreign, TOPIC_SPACE};

/// Output above which consumers have to wait, in bytes; a delivery that is larger by itself still goes out alone.
const ROOM: usize = 1024 * 1024;

/// Buffers for large messages are of this size, in bytes; the pool takes them back.
const CHUNK: usize = 256 * 1024;

/// The output of a connection. See the module documentation.
pub(super) struct AmqpOutbox {
    connection: ConnectionRef,
    /// Largest frame that the client takes; 0 for no limit.
    frame_max: u32,
    /// Whether the client wants to hear of consumers that end.
    tells_cancel: bool,
    /// The core has ended a consumer of which the connection does not know yet.
    has_ended: AtomicBool,
    /// How topics of MQTT become routing keys.
    mapping: TopicMapping,
    output: Mutex<Output>,
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// Large payloads, each with the offset in `bytes` where it belongs.
    shared: Vec<(usize, Bytes)>,
    shared_len: usize,
    /// How many of these are full buffers and what belongs into them; the rest belongs into `bytes`.
    sealed: usize,
    unwritten: usize,
    /// The connection is to be written already.
    scheduled: bool,
    /// A consumer was told to wait for room.
    starved: bool,
    channels: HashMap<u16, Ledger>,
    /// Consumers that the core has ended.
    ended: Vec<(u16, Arc<str>)>,
    /// A basic.get that had to wait is worth another try.
    get_again: bool,
}

/// The deliveries of one channel.
#[derive(Default)]
struct Ledger {
    unacked: Unacked<Held>,
    /// Deliveries to consumers that may be unsettled at a time; 0 for any number.
    window: u16,
    /// How many of them there are.
    in_window: usize,
    /// A consumer was told to wait for one to be settled.
    starved: bool,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(super) enum Held {
    /// By a consumer.
    Consumed(Arc<Consumption>, u64),
    /// By basic.get.
    Got(Arc<NamedQueue>, u64),
}

impl Held {
    /// Whether a consumer got it.
    pub(super) fn is_consumed(&self) -> bool {
        matches!(self, Self::Consumed(..))
    }
}

impl Ledger {
    fn is_full(&self) -> bool {
        self.window > 0 && self.in_window >= usize::from(self.window)
    }
}

impl Output {
    fn waiting(&self) -> usize {
        self.bytes.len() + self.shared_len + self.unwritten
    }

    fn prepare(&mut self, effects: &mut Effects) {
        if self.bytes.capacity() == 0 {
            self.bytes = effects.buffers.take();
        }
    }

    fn schedule(&mut self, connection: ConnectionRef, effects: &mut Effects) {
        if !self.scheduled {
            self.scheduled = true;
            effects.wakes.push(connection);
        }
    }

    fn put(&mut self, channel: u16, content: &Content<'_>, frame_max: u32, effects: &mut Effects) {
        let room = content.room();
        if room > SHARE_ABOVE && self.bytes.capacity() - self.bytes.len() < room {
            // Large messages are not copied again and again into a buffer that grows.
            if self.bytes.len() >= room {
                self.seal();
                self.bytes = effects.buffers.take();
            }
            self.bytes.reserve_exact(room.max(CHUNK.saturating_sub(self.bytes.len())));
        }
        let Self { bytes, shared, shared_len, .. } = self;
        *shared_len += content::write(channel, content, frame_max, bytes, shared);
    }
}

impl Output {
    /// Puts the buffer, and what belongs into it, before a new one.
    fn seal(&mut self) {
        let full = Bytes::from(std::mem::take(&mut self.bytes));
        let within = self.shared.split_off(self.sealed.min(self.shared.len()));
        let mut taken = 0;
        for (offset, payload) in within {
            self.shared.push((0, full.slice(taken..offset)));
            self.shared.push((0, payload));
            taken = offset;
        }
        self.shared.push((0, full.slice(taken..)));
        self.shared_len += full.len();
        self.sealed = self.shared.len();
    }
}

impl AmqpOutbox {
    /// The outbox of a connection that is being opened.
    pub(super) fn new(
        connection: ConnectionRef,
        frame_max: u32,
        tells_cancel: bool,
        mapping: TopicMapping,
    ) -> Self {
        Self {
            connection,
            frame_max,
            tells_cancel,
            mapping,
            has_ended: AtomicBool::new(false),
            output: Mutex::default(),
        }
    }

    /// What AMQP shows of a message that came by another protocol; `None` for all others.
    pub(super) fn foreign(&self, message: &Message, effects: &mut Effects) -> Option<Foreign> {
        match message.exchange {
            Some(_) => None,
            None => Some(Foreign::translate(message, self.mapping, self.frame_max, effects)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.output.lock()
    }

    /// Appends what `write` writes.
    pub(super) fn write(&self, effects: &mut Effects, write: impl FnOnce(&mut Vec<u8>)) {
        let mut output = self.lock();
        output.prepare(effects);
        write(&mut output.bytes);
        output.schedule(self.connection, effects);
    }

    /// Appends a message that is no delivery of a queue.
    pub(super) fn write_content(&self, channel: u16, content: &Content<'_>, effects: &mut Effects) {
        let mut output = self.lock();
        output.prepare(effects);
        output.put(channel, content, self.frame_max, effects);
        output.schedule(self.connection, effects);
    }

    /// Begins the ledger of a channel.
    pub(super) fn open_channel(&self, channel: u16) {
        self.lock().channels.insert(channel, Ledger::default());
    }

    /// Ends the ledger of a channel; nothing is delivered on it any more. Returns what is not settled, in order.
    pub(super) fn close_channel(&self, channel: u16) -> Vec<Held> {
        let ledger = self.lock().channels.remove(&channel);
        ledger.map(|mut ledger| ledger.unacked.take_all().map(|(_, held)| held).collect()).unwrap_or_default()
    }

    /// Sets how many deliveries to consumers of a channel may be unsettled at a time, 0 for any number. Returns whether
    /// somebody waits who may go on.
    pub(super) fn set_window(&self, channel: u16, window: u16) -> bool {
        let mut output = self.lock();
        let Some(ledger) = output.channels.get_mut(&channel) else { return false };
        ledger.window = window;
        !ledger.is_full() && std::mem::take(&mut ledger.starved)
    }

    /// Settles what an ack, nack or reject speaks of. Returns whether somebody waits who may go on.
    ///
    /// # Errors
    /// When the tag is not outstanding: 406 on the channel.
    pub(super) fn settle(
        &self,
        channel: u16,
        tag: u64,
        multiple: bool,
        method: MethodId,
        mut settled: impl FnMut(Held),
    ) -> Result<bool, Error> {
        let mut output = self.lock();
        let Some(ledger) = output.channels.get_mut(&channel) else { return Ok(false) };
        for (_, held) in ledger.unacked.settle(tag, multiple, channel, method)? {
            ledger.in_window -= usize::from(held.is_consumed());
            settled(held);
        }
        Ok(ledger.starved && !ledger.is_full() && std::mem::take(&mut ledger.starved))
    }

    /// Takes everything of a channel that is not settled, in order, with the tags. Returns whether somebody waits who may
    /// go on.
    pub(super) fn take_unsettled(&self, channel: u16, mut taken: impl FnMut(Held)) -> bool {
        let mut output = self.lock();
        let Some(ledger) = output.channels.get_mut(&channel) else { return false };
        for (_, held) in ledger.unacked.take_all() {
            taken(held);
        }
        ledger.in_window = 0;
        std::mem::take(&mut ledger.starved)
    }

    /// Hands over what basic.get has taken: `content` is made with its tag. Without `held` it needs no acknowledgement.
    pub(super) fn got<'c>(
        &self,
        channel: u16,
        held: Option<Held>,
        content: impl FnOnce(u64) -> Content<'c>,
        effects: &mut Effects,
    ) {
        let mut output = self.lock();
        output.prepare(effects);
        let Some(ledger) = output.channels.get_mut(&channel) else { return };
        let tag = match held {
            Some(held) => ledger.unacked.deliver(held),
            None => ledger.unacked.deliver_acknowledged(),
        };
        output.put(channel, &content(tag), self.frame_max, effects);
        output.schedule(self.connection, effects);
    }

    /// Delivers a message that lies in no queue, to a consumer that does not acknowledge. False if its channel is gone.
    pub(super) fn deliver_direct<'c>(
        &self,
        channel: u16,
        content: impl FnOnce(u64) -> Content<'c>,
        effects: &mut Effects,
    ) -> bool {
        let mut output = self.lock();
        output.prepare(effects);
        let Some(ledger) = output.channels.get_mut(&channel) else { return false };
        let tag = ledger.unacked.deliver_acknowledged();
        output.put(channel, &content(tag), self.frame_max, effects);
        output.schedule(self.connection, effects);
        true
    }

    /// Consumers that the core has ended since this was last asked.
    pub(super) fn take_ended(&self) -> Vec<(u16, Arc<str>)> {
        // Asked for each batch: no lock for nothing.
        match self.has_ended.swap(false, Relaxed) {
            true => std::mem::take(&mut self.lock().ended),
            false => Vec::new(),
        }
    }

    /// Whether a basic.get is worth another try since this was last asked.
    pub(super) fn take_get_again(&self) -> bool {
        std::mem::take(&mut self.lock().get_again)
    }

    /// Settles what an ack, nack or reject in a transaction speaks of, for as long as that is not known.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub(super) fn hold(
        &self,
        channel: u16,
        tag: u64,
        multiple: bool,
        method: MethodId,
    ) -> Result<Vec<(u64, Held)>, Error> {
        let mut output = self.lock();
        let Some(ledger) = output.channels.get_mut(&channel) else { return Ok(Vec::new()) };
        Ok(ledger.unacked.settle(tag, multiple, channel, method)?.collect())
    }

    /// What a transaction held is settled after all.
    pub(super) fn held_is_settled(&self, channel: u16, consumed: usize) {
        if let Some(ledger) = self.lock().channels.get_mut(&channel) {
            ledger.in_window = ledger.in_window.saturating_sub(consumed);
            ledger.starved = false;
        }
    }

    /// Takes back what a transaction held: it is unsettled again.
    pub(super) fn give_back(&self, channel: u16, held: impl Iterator<Item = (u64, Held)>) {
        if let Some(ledger) = self.lock().channels.get_mut(&channel) {
            ledger.unacked.restore(held);
        }
    }

    /// Swaps the output out.
    pub(super) fn drain(&self, out: &mut Drained) {
        let mut output = self.lock();
        output.scheduled = false;
        std::mem::swap(&mut output.bytes, &mut out.bytes);
        std::mem::swap(&mut output.shared, &mut out.shared);
        output.shared_len = 0;
        output.sealed = 0;
        out.resume = std::mem::take(&mut output.starved) | output.get_again;
    }

    /// How many drained bytes the socket has not taken yet.
    pub(super) fn set_unwritten(&self, bytes: usize) {
        self.lock().unwritten = bytes;
    }
}

impl ConsumerOutbox for AmqpOutbox {
    fn deliver(&self, delivery: &QueueDelivery<'_>, effects: &mut Effects) -> Pushed {
        let mut output = self.lock();
        let output = &mut *output;
        if output.waiting() >= ROOM {
            output.starved = true;
            return Pushed::Full;
        }
        let consumption = delivery.consumption;
        let channel = consumption.channel;
        let Some(ledger) = output.channels.get_mut(&channel) else { return Pushed::Full };
        if !consumption.no_ack && ledger.is_full() {
            ledger.starved = true;
            return Pushed::Full;
        }
        let tag = if consumption.no_ack {
            ledger.unacked.deliver_acknowledged()
        } else {
            ledger.in_window += 1;
            ledger.unacked.deliver(Held::Consumed(Arc::clone(consumption), delivery.sequence))
        };
        output.prepare(effects);
        let foreign = match (delivery.exchange, delivery.message) {
            (None, Some(message)) => self.foreign(message, effects),
            _ => None,
        };
        let method = basic::Deliver {
            consumer_tag: &consumption.tag,
            delivery_tag: tag,
            redelivered: delivery.redelivered,
            exchange: delivery.exchange.map_or(TOPIC_SPACE, |exchange| exchange),
            routing_key: foreign.as_ref().map_or(delivery.routing_key, |foreign| &foreign.key),
        };
        let mut content = Content::of_delivery(method, delivery);
        if let Some(foreign) = &foreign {
            content.properties = foreign.properties();
        }
        output.put(channel, &content, self.frame_max, effects);
        output.schedule(self.connection, effects);
        effects.counters.publish_sent += 1;
        effects.counters.publish_bytes_sent += delivery.payload.len() as u64;
        Pushed::Accepted
    }

    fn get_again(&self, _queue: &Arc<NamedQueue>, effects: &mut Effects) {
        let mut output = self.lock();
        output.get_again = true;
        output.schedule(self.connection, effects);
    }

    fn cancelled(&self, consumption: &Consumption, effects: &mut Effects) {
        let mut output = self.lock();
        output.ended.push((consumption.channel, Arc::clone(&consumption.tag)));
        self.has_ended.store(true, Relaxed);
        if self.tells_cancel && output.channels.contains_key(&consumption.channel) {
            output.prepare(effects);
            let cancel = basic::Cancel { consumer_tag: &consumption.tag, no_wait: true };
            content::put(&cancel.into(), consumption.channel, &mut output.bytes);
            output.schedule(self.connection, effects);
        }
    }
}

#[cfg(test)]
mod tests;
