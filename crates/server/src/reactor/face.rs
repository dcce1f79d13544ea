//! The protocol of a connection, and what reactor and protocol say to each other.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_broker::outbox::{CloseReason, ConnectionRef, Drained};
use tercet_net::Transport;

use crate::amqp::connection::AmqpConnection;
use crate::auth::Verdict;
use crate::coap::node::{Node, Turn};
use crate::coap::stream::CoapConnection;
use crate::mqtt::connection::MqttConnection;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::output::packets;
use crate::shared::Shared;

/// What a connection may use while it works on a batch.
pub struct FaceContext<'a> {
    /// The server.
    pub shared: &'a Arc<Shared>,
    /// The time of this turn.
    pub now: Now,
    /// What the reactor is to do.
    pub effects: &'a mut Effects,
    /// The CoAP side of the reactor, for streams that speak it.
    pub coap: &'a mut Node,
    /// The connection's name.
    pub connection: ConnectionRef,
    /// The stream below, for the peer's address and certificate.
    pub transport: &'a Transport,
}

impl FaceContext<'_> {
    /// The CoAP side of the reactor, and what it needs of it.
    pub fn coap(&mut self) -> (&mut Node, Turn<'_>) {
        let turn = Turn {
            shared: self.shared,
            now: self.now,
            effects: self.effects,
            reactor: self.connection.reactor,
        };
        (self.coap, turn)
    }
}

/// How the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    Continue,
    /// Read nothing until the authenticator or the log has decided.
    Hold,
    /// Read nothing until the log takes work again, but go on after this long in any case.
    AwaitLog(Duration),
    /// Read nothing for this long.
    Pause(Duration),
    /// Write what there is and close.
    Close,
}

/// How long a client that publishes what has to be recorded is not read while the log takes nothing, before it is refused.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// State of the connection's time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// None is in force.
    None,
    /// It ends after this time.
    In(Duration),
    /// It has passed.
    Passed,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaceKind {
    /// MQTT.
    Mqtt,
    /// AMQP 0-9-1.
    Amqp,
    /// CoAP, behind lengths of its own.
    Coap,
    /// CoAP in messages of a WebSocket.
    CoapWebSocket,
}

/// The protocol of a connection. MQTT lies in the connection itself: there may be a million idle ones.
pub enum Face {
    /// MQTT.
    Mqtt(MqttConnection),
    /// AMQP 0-9-1.
    Amqp(Box<AmqpConnection>),
    /// CoAP.
    Coap(Box<CoapConnection>),
}

impl Face {
    /// The beginning of a connection that was accepted.
    pub fn new(kind: FaceKind, settings: Arc<ListenerSettings>, now: Instant) -> Self {
        match kind {
            FaceKind::Mqtt => Self::Mqtt(MqttConnection::new(settings, now)),
            FaceKind::Amqp => Self::Amqp(Box::new(AmqpConnection::new(settings, now))),
            FaceKind::Coap => Self::Coap(Box::new(CoapConnection::new(settings, false, now))),
            FaceKind::CoapWebSocket => Self::Coap(Box::new(CoapConnection::new(settings, true, now))),
        }
    }

