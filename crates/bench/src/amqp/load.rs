//! The state of all clients: what an arriving frame means, and what may be sent next.
//!
//! Invariants: time is read once per read and once per turn; a publisher is looked at only when something that
//! bounded it has changed (or, at a fixed rate, in every turn).

use super::client::{Client, ClientState, Stage};
use super::consumer::Consumer;
use super::fleet::{ClientId, ConsumerId};
use super::publisher::{Pace, Publisher};
use super::wire::{self, Deliver, Fields, Frame, WireError, kind, method};
use crate::engine::{Clock, Handler, Histogram, LinkId, Outboxes, Stamp, Tally, Watched};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) publisher: usize,
    pub(super) sent: u64,
}

/// Everything a run knows; the [`Handler`] of its event loop.
#[derive(Debug)]
pub struct Load {
    run: u32,
    pub(super) clock: Clock,
    pub(super) clients: Vec<Client>,
    /// The client of each link, by its index.
    pub(super) client_of: Vec<ClientId>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) streams: Vec<Stream>,
    /// Publishers whose allowance may have grown.
    woken: Vec<usize>,
    pub(super) rated: Vec<usize>,
    pub(super) unanswered: u64,
    answered: u64,
    deliveries: u64,
    confirmed: u64,
    pub(super) connected: usize,
    pub(super) message_count: u32,
    blocked: u64,
    pub(super) latency: Histogram,
    connect_latency: Histogram,
    pub(super) confirm_latency: Histogram,
    pub(super) lateness: Histogram,
    faults: Tally,
    last_reason: Option<String>,
}

/// A publisher pauses while so many bytes of it wait for the kernel.
const MAX_PENDING: usize = 1024 * 1024;
const USER: &str = "guest";
const PASSWORD: &str = "guest";
const VHOST: &str = "/";
/// No server needs to know that we are alive; a run takes seconds.
const NO_HEARTBEAT: u16 = 0;

impl Load {
    /// `run` tells messages left over from another run; 16 bits, as small payloads have no room for more.
    pub(super) fn new(run: u16) -> Self {
        Load {
            run: u32::from(run),
            clock: Clock::start(),
            clients: Vec::new(),
            client_of: Vec::new(),
            publishers: Vec::new(),
            consumers: Vec::new(),
            streams: Vec::new(),
            woken: Vec::new(),
            rated: Vec::new(),
            unanswered: 0,
            answered: 0,
            deliveries: 0,
            confirmed: 0,
            connected: 0,
            message_count: 0,
            blocked: 0,
            latency: Histogram::default(),
            connect_latency: Histogram::default(),
            confirm_latency: Histogram::default(),
            lateness: Histogram::default(),
            faults: Tally::default(),
            last_reason: None,
        }
    }

    /// Messages delivered to consumers so far.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Messages confirmed to publishers so far.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// From sending to delivery, in nanoseconds.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// From the protocol header to connection.open-ok, in nanoseconds.
    pub fn connect_latency(&self) -> &Histogram {
        &self.connect_latency
    }

    /// From basic.publish to its confirmation, in nanoseconds.
    pub fn confirm_latency(&self) -> &Histogram {
        &self.confirm_latency
    }

    /// At a fixed rate: how much later than due a message was sent, in nanoseconds.
    pub fn lateness(&self) -> &Histogram {
        &self.lateness
    }

    /// How many connections were opened.
    pub fn connected(&self) -> usize {
        self.connected
    }

    /// Requests that wait for their answer.
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// How often the server said that it is blocked (connection.blocked).
    pub fn blocked(&self) -> u64 {
        self.blocked
    }

    /// The ready messages that the last queue.declare-ok told of.
    pub fn message_count(&self) -> u32 {
        self.message_count
    }

    /// Messages that a consumer received, and how many of them were marked as redelivered.
    pub fn received(&self, consumer: ConsumerId) -> (u64, u64) {
        let consumer = &self.consumers[consumer.0];
        (consumer.received, consumer.redelivered)
    }

