//! The rules of one connection, without the socket and without the resources.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_coap::stream::{AbortReason, Connection as Signals, Received, Signal};
use tercet_coap::{Code, Limits, Message, Token};

use super::framing::{Framing, Next, Unreadable};
use crate::coap::caller::Caller;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::{Step, Timeout};

/// How long a message may take from its first byte to its last.
const SLOWEST_MESSAGE: Duration = Duration::from_secs(30);
/// After how long a silent peer is asked for a sign of life, and how long it has to give one.
const SILENCE: Duration = Duration::from_secs(300);
/// How long the peer has to give it.
const ANSWER_TO_PING: Duration = Duration::from_secs(60);
/// How often the clock of an open connection is looked at.
const TICK: Duration = Duration::from_secs(30);
/// Greatest message before the peer has sent its CSM.
const FIRST_MESSAGE: usize = 1152;
/// Longest token that is taken (RFC 8974).
const LONGEST_TOKEN: usize = 64;
/// Room that is left in a message for what is no payload: of 1,152 bytes 1,024 are (RFC 7252 §4.6).
const OPTIONS: u32 = 128;
/// What is sent even to a peer that says it takes nothing at all.
const SMALLEST_BLOCK: u32 = 16;
/// Pings that may wait for what came before them; more are answered at once, without custody.
const WAITING_PINGS: usize = 16;

/// One CoAP connection over a byte stream.
pub struct CoapConnection {
    settings: Arc<ListenerSettings>,
    framing: Framing,
    signals: Signals,
    limits: Limits,
    caller: Option<Arc<Caller>>,
    stage: Stage,
    since: Instant,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    /// When the first byte of a message came that is not complete.
    incomplete_since: Option<Instant>,
    limit_changed: bool,
    /// Tokens of pings to be answered when everything before them has been dealt with.
    pings: Vec<Token>,
    greeted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The peer's CSM is to come.
    Opening,
    Open,
    /// The peer wants no new requests to be begun, and the connection to be closed.
    Released,
    Over,
}

/// What lies behind the connection, as far as it is about what is under way.
pub(super) trait Behind {
    /// Whether requests of this connection wait for their answer.
    fn is_waiting(&self) -> bool;
}

/// What lies behind the connection and takes its requests.
pub(super) trait Serves: Behind {
    /// A request has come. Messages to the peer may carry `max_payload` bytes now.
    fn request(&mut self, message: &Message<'_>, max_payload: u32);
}

impl CoapConnection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(settings: Arc<ListenerSettings>, is_websocket: bool, now: Instant) -> Self {
        let longest = settings.max_coap_message;
        let framing = if is_websocket { Framing::websocket(longest) } else { Framing::Lengths };
        Self {
            settings,
            framing,
            signals: Signals::new(),
            limits: Limits { token: LONGEST_TOKEN, message: FIRST_MESSAGE, ..Limits::default() },
            caller: None,
            stage: Stage::Opening,
            since: now,
            heard_at: now,
            pinged_at: None,
            incomplete_since: None,
            limit_changed: false,
            pings: Vec::new(),
            greeted: false,
        }
    }