    /// Works on what has arrived. Returns how many bytes were used and how to go on.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> (usize, Step) {
        match self {
            Self::Mqtt(face) => face.receive(input, out, cx),
            Self::Amqp(face) => face.receive(input, out, cx),
            Self::Coap(face) => face.work(input, out, cx),
        }
    }

    /// Bytes that must be there before decoding `rest` is worth trying.
    pub fn wanted(&self, rest: &[u8]) -> usize {
        match self {
            Self::Mqtt(face) => face.wanted(rest),
            Self::Amqp(face) => face.wanted(rest),
            Self::Coap(face) => face.wanted(rest),
        }
    }

    /// How many packets or frames there are in a run of whole answers.
    pub fn packets(&self, answers: &[u8]) -> u64 {
        match self {
            Self::Mqtt(_) => packets(answers),
            Self::Amqp(_) | Self::Coap(_) => 0,
        }
    }

    /// A time limit that came into force since this was last asked.
    pub fn take_new_limit(&mut self, now: Instant) -> Option<Duration> {
        match self {
            Self::Mqtt(face) => face.take_new_limit(now),
            Self::Amqp(face) => face.take_new_limit(now),
            Self::Coap(face) => face.take_new_limit(now),
        }
    }

    /// Whether the time limit has passed.
    pub fn check_limit(&self, now: Instant) -> Timeout {
        match self {
            Self::Mqtt(face) => face.check_limit(now),
            Self::Amqp(face) => face.check_limit(now),
            Self::Coap(face) => face.check_limit(now),
        }
    }

    /// Whether its time limit is only about hearing from the peer, and so does not count while the peer is not read.
    pub fn limits_silence_alone(&self) -> bool {
        matches!(self, Self::Mqtt(_))
    }

    /// The time limit has passed.
    pub fn timed_out(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        match self {
            Self::Mqtt(face) => face.timed_out(out, cx),
            Self::Amqp(face) => face.timed_out(out, cx),
            Self::Coap(face) => face.limit_passed(out, cx),
        }
    }

    /// The position of the log that the next answer waits for, if one does.
    pub fn awaited(&self) -> Option<Position> {
        match self {
            Self::Mqtt(face) => face.awaited(),
            Self::Amqp(face) => face.awaited(),
            // The pipeline waits for the log itself.
            Self::Coap(_) => None,
        }
    }

    /// The log is durable up to `durable`: gives the answers that waited for that.
    pub fn log_moved(&mut self, durable: Position, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        match self {
            Self::Mqtt(face) => face.log_moved(durable, out, cx),
            Self::Amqp(face) => face.log_moved(durable, cx),
            Self::Coap(_) => Step::Continue,
        }
    }

    /// The connection is read again after a time in which it was not, for which the client must not suffer.
    pub fn read_again(&mut self, now: Instant) {
        match self {
            Self::Mqtt(face) => face.read_again(now),
            Self::Amqp(face) => face.read_again(now),
            Self::Coap(_) => {}
        }
    }

    /// The authenticator has decided.
    pub fn decided(&mut self, verdict: Verdict, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        match self {
            Self::Mqtt(face) => face.decided(verdict, out, cx),
            Self::Amqp(face) => face.decided(verdict, out, cx),
            Self::Coap(_) => Step::Continue,
        }
    }

    /// An administrator closes the connection, for this reason in words.
    pub fn closed_by_administrator(
        &mut self,
        reason: &str,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        match self {
            Self::Mqtt(face) => {
                face.evicted(CloseReason::AdministrativeAction, out, cx.shared, cx.now, cx.effects);
                Step::Close
            }
            Self::Amqp(face) => face.closed_by_administrator(reason, out, cx),
            Self::Coap(face) => face.closed_by_administrator(reason, out),
        }
    }

    /// The stream broke or ended.
    pub fn lost(&mut self, error: Option<&io::Error>, shared: &Shared, now: Now, effects: &mut Effects) {
        match self {
            Self::Mqtt(face) => face.lost(error, shared, now, effects),
            Self::Amqp(face) => face.lost(error, shared, now, effects),
            // What it observes ends with the connection.
            Self::Coap(_) => {}
        }
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
        match self {
            Self::Mqtt(face) => face.evicted(reason, out, shared, now, effects),
            Self::Amqp(face) => face.evicted(reason, out, shared, now, effects),
            Self::Coap(face) => face.evicted(out),
        }
    }

    /// Whether the peer closes the stream by itself now.
    pub fn peer_will_close(&self) -> bool {
        match self {
            Self::Mqtt(face) => face.peer_will_close(),
            Self::Amqp(face) => face.peer_will_close(),
            Self::Coap(_) => false,
        }
    }

    /// Goes on with what waited for output to be written. Returns whether to come again at once.
    pub fn resume(&mut self, shared: &Shared, now: Now, effects: &mut Effects) -> bool {
        match self {
            Self::Mqtt(face) => {
                face.attachment().is_some_and(|to| shared.vhost.resume(&to.session, to.epoch, now, effects))
            }
            Self::Amqp(face) => {
                face.resume(now, effects);
                false
            }
            Self::Coap(_) => false,
        }
    }

    /// Swaps what is to be written out of the outbox; `None` if there is no outbox. An error is the reason to close
    /// the connection.
    pub fn drain(&mut self, drained: &mut Drained) -> Option<Result<(), CloseReason>> {
        match self {
            Self::Mqtt(face) => face.attachment().map(|to| to.session.drain(to.epoch, drained)),
            Self::Amqp(face) => face.drain(drained).then_some(Ok(())),
            Self::Coap(_) => None,
        }
    }

    /// Why the connection is to be closed, if it is: one that cannot write does not drain.
    pub fn closing(&self) -> Option<CloseReason> {
        match self {
            Self::Mqtt(face) => face.attachment().and_then(|to| to.session.closing(to.epoch)),
            Self::Amqp(_) | Self::Coap(_) => None,
        }
    }

    /// Tells the outbox how many drained bytes the socket has not taken yet, so that it counts them.
    pub fn set_unwritten(&self, bytes: usize) {
        match self {
            Self::Mqtt(face) => {
                if let Some(to) = face.attachment() {
                    to.session.with_outbox(to.epoch, |outbox| outbox.set_unwritten(bytes));
                }
            }
            Self::Amqp(face) => face.set_unwritten(bytes),
            Self::Coap(_) => {}
        }
    }

    /// Something was written to the stream.
    pub fn wrote(&mut self, now: Instant) {
        match self {
            Self::Mqtt(_) | Self::Coap(_) => {}
            Self::Amqp(face) => face.wrote(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_of_a_protocol_costs_mqtt_no_memory() {
        assert_eq!(size_of::<Face>(), size_of::<MqttConnection>());
    }
}