    /// Whether every publisher's messages were received and confirmed.
    pub fn is_settled(&self) -> bool {
        self.publishers.iter().all(Publisher::is_settled)
    }

    /// Whether every publisher has sent all it was asked to and it was confirmed.
    pub fn is_stored(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.is_done() && publisher.is_confirmed())
    }

    /// All faults so far; messages not received yet count as lost.
    pub fn tally(&self) -> Tally {
        let mut tally = self.faults;
        for consumer in &self.consumers {
            consumer.settle(|stream| self.streams.get(stream as usize).map_or(0, |s| s.sent), &mut tally);
        }
        tally
    }

    pub(super) fn wake(&mut self, publisher: usize) {
        let state = &mut self.publishers[publisher];
        if !state.queued {
            state.queued = true;
            self.woken.push(publisher);
        }
    }

    #[inline]
    fn frame(&mut self, id: ClientId, frame: &Frame<'_>, now: u64, out: &mut Outboxes) -> Result<(), String> {
        let client = &mut self.clients[id.0];
        let Some(channel) = client.channels.get_mut(usize::from(frame.channel)) else {
            return Err(format!("frame on channel {}, which is not open", frame.channel));
        };
        let wrong = |error: WireError| error.to_string();
        match (frame.kind, channel.content.stage) {
            (kind::METHOD, Stage::Method) => self.method(id, frame, now, out),
            (kind::HEADER, Stage::Header(deliver)) => {
                let size = wire::body_size(Fields(frame.payload)).map_err(wrong)?;
                let size = usize::try_from(size).map_err(|_| "a body without end".to_owned())?;
                channel.content.stage = Stage::Body(deliver, size);
                if size == 0 { self.message(id, frame.channel, deliver, &[], now, out) } else { Ok(()) }
            }
            (kind::BODY, Stage::Body(deliver, size)) => {
                if channel.content.collected.is_empty() && frame.payload.len() == size {
                    return self.message(id, frame.channel, deliver, frame.payload, now, out);
                }
                channel.content.collected.extend_from_slice(frame.payload);
                if channel.content.collected.len() < size {
                    return Ok(());
                }
                let body = std::mem::take(&mut channel.content.collected);
                if body.len() > size {
                    return Err("a body longer than its header says".to_owned());
                }
                self.message(id, frame.channel, deliver, &body, now, out)
            }
            (kind::HEARTBEAT, _) => Ok(()),
            (kind, stage) => Err(wrong(WireError::Unexpected(format!("frame of type {kind} at {stage:?}")))),
        }
    }

    #[inline]
    fn method(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        now: u64,
        out: &mut Outboxes,
    ) -> Result<(), String> {
        let wrong = |error: WireError| error.to_string();
        let mut fields = Fields(frame.payload);
        let method = fields.u32().map_err(wrong)?;
        match method {
            method::BASIC_DELIVER => {
                let deliver = wire::deliver(fields).map_err(wrong)?;
                self.channel(id, frame.channel).content.stage = Stage::Header(Some(deliver));
                Ok(())
            }
            method::BASIC_ACK | method::BASIC_NACK => {
                let tag = fields.u64().map_err(wrong)?;
                let multiple = fields.u8().map_err(wrong)? & 1 != 0;
                self.confirm(id, frame.channel, tag, multiple, method == method::BASIC_NACK, now)
            }
            method::BASIC_RETURN => {
                self.faults.refused += 1;
                self.channel(id, frame.channel).content.stage = Stage::Header(None);
                Ok(())
            }
            method::CONNECTION_BLOCKED => {
                self.blocked += 1;
                Ok(())
            }
            method::CONNECTION_UNBLOCKED => Ok(()),
            method::CHANNEL_CLOSE => Err(format!("channel.close {}", wire::close_reason(fields))),
            method::CONNECTION_CLOSE => Err(format!("connection.close {}", wire::close_reason(fields))),
            _ if frame.channel == 0 && self.clients[id.0].state == ClientState::Connecting => {
                self.handshake(id, method, fields, now, out).map_err(wrong)
            }
            _ => self.answer(id, frame.channel, method, fields).map_err(wrong),
        }
    }

    fn handshake(
        &mut self,
        id: ClientId,
        method: u32,
        mut fields: Fields<'_>,
        now: u64,
        out: &mut Outboxes,
    ) -> Result<(), WireError> {
        let client = &mut self.clients[id.0];
        let buffer = out.buffer(client.link);
        match method {
            method::CONNECTION_START => buffer.extend_from_slice(&wire::start_ok(USER, PASSWORD)),
            method::CONNECTION_TUNE => {
                let (channel_max, frame_max) = (fields.u16()?, fields.u32()?);
                let frame_max = if frame_max == 0 { wire::FRAME_MAX } else { frame_max.min(wire::FRAME_MAX) };
                buffer.extend_from_slice(&wire::tune_ok(channel_max, frame_max, NO_HEARTBEAT));
                buffer.extend_from_slice(&wire::connection_open(VHOST).bytes);
            }
            method::CONNECTION_OPEN_OK => {
                client.state = ClientState::Connected;
                self.connect_latency.record(now.saturating_sub(client.connecting_since));
                self.connected += 1;
            }
            other => return Err(unexpected(other)),
        }
        Ok(())
    }

    fn answer(
        &mut self,
        id: ClientId,
        number: u16,
        method: u32,
        fields: Fields<'_>,
    ) -> Result<(), WireError> {
        let channel = self.channel(id, number);
        if channel.answers.pop_front() != Some(method) {
            return Err(unexpected(method));
        }
        self.unanswered -= 1;
        self.answered += 1;
        if method == method::QUEUE_DECLARE_OK {
            self.message_count = wire::message_count(fields)?;
        }
        Ok(())
    }

    fn confirm(
        &mut self,
        id: ClientId,
        number: u16,
        tag: u64,
        multiple: bool,
        refused: bool,
        now: u64,
    ) -> Result<(), String> {
        let Some(publisher) = self.channel(id, number).publisher else {
            return Err("a confirmation of nothing".to_owned());
        };
        let Some(confirms) = &mut self.publishers[publisher].confirms else {
            return Err("a confirmation without confirm mode".to_owned());
        };
        match confirms.confirm(tag, multiple, now, &mut self.confirm_latency) {
            Some(count) => {
                self.confirmed += u64::from(count);
                self.faults.refused += if refused { u64::from(count) } else { 0 };
            }
            None => self.faults.misacked += 1,
        }
        self.wake(publisher);
        Ok(())
    }

    /// A whole message arrived; without `deliver` it is one that came back to its publisher.
    #[inline]
    fn message(
        &mut self,
        id: ClientId,
        number: u16,
        deliver: Option<Deliver>,
        body: &[u8],
        now: u64,
        out: &mut Outboxes,
    ) -> Result<(), String> {
        let client = &mut self.clients[id.0];
        let channel = &mut client.channels[usize::from(number)];
        channel.content.stage = Stage::Method;
        let Some(deliver) = deliver else { return Ok(()) };
        let Some(consumer) = channel.consumer.and_then(|at| self.consumers.get_mut(at)) else {
            self.faults.foreign += 1;
            return Ok(());
        };
        self.faults.misacked += u64::from(!consumer.note_tag(deliver.tag));
        if let Some(tag) = consumer.due_ack() {
            out.buffer(client.link).extend_from_slice(&wire::ack(number, tag, consumer.acks.are_multiple()));
        }
        let stamp = Stamp::read(body).filter(|stamp| stamp.run == self.run);
        let sent = stamp.and_then(|stamp| Some((stamp, self.streams.get(stamp.stream as usize)?)));
        let Some((stamp, stream)) = sent.filter(|(stamp, stream)| stamp.seq < stream.sent) else {
            self.faults.foreign += 1;
            return Ok(());
        };
        consumer.redelivered += u64::from(deliver.redelivered);
        if !consumer.record(stamp.stream, stamp.seq) {
            self.faults.foreign += 1;
        }
        self.deliveries += 1;
        self.latency.record(now.saturating_sub(stamp.sent_at));
        let publisher = stream.publisher;
        let state = &mut self.publishers[publisher];
        state.outstanding = state.outstanding.saturating_sub(1);
        self.wake(publisher);
        Ok(())
    }

    fn channel(&mut self, id: ClientId, number: u16) -> &mut super::client::Channel {
        &mut self.clients[id.0].channels[usize::from(number)]
    }

    fn pump(&mut self, publisher: usize, now: u64, out: &mut Outboxes) {
        let state = &mut self.publishers[publisher];
        state.queued = false;
        let client = &self.clients[state.plan.channel.client.0];
        let allowance = state.allowance(now);
        if allowance == 0 || client.state == ClientState::Closed || out.pending(client.link) > MAX_PENDING {
            return;
        }
        let buffer = out.buffer(client.link);
        for _ in 0..allowance {
            if buffer.len() > 2 * MAX_PENDING {
                break;
            }
            if let (Pace::Rate(rate), Some((since, already))) = (state.plan.pace, state.paced_from) {
                let due = since + ((state.sent + 1 - already) as f64 * 1e9 / rate) as u64;
                self.lateness.record(now.saturating_sub(due));
            }
            let at = state.take_next(now);
            let (stream, template) = &state.plan.messages[at];
            let sent = &mut self.streams[stream.0 as usize].sent;
            template.write(buffer, &Stamp { run: self.run, stream: stream.0, seq: *sent, sent_at: now });
            *sent += 1;
        }
    }
}

