//! One AMQP connection: how far it has come, its time limits and its end.
//!
//! What happens while it is open is [`Session`]'s; here is what lies before and behind.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_amqp::method::connection::CloseOk;
use tercet_amqp::state::{Connection as Protocol, Role, Verdict as Judged};
use tercet_amqp::{
    Beat, FRAME_HEADER, Heartbeat, Limits, Payload, ReplyCode, decode, frame_head, write_heartbeat,
};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_broker::outbox::{CloseReason, Drained};

use crate::amqp::batch::Turn;
use crate::amqp::content::put;
use crate::amqp::fault::Fault;
use crate::amqp::handshake::Handshake;
use crate::amqp::session::Session;
use crate::logging::CONNECTIONS;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::{FaceContext, Step, Timeout};
use crate::shared::Shared;

/// How long a stranger who has failed is kept waiting.
const PENANCE: Duration = Duration::from_secs(3);
/// How long the peer may take to answer connection.close.
const FAREWELL: Duration = Duration::from_secs(30);

/// One AMQP connection.
pub struct AmqpConnection {
    pub(super) settings: Arc<ListenerSettings>,
    pub(super) stage: Stage,
    /// The state of channel 0.
    pub(super) protocol: Protocol,
    pub(super) limits: Limits,
    heartbeat: Heartbeat,
    /// When the present stage began.
    since: Instant,
    limit_changed: bool,
    /// The client closes the stream by itself now.
    peer_closes: bool,
}

/// How far a connection has come.
pub(super) enum Stage {
    /// The protocol header is to come.
    Header,
    /// The client is being let in.
    Handshake(Box<Handshake>),
    /// It works.
    Open(Box<Session>),
    /// We have sent connection.close and wait for the answer.
    Closing,
    /// The client is not let in; the stream is closed a while later.
    Refused,
    /// Nothing more is to be read.
    Over,
}

impl AmqpConnection {
    /// A connection that was just accepted.
    pub fn new(settings: Arc<ListenerSettings>, now: Instant) -> Self {
        Self {
            settings,
            stage: Stage::Header,
            protocol: Protocol::new(Role::Server),
            limits: Limits::before_authentication(),
            heartbeat: Heartbeat::new(0, now),
            since: now,
            limit_changed: false,
            peer_closes: false,
        }
    }

