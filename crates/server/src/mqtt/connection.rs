//! The state machine of one MQTT connection: what each packet leads to.
//!
//! It is fed with the bytes of one read and works on all packets in them. Answers go straight into the
//! connection's buffer; deliveries come from the core through the [outbox](crate::mqtt::outbox). Every error ends
//! the connection: in MQTT 5 after a DISCONNECT that carries the reason code alone, before that silently
//! [MQTT-4.13.1-1].

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tercet_broker::access::ConnectionPermit;
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::{Admission, Position};
use tercet_broker::outbox::CloseReason;
use tercet_broker::vhost::connection::{Attachment, Ending};
use tercet_mqtt::{Ack, DecodeError, Disconnect, Packet, ReasonCode, Version, decode, encode, frame_length};

use crate::auth::{EnhancedAuth, Identity, Verdict};
use crate::logging::CONNECTIONS;
use crate::memory::BRAKE;
use crate::mqtt::connecting::PendingConnect;
use crate::mqtt::publishing::Inflow;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::{FaceContext, PATIENCE, Step, Timeout};
use crate::shared::Shared;

/// One MQTT connection.
pub struct MqttConnection {
    pub(super) settings: Arc<ListenerSettings>,
    pub(super) state: State,
    pub(super) last_packet: Instant,
    pub(super) limit_changed: bool,
    /// The client closes first, so nothing has to be waited for.
    farewell: bool,
}

/// How far the connection has come.
pub(super) enum State {
    /// Waiting for CONNECT.
    Fresh,
    /// Waiting for the authenticator's verdict or, with an exchange, for the client's next AUTH.
    Authenticating(Box<PendingConnect>),
    /// The client is let in; its CONNACK waits for the log.
    Confirming(Box<Confirming>),
    /// The client is connected.
    Connected(Box<Client>),
    /// Nothing more is to be read.
    Over,
}

/// A client that is let in and does not know it yet.
pub(super) struct Confirming {
    pub client: Client,
    /// The encoded CONNACK.
    pub connack: Vec<u8>,
    /// What it waits for.
    pub position: Position,
    /// Whether the session was there before.
    pub session_present: bool,
}

/// A connected client.
pub(super) struct Client {
    pub version: Version,
    pub attachment: Attachment,
    pub identity: Identity,
    /// Counts the connection against the limits of a user with a name.
    #[expect(dead_code, reason = "held for its drop")]
    pub permit: Option<Box<ConnectionPermit>>,
    /// 1.5 times the keep alive.
    pub silence: Option<Duration>,
    /// Session expiry as agreed at CONNECT.
    pub session_expiry: u32,
    pub inflow: Inflow,
    pub aliases: Option<Box<tercet_mqtt::alias::Inbound>>,
    /// Method of enhanced authentication the client connected with.
    pub method: Option<Box<str>>,
    /// A re-authentication under way.
    pub exchange: Option<Box<dyn EnhancedAuth>>,
    /// Acknowledgements of this batch, handed to the core together.
    pub acknowledgements: SmallVec<[Acknowledgement; 4]>,
}

/// Why a connection ends, and what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client said goodbye.
    Goodbye { ending: Ending, expiry: Option<u32> },
    /// It broke the protocol or a limit.
    Fault(ReasonCode, &'static str),
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Fault(error.reason, error.section)
    }
}

impl MqttConnection {
    /// A connection that was just accepted.
    pub fn new(settings: Arc<ListenerSettings>, now: Instant) -> Self {
        Self { settings, state: State::Fresh, last_packet: now, limit_changed: false, farewell: false }
    }

    /// The client's hold on its session, once it is connected.
    pub fn attachment(&self) -> Option<&Attachment> {
        match &self.state {
            State::Connected(client) => Some(&client.attachment),
            _ => None,
        }
    }

