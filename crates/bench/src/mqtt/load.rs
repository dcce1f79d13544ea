//! The state of all clients: what an arriving packet means, and what may be sent next.
//!
//! Invariants: time is read once per read and once per turn; a publisher is looked at only when something
//! that bounded it has changed (or, at a fixed rate, in every turn).

use super::client::{Client, ClientId, ClientState};
use super::publisher::{Pace, Publisher};
use super::wire::{self, Frame, Version, kind};
use crate::engine::{Clock, Handler, Histogram, LinkId, Outboxes, Stamp, Tally, Watched};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) publisher: usize,
    pub(super) sent: u64,
}

/// Everything a run knows; the [`Handler`] of its event loop.
#[derive(Debug)]
pub struct Load {
    pub(super) version: Version,
    pub(super) run: u32,
    pub(super) clock: Clock,
    pub(super) clients: Vec<Client>,
    /// The client of each link, by its index.
    pub(super) client_of: Vec<ClientId>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) streams: Vec<Stream>,
    /// Publishers whose allowance may have grown.
    pub(super) woken: Vec<usize>,
    pub(super) rated: Vec<usize>,
    pub(super) deliveries: u64,
    pub(super) connected: usize,
    pub(super) subscribed: usize,
    pub(super) latency: Histogram,
    pub(super) connect_latency: Histogram,
    /// From PUBLISH to its first answer, when asked for.
    pub(super) confirm_latency: Option<Histogram>,
    pub(super) lateness: Histogram,
    pub(super) faults: Tally,
    pub(super) last_reason: Option<String>,
}

/// A publisher pauses while so many bytes of it wait for the kernel.
const MAX_PENDING: usize = 1024 * 1024;

impl Load {
    pub(super) fn new(version: Version, run: u32) -> Self {
        Load {
            version,
            run,
            clock: Clock::start(),
            clients: Vec::new(),
            client_of: Vec::new(),
            publishers: Vec::new(),
            streams: Vec::new(),
            woken: Vec::new(),
            rated: Vec::new(),
            deliveries: 0,
            connected: 0,
            subscribed: 0,
            latency: Histogram::default(),
            connect_latency: Histogram::default(),
            confirm_latency: None,
            lateness: Histogram::default(),
            faults: Tally::default(),
            last_reason: None,
        }
    }

    /// Messages delivered to subscribers so far.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// From sending to delivery, in nanoseconds.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// From CONNECT to CONNACK, in nanoseconds.
    pub fn connect_latency(&self) -> &Histogram {
        &self.connect_latency
    }

    /// From PUBLISH to PUBACK or PUBREC, in nanoseconds, if [`Fleet::time_confirms`](super::Fleet::time_confirms)
    /// asked for it.
    pub fn confirm_latency(&self) -> Option<&Histogram> {
        self.confirm_latency.as_ref()
    }

    /// At a fixed rate: how much later than due a message was sent, in nanoseconds. It shows how far the load
    /// generator itself was held up.
    pub fn lateness(&self) -> &Histogram {
        &self.lateness
    }

    /// How many clients got a CONNACK that says success.
    pub fn connected(&self) -> usize {
        self.connected
    }

    /// How many SUBSCRIBE packets were answered.
    pub fn subscribed(&self) -> usize {
        self.subscribed
    }

    /// Where a client stands.
    pub fn state(&self, client: ClientId) -> ClientState {
        self.clients[client.0].state
    }

    /// Whether the server resumed the client's session.
    pub fn session_present(&self, client: ClientId) -> bool {
        self.clients[client.0].session_present
    }

    /// PINGRESP packets of all clients.
    pub fn pongs(&self) -> u64 {
        self.clients.iter().map(|client| client.pongs).sum()
    }

    /// Messages that a client received, and how many of them with the DUP flag.
    pub fn received(&self, client: ClientId) -> (u64, u64) {
        self.clients[client.0].receiver.as_ref().map_or((0, 0), |r| (r.received, r.dups))
    }

    /// Whether every publisher's messages were received and acknowledged.
    pub fn is_settled(&self) -> bool {
        self.publishers.iter().all(Publisher::is_settled)
    }

    /// Whether every publisher has sent all it was asked to and it was acknowledged.
    pub fn is_stored(&self) -> bool {
        self.publishers.iter().all(|p| p.is_done() && p.unacknowledged == 0)
    }