fn unexpected(method: u32) -> WireError {
    WireError::Unexpected(format!("method {},{}", method >> 16, method & 0xFFFF))
}

impl Handler for Load {
    fn opened(&mut self, link: LinkId, out: &mut Outboxes) {
        let client = &mut self.clients[self.client_of[link.index()].0];
        client.connecting_since = self.clock.now();
        out.buffer(link).extend_from_slice(&wire::PROTOCOL_HEADER);
    }

    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String> {
        if bytes.starts_with(b"AMQP") {
            return Err("the server does not speak AMQP 0-9-1".to_owned());
        }
        let now = self.clock.now();
        let client = self.client_of[link.index()];
        let mut at = 0;
        while let Some(frame) = wire::frame(&bytes[at..]).map_err(|error| error.to_string())? {
            self.frame(client, &frame, now, out)?;
            at += frame.total;
        }
        Ok(at)
    }

    fn closed(&mut self, link: LinkId, reason: &str, _out: &mut Outboxes) {
        let client = &mut self.clients[self.client_of[link.index()].0];
        client.state = ClientState::Closed;
        self.faults.closed += 1;
        self.last_reason = Some(reason.to_owned());
    }

    fn turn_end(&mut self, out: &mut Outboxes) {
        if self.woken.is_empty() && self.rated.is_empty() {
            return;
        }
        let now = self.clock.now();
        let mut woken = std::mem::take(&mut self.woken);
        for publisher in woken.drain(..) {
            self.pump(publisher, now, out);
        }
        self.woken = woken;
        for at in 0..self.rated.len() {
            self.pump(self.rated[at], now, out);
        }
    }
}

impl Watched for Load {
    fn progress(&self) -> [u64; 4] {
        let sent = self.publishers.iter().map(|publisher| publisher.sent).sum();
        [self.deliveries + self.confirmed, self.connected as u64, self.answered, sent]
    }

    fn closed(&self) -> u64 {
        self.faults.closed
    }

    fn last_reason(&self) -> Option<&str> {
        self.last_reason.as_deref()
    }

    /// Publishers woken outside a turn (at the start) must not wait for the first event.
    fn is_eager(&self) -> bool {
        !self.woken.is_empty()
    }
}