    /// Whether messages are framed by a WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.framing.is_websocket()
    }

    /// Bytes of payload that a message to the peer may carry, beside its options.
    #[must_use]
    pub fn max_payload(&self) -> u32 {
        self.signals.max_message_size().saturating_sub(OPTIONS).max(SMALLEST_BLOCK)
    }

    /// Who is at the other end, found out once.
    pub(super) fn caller(&mut self, find: impl FnOnce(&ListenerSettings, bool) -> Caller) -> Arc<Caller> {
        let is_websocket = self.framing.is_websocket();
        let caller = self.caller.get_or_insert_with(|| Arc::new(find(&self.settings, is_websocket)));
        Arc::clone(caller)
    }

    /// Works on what has arrived. Returns how many bytes were used and how to go on.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        now: Instant,
        behind: &mut impl Serves,
    ) -> (usize, Step) {
        self.greet(out);
        if !input.is_empty() {
            (self.heard_at, self.pinged_at) = (now, None);
        }
        let mut used = 0;
        while self.stage != Stage::Over {
            let rest = input.get(used..).unwrap_or_default();
            let mut framing = mem::replace(&mut self.framing, Framing::Lengths);
            let next = framing.next(rest, &self.limits);
            let (taken, end) = match next {
                Ok(Next::Message(message, taken)) => (taken, self.message(&message, now, behind)),
                Ok(Next::Other(taken)) => (taken, End::No),
                Ok(Next::Incomplete) => (0, End::No),
                Ok(Next::Closed) => (rest.len(), End::Closed),
                Err(Unreadable::Message(error)) => (rest.len(), End::Unreadable(error.to_string())),
                Err(Unreadable::WebSocket) => (rest.len(), End::Closed),
            };
            self.framing = framing;
            used += taken;
            self.framing.put_control(out);
            match end {
                End::No if taken == 0 => break,
                End::No => {}
                end => self.end(end, out),
            }
        }
        self.note_incomplete(used < input.len(), now);
        self.answer_pings(out, &*behind);
        (used, self.step(&*behind))
    }

    /// Our CSM is the first thing that is said (RFC 8323 §5.3).
    pub fn greet(&mut self, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.greeted, true) {
            let max_message_size = u32::try_from(self.settings.max_coap_message).unwrap_or(u32::MAX);
            let csm = Signal::Csm { max_message_size, block_wise: true, token: LONGEST_TOKEN as u32 };
            self.framing.put_signal(&csm, &[], out);
        }
    }

    fn message(&mut self, message: &Message<'_>, now: Instant, behind: &mut impl Serves) -> End {
        let received = self.signals.receive(message);
        if self.stage == Stage::Opening && self.signals.is_ready() {
            self.stage = Stage::Open;
            self.limits.message = self.settings.max_coap_message;
            self.since = now;
            self.limit_changed = true;
        }
        match received {
            // This side asks for nothing, so responses are nobody's.
            Received::Nothing | Received::Pong { .. } | Received::Response(_) => {}
            Received::Request(message) if self.limits.too_long(message.token) => {
                if let Ok(token) = Token::new(message.token) {
                    return End::TokenTooLong(token);
                }
            }
            Received::Request(message) => behind.request(&message, self.max_payload()),
            Received::Ping { token, custody } => {
                let Ok(token) = Token::new(token) else { return End::No };
                if custody && self.pings.len() < WAITING_PINGS {
                    self.pings.push(token);
                } else {
                    return End::Pong(token);
                }
            }
            Received::Release { .. } => self.stage = Stage::Released,
            Received::Aborted { .. } => return End::Closed,
            Received::Abort(reason) => return End::Abort(reason),
        }
        End::No
    }

    fn end(&mut self, end: End, out: &mut Vec<u8>) {
        match end {
            End::No => {}
            End::Pong(token) => {
                self.framing.put_signal(&Signal::Pong { custody: false }, token.as_bytes(), out);
            }
            End::TokenTooLong(token) => {
                let diagnostic = "tokens have at most 64 bytes";
                self.framing.put_response(Code::BAD_REQUEST, token.as_bytes(), diagnostic, out);
            }
            End::Closed => self.stage = Stage::Over,
            End::Abort(reason) => self.abort(&Signal::from(reason), out),
            End::Unreadable(why) => {
                let abort = Signal::Abort { bad_csm_option: None, diagnostic: why.as_bytes() };
                self.abort(&abort, out);
            }
        }
    }

    fn abort(&mut self, abort: &Signal<'_>, out: &mut Vec<u8>) {
        self.framing.put_signal(abort, &[], out);
        self.stage = Stage::Over;
    }

    /// Pings with custody are answered once nothing before them is left to do (RFC 8323 §5.4.1).
    fn answer_pings(&mut self, out: &mut Vec<u8>, behind: &impl Behind) {
        if !self.pings.is_empty() && !behind.is_waiting() {
            for token in mem::take(&mut self.pings) {
                self.framing.put_signal(&Signal::Pong { custody: true }, token.as_bytes(), out);
            }
        }
    }

    fn step(&self, behind: &impl Behind) -> Step {
        match self.stage {
            Stage::Over => Step::Close,
            // What is due has been said (RFC 8323 §5.5).
            Stage::Released if !behind.is_waiting() => Step::Close,
            Stage::Opening | Stage::Open | Stage::Released => Step::Continue,
        }
    }

    fn note_incomplete(&mut self, is_incomplete: bool, now: Instant) {
        self.incomplete_since = is_incomplete.then(|| self.incomplete_since.unwrap_or(now));
    }

    /// Appends a message for the peer.
    pub fn put(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.framing.put(message, out);
    }

    /// Says what had to wait until something was done.
    pub(super) fn go_on(&mut self, out: &mut Vec<u8>, behind: &impl Behind) -> Step {
        self.answer_pings(out, behind);
        self.step(behind)
    }

    /// Bytes that must be there before decoding `rest` is worth trying.
    #[must_use]
    pub fn wanted(&self, rest: &[u8]) -> usize {
        // Lengths are read anew each time: messages are short, and long ones come in large pieces.
        rest.len() + usize::from(!rest.is_empty())
    }

    /// A time limit that came into force since this was last asked.
    pub fn take_new_limit(&mut self, now: Instant) -> Option<Duration> {
        mem::take(&mut self.limit_changed).then(|| self.left(now).min(TICK))
    }

    /// Whether the time limit has passed.
    #[must_use]
    pub fn check_limit(&self, now: Instant) -> Timeout {
        match self.left(now) {
            Duration::ZERO => Timeout::Passed,
            left => Timeout::In(left.min(TICK)),
        }
    }

    fn left(&self, now: Instant) -> Duration {
        let left = |from: Instant, time: Duration| (from + time).saturating_duration_since(now);
        let own = match (self.stage, self.pinged_at) {
            (Stage::Opening, _) => left(self.since, self.settings.connect_timeout),
            (_, None) => left(self.heard_at, SILENCE),
            (_, Some(at)) => left(at, ANSWER_TO_PING),
        };
        self.incomplete_since.map_or(own, |since| own.min(left(since, SLOWEST_MESSAGE)))
    }

    /// The time limit has passed.
    pub(super) fn timed_out(&mut self, out: &mut Vec<u8>, now: Instant) -> Step {
        let is_slow = self
            .incomplete_since
            .is_some_and(|since| now.saturating_duration_since(since) >= SLOWEST_MESSAGE);
        if self.stage == Stage::Open && !is_slow && self.pinged_at.is_none() {
            self.framing.put_signal(&Signal::Ping { custody: false }, &[], out);
            self.pinged_at = Some(now);
            self.limit_changed = true;
            return Step::Continue;
        }
        let why = match self.stage {
            Stage::Opening => "no CSM in time",
            _ if is_slow => "the message takes too long",
            _ => "no answer to a ping",
        };
        self.abort(&Signal::Abort { bad_csm_option: None, diagnostic: why.as_bytes() }, out);
        Step::Close
    }

    /// Says goodbye: no new requests are taken.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        if self.stage != Stage::Over {
            self.greet(out);
            let release = Signal::Release { alternative: None, hold_off: None };
            self.framing.put_signal(&release, &[], out);
            self.stage = Stage::Over;
        }
    }

    /// Ends the connection for this reason in words.
    pub(super) fn close(&mut self, why: &str, out: &mut Vec<u8>) -> Step {
        self.greet(out);
        self.abort(&Signal::Abort { bad_csm_option: None, diagnostic: why.as_bytes() }, out);
        Step::Close
    }
}

/// What a message means for the connection.
enum End {
    /// Nothing: it goes on.
    No,
    /// It goes on with this answer.
    Pong(Token),
    /// It goes on; the request is refused.
    TokenTooLong(Token),
    Closed,
    Abort(AbortReason),
    Unreadable(String),
}

#[cfg(test)]
mod tests;