    /// Works on the packets in `input`. Returns how many bytes were used and how to go on.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> (usize, Step) {
        let published = cx.effects.counters.publish_received;
        let mut used = 0;
        let mut step = Step::Continue;
        if self.attachment().is_none() {
            step = self.work_on(input, &mut used, out, cx);
        }
        if let Some(session) = self.attachment().map(|attachment| Arc::clone(&attachment.session)) {
            let _batch = session.batch();
            if step == Step::Continue {
                step = self.work_on(input, &mut used, out, cx);
            }
            if used > 0 {
                self.last_packet = cx.now.monotonic;
            }
            if let Err(end) = self.flush_acknowledgements(out, cx) {
                step = self.end(end, out, cx);
            }
        }
        if let State::Connected(client) = &mut self.state {
            client.inflow.confirm(cx.shared.vhost.durable(), out);
        }
        if step == Step::Continue
            && let State::Connected(client) = &mut self.state
            && let Some(wait) = client.inflow.throttle(used, cx.now.monotonic)
        {
            cx.effects.counters.throttled += 1;
            step = Step::Pause(wait);
        }
        if step == Step::Continue
            && cx.shared.memory.is_short()
            && cx.effects.counters.publish_received > published
        {
            step = Step::Pause(BRAKE);
        }
        if let State::Connected(client) = &mut self.state
            && client.inflow.take_recorded()
            && step == Step::Continue
            && cx.shared.vhost.admission() > Admission::Open
        {
            step = Step::AwaitLog(PATIENCE);
        }
        (used, step)
    }

    /// Works on packets until the input or the connection's state says stop, or the client has just connected.
    fn work_on(
        &mut self,
        input: &[u8],
        used: &mut usize,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        let was_connected = self.attachment().is_some();
        loop {
            let rest = input.get(*used..).unwrap_or_default();
            if rest.is_empty() || self.attachment().is_some() != was_connected {
                return Step::Continue;
            }
            let handled = match &self.state {
                State::Connected(_) => self.next_packet(rest, out, cx),
                State::Fresh | State::Authenticating(_) | State::Confirming(_) => {
                    self.next_before_connected(rest, out, cx)
                }
                State::Over => Ok(Some((rest.len(), Step::Close))),
            };
            match handled {
                Ok(Some((count, step))) => {
                    *used += count;
                    cx.effects.counters.packets_received += u64::from(count > 0);
                    if step != Step::Continue {
                        return step;
                    }
                }
                Ok(None) => return Step::Continue,
                Err(end) => return self.end(end, out, cx),
            }
        }
    }

    /// Bytes that must be there before decoding `rest` is worth trying.
    pub fn wanted(&self, rest: &[u8]) -> usize {
        let limits = match self.state {
            State::Connected(_) => &self.settings.limits,
            _ => &self.settings.connect_limits,
        };
        // An error shows itself when the bytes are decoded.
        frame_length(rest, limits).ok().flatten().unwrap_or(0)
    }

    fn next_packet(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<Option<(usize, Step)>, End> {
        let State::Connected(client) = &mut self.state else { return Ok(None) };
        let Some((packet, used)) = decode(input, client.version, &self.settings.limits)? else {
            return Ok(None);
        };
        let step = match packet {
            Packet::Publish(publish) => {
                // Order between what a client publishes and what it acknowledges does not matter to anybody.
                let step = client.publish(&publish, &self.settings, out, cx)?;
                if let Step::AwaitLog(_) = step {
                    return Ok(Some((0, step)));
                }
                step
            }
            Packet::PubAck(ack) => client.note(Acknowledgement::Done(ack.packet_id.get())),
            Packet::PubRec(ack) => client.note(received(&ack)),
            Packet::PubComp(ack) => client.note(Acknowledgement::Completed(ack.packet_id.get())),
            Packet::PubRel(ack) => client.released(&ack, out, cx),
            other => {
                self.flush_acknowledgements(out, cx)?;
                self.seldom(&other, out, cx)?
            }
        };
        Ok(Some((used, step)))
    }

    fn seldom(
        &mut self,
        packet: &Packet<'_>,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<Step, End> {
        let State::Connected(client) = &mut self.state else { return Ok(Step::Close) };
        match packet {
            Packet::PingReq => answer(&Packet::PingResp, client.version, out),
            Packet::Subscribe(subscribe) => client.subscribe(subscribe, &self.settings, out, cx)?,
            Packet::Unsubscribe(unsubscribe) => client.unsubscribe(unsubscribe, out, cx),
            Packet::Disconnect(disconnect) => {
                self.farewell = true;
                return Err(client.goodbye(disconnect, &self.settings)?);
            }
            Packet::Auth(auth) => client.reauthenticate(auth, out, cx)?,
            // A second CONNECT is a protocol error [MQTT-3.1.0-2], and so is what only servers send.
            _ => return Err(End::Fault(ReasonCode::ProtocolError, "MQTT-3.1.0-2")),
        }
        Ok(Step::Continue)
    }

    fn flush_acknowledgements(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Result<(), End> {
        match &mut self.state {
            State::Connected(client) if !client.acknowledgements.is_empty() => client.acknowledge(out, cx),
            _ => Ok(()),
        }
    }

    /// Ends the connection from our side or after the client's goodbye.
    pub(super) fn end(&mut self, end: End, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let (ending, expiry, why) = match end {
            End::Goodbye { ending, expiry } => (ending, expiry, "the client disconnected"),
            End::Fault(reason, section) => {
                cx.effects.counters.protocol_errors += 1;
                self.tell(reason, out);
                tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
                    client_id = self.attachment().map(|found| &**found.session.client_id()),
                    code = format_args!("{:#04x}", reason as u8), %reason, rule = section,
                    "connection closed: protocol error");
                (Ending::Abnormal, None, "protocol error")
            }
        };
        self.detach(ending, expiry, why, cx.shared, cx.now, cx.effects);
        Step::Close
    }

    /// DISCONNECT with the reason code alone, for those who understand it.
    fn tell(&self, reason: ReasonCode, out: &mut Vec<u8>) {
        if let State::Connected(client) = &self.state
            && client.version == Version::V5
        {
            answer(&Packet::Disconnect(Disconnect::with_reason(reason)), Version::V5, out);
        }
    }

    /// Lets go of the session.
    fn detach(
        &mut self,
        ending: Ending,
        expiry: Option<u32>,
        why: &str,
        shared: &Shared,
        now: Now,
        effects: &mut Effects,
    ) {
        let client = match std::mem::replace(&mut self.state, State::Over) {
            State::Connected(client) => *client,
            State::Confirming(confirming) => confirming.client,
            _ => return,
        };
        shared.vhost.disconnect(&client.attachment, ending, expiry, now, effects);
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, client_id = %client.attachment.session.client_id(),
            reason = why, "disconnected");
    }

    /// The stream broke or ended.
    pub fn lost(&mut self, error: Option<&io::Error>, shared: &Shared, now: Now, effects: &mut Effects) {
        if let State::Connected(_) | State::Confirming(_) = self.state {
            let why = error.map_or_else(|| "connection closed by the client".to_owned(), ToString::to_string);
            self.detach(Ending::Abnormal, None, &why, shared, now, effects);
        }
        self.state = State::Over;
    }

    /// The core or an administrator wants the connection gone.
    pub fn evicted(
        &mut self,
        reason: CloseReason,
        out: &mut Vec<u8>,
        shared: &Shared,
        now: Now,
        effects: &mut Effects,
    ) {
        let (code, why) = match reason {
            CloseReason::TakenOver => (ReasonCode::SessionTakenOver, "session taken over"),
            CloseReason::AdministrativeAction => {
                (ReasonCode::AdministrativeAction, "closed by an administrator")
            }
            CloseReason::TooSlow => (ReasonCode::QuotaExceeded, "the client does not read"),
            CloseReason::ServerShuttingDown => {
                (ReasonCode::ServerShuttingDown, "the server is shutting down")
            }
        };
        self.tell(code, out);
        self.detach(Ending::Abnormal, None, why, shared, now, effects);
        self.state = State::Over;
    }

    /// Whether the client closes the stream by itself now.
    pub fn peer_will_close(&self) -> bool {
        self.farewell
    }

    /// A time limit that came into force since this was last asked.
    pub fn take_new_limit(&mut self, now: Instant) -> Option<Duration> {
        if !std::mem::take(&mut self.limit_changed) {
            return None;
        }
        match self.check_limit(now) {
            Timeout::In(wait) => Some(wait),
            _ => None,
        }
    }

    /// Whether the time limit has passed: for CONNECT before, for silence after the client is connected.
    pub fn check_limit(&self, now: Instant) -> Timeout {
        let limit = match &self.state {
            State::Fresh | State::Authenticating(_) => Some(self.settings.connect_timeout),
            State::Connected(client) => client.silence,
            State::Confirming(_) => Some(self.settings.connect_timeout),
            State::Over => None,
        };
        let Some(limit) = limit else { return Timeout::None };
        let passed = now.saturating_duration_since(self.last_packet);
        if passed >= limit { Timeout::Passed } else { Timeout::In(limit - passed) }
    }

    /// The time limit has passed.
    pub fn timed_out(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        if let State::Confirming(_) = self.state {
            return self.give_up_confirming(out, cx);
        }
        if let State::Connected(_) = self.state {
            cx.effects.counters.keep_alive_timeouts += 1;
            self.tell(ReasonCode::KeepAliveTimeout, out);
            self.detach(Ending::Abnormal, None, "keep alive timeout", cx.shared, cx.now, cx.effects);
        } else {
            tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
                "connection closed: no complete CONNECT in time (connect-timeout)");
        }
        self.state = State::Over;
        Step::Close
    }

    /// The position of the log that the next answer waits for, if one does.
    pub fn awaited(&self) -> Option<Position> {
        match &self.state {
            State::Connected(client) => client.inflow.awaited(),
            State::Confirming(confirming) => Some(confirming.position),
            _ => None,
        }
    }

    /// The log is durable up to `durable`: gives the answers that waited for that.
    pub fn log_moved(&mut self, durable: Position, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        match &mut self.state {
            State::Connected(client) => client.inflow.confirm(durable, out),
            State::Confirming(confirming) if confirming.position <= durable => self.confirmed(out, cx),
            State::Confirming(_) => return Step::Hold,
            _ => {}
        }
        Step::Continue
    }

    /// The connection is read again after a time in which it was not, for which the client must not suffer.
    pub fn read_again(&mut self, now: Instant) {
        self.last_packet = now;
    }

    /// The authenticator has decided.
    pub fn decided(&mut self, verdict: Verdict, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Authenticating(pending) => self.admit(*pending, verdict, &[], out, cx),
            other => {
                self.state = other;
                Step::Continue
            }
        }
    }
}