    /// All faults so far; messages not received yet count as lost.
    pub fn tally(&self) -> Tally {
        let mut tally = self.faults;
        for receiver in self.clients.iter().filter_map(|client| client.receiver.as_ref()) {
            receiver.settle(|stream| self.streams.get(stream as usize).map_or(0, |s| s.sent), &mut tally);
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

    fn packet(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        now: u64,
        out: &mut Outboxes,
    ) -> Result<(), String> {
        match frame.kind() {
            kind::PUBLISH => self.delivery(id, frame, now, out).map_err(|error| error.to_string()),
            kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => {
                self.answer(id, frame, now, out).map_err(|error| error.to_string())
            }
            kind::CONNACK => self.connack(id, frame, now),
            kind::SUBACK => {
                let codes = frame.body.get(if self.version == Version::V5 { 3 } else { 2 }..);
                self.faults.refused +=
                    codes.unwrap_or_default().iter().filter(|code| **code > 2).count() as u64;
                self.subscribed += 1;
                if let ClientState::Connected { unanswered } = &mut self.clients[id.0].state {
                    *unanswered = unanswered.saturating_sub(1);
                }
                Ok(())
            }
            kind::PINGRESP => {
                self.clients[id.0].pongs += 1;
                Ok(())
            }
            kind::DISCONNECT => Err(format!("DISCONNECT, reason {:#04x}", frame.body.first().unwrap_or(&0))),
            other => Err(wire::WireError::Unexpected(other).to_string()),
        }
    }

    #[inline]
    fn delivery(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        now: u64,
        out: &mut Outboxes,
    ) -> Result<(), wire::WireError> {
        let publish = wire::publish(frame, self.version)?;
        let client = &mut self.clients[id.0];
        let Some(receiver) = &mut client.receiver else {
            self.faults.foreign += 1;
            return Ok(());
        };
        if publish.qos > 0 && receiver.acknowledges {
            let kind = if publish.qos == 1 { kind::PUBACK } else { kind::PUBREC };
            out.buffer(client.link).extend_from_slice(&wire::acknowledge(kind, publish.packet_id));
        }
        let stamp = Stamp::read(publish.payload).filter(|stamp| stamp.run == self.run);
        let sent = stamp.and_then(|stamp| Some((stamp, self.streams.get(stamp.stream as usize)?)));
        let Some((stamp, stream)) = sent.filter(|(stamp, stream)| stamp.seq < stream.sent) else {
            self.faults.foreign += 1;
            return Ok(());
        };
        receiver.dups += u64::from(publish.dup);
        if !receiver.record(stamp.stream, stamp.seq) {
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

    fn answer(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        now: u64,
        out: &mut Outboxes,
    ) -> Result<(), wire::WireError> {
        let packet_id = frame.packet_id()?;
        let refused = frame.body.get(2).is_some_and(|code| *code >= 0x80);
        let client = &self.clients[id.0];
        if frame.kind() == kind::PUBREL {
            let done = wire::acknowledge(kind::PUBCOMP, packet_id);
            out.buffer(client.link).extend_from_slice(&done);
            return Ok(());
        }
        let Some(publisher) = client.publisher else {
            return Err(wire::WireError::Unexpected(frame.kind()));
        };
        let state = &mut self.publishers[publisher];
        let in_order = match frame.kind() {
            kind::PUBCOMP => state.second_answer(packet_id),
            _ => {
                if let (Some(histogram), Some(after)) =
                    (&mut self.confirm_latency, state.confirmed_after(now))
                {
                    histogram.record(after);
                }
                state.first_answer(packet_id)
            }
        };
        if frame.kind() == kind::PUBREC {
            let release = wire::acknowledge(kind::PUBREL, packet_id);
            out.buffer(client.link).extend_from_slice(&release);
        }
        self.faults.misacked += u64::from(!in_order);
        self.faults.refused += u64::from(refused);
        self.wake(publisher);
        Ok(())
    }

    fn connack(&mut self, id: ClientId, frame: &Frame<'_>, now: u64) -> Result<(), String> {
        let answer = wire::connack(frame, self.version).map_err(|error| error.to_string())?;
        if answer.code != 0 {
            return Err(format!("CONNACK {:#04x}", answer.code));
        }
        let client = &mut self.clients[id.0];
        client.state = ClientState::Connected { unanswered: 0 };
        client.session_present = answer.session_present;
        self.connect_latency.record(now.saturating_sub(client.connecting_since));
        self.connected += 1;
        client.receive_maximum = answer.receive_maximum;
        Ok(())
    }

    fn pump(&mut self, publisher: usize, now: u64, out: &mut Outboxes) {
        let state = &mut self.publishers[publisher];
        state.queued = false;
        let client = &self.clients[state.plan.client.0];
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
            let (at, packet_id) = state.take_next();
            if packet_id != 0 && self.confirm_latency.is_some() {
                state.note_sent(now);
            }
            let (stream, template) = &state.plan.messages[at];
            let sent = &mut self.streams[stream.0 as usize].sent;
            let stamp = Stamp { run: self.run, stream: stream.0, seq: *sent, sent_at: now };
            *sent += 1;
            template.write(buffer, packet_id, &stamp);
        }
    }
}

impl Handler for Load {
    fn opened(&mut self, link: LinkId, out: &mut Outboxes) {
        let client = &mut self.clients[self.client_of[link.index()].0];
        client.connecting_since = self.clock.now();
        out.buffer(link).extend_from_slice(&client.connect);
    }

    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String> {
        let now = self.clock.now();
        let client = self.client_of[link.index()];
        let mut at = 0;
        while let Some(frame) = wire::frame(&bytes[at..]).map_err(|error| error.to_string())? {
            self.packet(client, &frame, now, out)?;
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
        [self.deliveries, self.connected as u64, self.subscribed as u64, sent]
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