    /// Works on what has arrived. Returns how many bytes were used and how to go on.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> (usize, Step) {
        // A pause ends when there is something to read again.
        self.heartbeat.resume(cx.now.monotonic);
        self.heartbeat.received(cx.now.monotonic);
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            if rest.is_empty() {
                return (used, Step::Continue);
            }
            let step = match &mut self.stage {
                Stage::Header => match self.opening(rest, out, cx) {
                    Some((taken, step)) => {
                        used += taken;
                        step
                    }
                    None => return (used, Step::Continue),
                },
                Stage::Handshake(_) => match self.before_open(rest, out, cx) {
                    Some((taken, step)) => {
                        used += taken;
                        step
                    }
                    None => return (used, Step::Continue),
                },
                Stage::Open(session) => {
                    let mut taken = 0;
                    let turn = session.receive(rest, &mut taken, &self.limits, &mut self.protocol, cx);
                    used += taken;
                    match turn {
                        Turn::Done => return (used, Step::Continue),
                        Turn::Wait(step) => {
                            self.heartbeat.pause();
                            return (used, step);
                        }
                        Turn::ClosedByClient => self.closed_by_client(cx),
                        // What led to it is read once more, and discarded.
                        Turn::Failed(fault) => self.close(&fault, out, cx),
                    }
                }
                Stage::Closing => {
                    let (taken, step) = self.await_answer(rest, out);
                    used += taken;
                    if taken == 0 && step == Step::Continue {
                        return (used, step);
                    }
                    step
                }
                Stage::Refused => return (input.len(), Step::Continue),
                Stage::Over => return (input.len(), Step::Close),
            };
            if step != Step::Continue {
                return (used, step);
            }
        }
    }

    /// The next frame of a connection that is not open yet.
    fn before_open(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Option<(usize, Step)> {
        let (frame, used) = match decode(input, &self.limits) {
            Ok(None) => return None,
            Ok(Some(decoded)) => decoded,
            Err(error) => return Some((input.len(), self.refuse(&error.text(), cx))),
        };
        let judged = match frame.channel {
            0 => self.protocol.receive(&frame.payload),
            channel => self.protocol.admit(channel, frame.payload.kind()),
        };
        let step = match (judged, &frame.payload) {
            (Err(error), _) => self.refuse(&error.text(), cx),
            (Ok(Judged::AnswerClose), _) => {
                put(&CloseOk {}.into(), 0, out);
                self.peer_closes = true;
                self.stage = Stage::Over;
                Step::Close
            }
            (Ok(Judged::Take(_)), Payload::Method(method)) => self.handshake(method, out, cx),
            _ => Step::Continue,
        };
        Some((used, step))
    }

    /// After our connection.close: everything but the answer is discarded.
    fn await_answer(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Step) {
        let (frame, used) = match decode(input, &self.limits) {
            Ok(None) => return (0, Step::Continue),
            Ok(Some(decoded)) => decoded,
            // What came behind a fault need not be in frames.
            Err(_) => return (input.len(), Step::Continue),
        };
        if frame.channel != 0 {
            return (used, Step::Continue);
        }
        match self.protocol.receive(&frame.payload) {
            Ok(Judged::AnswerClose) => put(&CloseOk {}.into(), 0, out),
            Ok(Judged::Closed) => {
                self.peer_closes = true;
                self.stage = Stage::Over;
                return (used, Step::Close);
            }
            _ => {}
        }
        (used, Step::Continue)
    }

    /// The connection is open.
    pub(super) fn running(&mut self, session: Session, heartbeat: u16, cx: &mut FaceContext<'_>) {
        cx.effects.counters.connects += 1;
        self.heartbeat = Heartbeat::new(heartbeat, cx.now.monotonic);
        self.enter(Stage::Open(Box::new(session)), cx.now.monotonic);
    }

    pub(super) fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.since = now;
        self.limit_changed = true;
    }

    /// The client has sent connection.close: its queues are gone before it is answered.
    fn closed_by_client(&mut self, cx: &mut FaceContext<'_>) -> Step {
        let Stage::Open(mut session) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Step::Close;
        };
        self.ended(&mut session, "the client closed it", cx.now, cx.effects);
        session.parent.outbox.write(cx.effects, |out| put(&CloseOk {}.into(), 0, out));
        self.stage = Stage::Open(session);
        self.peer_closes = true;
        Step::Close
    }

    /// Closes the connection from our side and waits for the answer.
    pub(super) fn close(&mut self, fault: &Fault, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let close = fault.connection_close().into();
        self.protocol.sent(&close);
        cx.effects.counters.protocol_errors += 1;
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
            code = fault.code.number(), text = fault.text, "AMQP connection closed by the broker");
        let open = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Open(mut session) = open {
            self.ended(&mut session, &fault.text, cx.now, cx.effects);
            // What was said before comes before it, and nothing comes behind.
            session.last_output(out);
        }
        put(&close, 0, out);
        self.enter(Stage::Closing, cx.now.monotonic);
        Step::Continue
    }

    /// An administrator closes the connection.
    pub fn closed_by_administrator(
        &mut self,
        reason: &str,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        match self.stage {
            Stage::Open(_) => {
                let fault = Fault::of_connection(ReplyCode::ConnectionForced, reason);
                self.close(&fault, out, cx)
            }
            _ => Step::Continue,
        }
    }

    /// Gives everything back that the session holds.
    fn ended(&mut self, session: &mut Session, why: &str, now: Now, effects: &mut Effects) {
        session.end(now, effects);
        effects.counters.disconnects += 1;
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, user = %session.parent.actor.user,
            reason = why, "AMQP connection ended");
    }

    /// The stream broke or ended.
    pub fn lost(&mut self, error: Option<&io::Error>, _shared: &Shared, now: Now, effects: &mut Effects) {
        if let Stage::Open(mut session) = std::mem::replace(&mut self.stage, Stage::Over)
            && !session.is_over()
        {
            let why = error.map_or_else(|| "the client closed the stream".to_owned(), ToString::to_string);
            self.ended(&mut session, &why, now, effects);
        }
    }

    /// The server goes, or an administrator wants the connection gone.
    pub fn evicted(
        &mut self,
        reason: CloseReason,
        out: &mut Vec<u8>,
        _shared: &Shared,
        now: Now,
        effects: &mut Effects,
    ) {
        let text = match reason {
            CloseReason::ServerShuttingDown => "broker forced connection closure with reason 'shutdown'",
            CloseReason::AdministrativeAction => "closed by an administrator",
            CloseReason::TooSlow => "the client does not read",
            CloseReason::TakenOver => "taken over",
        };
        if let Stage::Open(mut session) = std::mem::replace(&mut self.stage, Stage::Over) {
            self.ended(&mut session, text, now, effects);
            session.last_output(out);
            let fault = Fault::of_connection(ReplyCode::ConnectionForced, text);
            put(&fault.connection_close().into(), 0, out);
        }
    }

    /// Bytes that must be there before decoding `rest` is worth trying.
    pub fn wanted(&self, rest: &[u8]) -> usize {
        if let Stage::Open(session) = &self.stage
            && session.wanted() > 0
        {
            return session.wanted();
        }
        match self.stage {
            Stage::Header => 0,
            // An error shows itself when the bytes are decoded.
            _ => frame_head(rest, &self.limits)
                .ok()
                .flatten()
                .map_or(0, |head| FRAME_HEADER + head.payload_len as usize + 1),
        }
    }

    /// Whether the peer closes the stream by itself now.
    pub fn peer_will_close(&self) -> bool {
        self.peer_closes
    }

    /// A time limit that came into force since this was last asked.
    pub fn take_new_limit(&mut self, now: Instant) -> Option<Duration> {
        if !std::mem::take(&mut self.limit_changed) {
            return None;
        }
        match self.check_limit(now) {
            Timeout::None => None,
            Timeout::In(wait) => Some(wait),
            Timeout::Passed => Some(Duration::ZERO),
        }
    }

    /// Whether the time limit has passed.
    pub fn check_limit(&self, now: Instant) -> Timeout {
        let end = match &self.stage {
            Stage::Header | Stage::Handshake(_) => self.since + self.settings.connect_timeout,
            Stage::Closing => self.since + FAREWELL,
            Stage::Refused => self.since + PENANCE,
            Stage::Open(_) => match self.heartbeat.next() {
                Some(next) => next,
                None => return Timeout::None,
            },
            Stage::Over => return Timeout::None,
        };
        match end.saturating_duration_since(now) {
            Duration::ZERO => Timeout::Passed,
            left => Timeout::In(left),
        }
    }

    /// The time limit has passed.
    pub fn timed_out(&mut self, _out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let Stage::Open(session) = &mut self.stage else {
            if let Stage::Header | Stage::Handshake(_) = self.stage {
                tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
                    "connection closed: not open in time (connect-timeout)");
            }
            self.stage = Stage::Over;
            return Step::Close;
        };
        self.limit_changed = true;
        match self.heartbeat.poll(cx.now.monotonic) {
            Beat::Rest => Step::Continue,
            Beat::Send => {
                self.heartbeat.sent(cx.now.monotonic);
                session.parent.outbox.write(cx.effects, write_heartbeat);
                Step::Continue
            }
            Beat::Dead => {
                cx.effects.counters.keep_alive_timeouts += 1;
                if let Stage::Open(mut session) = std::mem::replace(&mut self.stage, Stage::Over) {
                    self.ended(&mut session, "missed heartbeats from the client", cx.now, cx.effects);
                }
                Step::Close
            }
        }
    }

    /// The connection is read again after a time in which it was not, for which the client must not suffer.
    pub fn read_again(&mut self, now: Instant) {
        self.heartbeat.resume(now);
        self.heartbeat.received(now);
    }

    /// Something was written to the stream.
    pub fn wrote(&mut self, now: Instant) {
        self.heartbeat.sent(now);
    }

    /// The position of the log that the next answer waits for, if one does.
    pub fn awaited(&self) -> Option<Position> {
        match &self.stage {
            Stage::Open(session) => session.awaited(),
            _ => None,
        }
    }

    /// The log is durable up to `durable`: gives the answers that waited for that.
    pub fn log_moved(&mut self, durable: Position, cx: &mut FaceContext<'_>) -> Step {
        if let Stage::Open(session) = &mut self.stage {
            session.log_moved(durable, cx.now, cx.effects);
        }
        Step::Continue
    }

    /// Goes on with consumers that waited for output to be written.
    pub fn resume(&mut self, now: Now, effects: &mut Effects) {
        if let Stage::Open(session) = &mut self.stage {
            session.resume(now, effects);
        }
    }

    /// Swaps what is to be written out of the outbox. False if there is none.
    pub fn drain(&mut self, drained: &mut Drained) -> bool {
        let Stage::Open(session) = &mut self.stage else { return false };
        session.drain(drained);
        true
    }

    /// Tells the outbox how many drained bytes the socket has not taken yet.
    pub fn set_unwritten(&self, bytes: usize) {
        if let Stage::Open(session) = &self.stage {
            session.parent.outbox.set_unwritten(bytes);
        }
    }
}