impl Client {
    fn note(&mut self, acknowledgement: Acknowledgement) -> Step {
        self.acknowledgements.push(acknowledgement);
        Step::Continue
    }

    fn goodbye(&self, disconnect: &Disconnect<'_>, settings: &ListenerSettings) -> Result<End, End> {
        let asked = disconnect.properties.session_expiry;
        if self.session_expiry == 0 && asked.is_some_and(|expiry| expiry > 0) {
            return Err(End::Fault(ReasonCode::ProtocolError, "MQTT-3.14.2-2"));
        }
        let ending = match disconnect.reason {
            ReasonCode::Success => Ending::Normal,
            _ => Ending::Abnormal,
        };
        let expiry = asked.map(|expiry| expiry.min(settings.max_session_expiry.unwrap_or(u32::MAX)));
        Ok(End::Goodbye { ending, expiry })
    }
}

/// PUBREC with an error code ends the exchange; PUBREL must not follow (MQTT 5 §4.3.3).
fn received(ack: &Ack<'_>) -> Acknowledgement {
    let id = ack.packet_id.get();
    if ack.reason.is_error() { Acknowledgement::Refused(id) } else { Acknowledgement::Received(id) }
}

/// Encodes a packet of ours. It can fail only for packets no broker sends.
pub(super) fn answer(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) {
    if let Err(error) = encode(packet, version, out) {
        tracing::error!(%error, "cannot encode an answer");
    }
}
