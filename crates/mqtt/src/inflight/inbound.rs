//! The receiver of QoS 1 and 2 messages.

use std::collections::VecDeque;

use core::num::NonZeroU16;

use crate::packet_id::PacketId;
use crate::qos::QoS;
use crate::reason::ReasonCode;

/// What one receiver has taken and not finished.
///
/// Messages of QoS 2 are passed on when their PUBLISH arrives, and their identifiers remembered until PUBREL (method B
/// of §4.3.3, figure 4.3). Memory is bounded by the number of identifiers: 4 bytes each, at most 256 KiB for a sender
/// that never releases any, and within one connection by the Receive Maximum.
///
/// ```
/// use core::num::NonZeroU16;
/// use tercet_mqtt::{PacketId, QoS};
/// use tercet_mqtt::inflight::{Arrival, Inbound};
///
/// let mut inbound = Inbound::new(NonZeroU16::new(10).unwrap());
/// let id = PacketId::new(1).unwrap();
/// assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id), Ok(Arrival::New)); // pass on, answer PUBREC
/// assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id), Ok(Arrival::Duplicate)); // answer PUBREC only
/// assert!(inbound.handle_pubrel(id)); // answer PUBCOMP
/// assert!(!inbound.handle_pubrel(id)); // unknown now
/// ```
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Messages of QoS 2 that were not released, sorted by identifier.
    unreleased: VecDeque<Unreleased>,
    /// Messages of this connection that are not acknowledged completely.
    unacknowledged: u16,
    receive_maximum: NonZeroU16,
}

#[derive(Clone, Copy, Debug)]
struct Unreleased {
    id: PacketId,
    /// The PUBLISH came on this connection and counts against its Receive Maximum.
    counted: bool,
}

/// What a PUBLISH of QoS 1 or 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message to pass on.
    New,
    /// A message that was passed on before: acknowledge it only.
    Duplicate,
}

/// The sender has more messages unacknowledged than our Receive Maximum allows: reason 0x93 [MQTT-3.3.4-9].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more unacknowledged messages than the receive maximum allows")]
pub struct ReceiveMaximumExceeded;

impl ReceiveMaximumExceeded {
    /// The reason code to close with.
    pub const fn reason(self) -> ReasonCode {
        ReasonCode::ReceiveMaximumExceeded
    }
}

impl Inbound {
    /// Nothing taken yet. The maximum is the one we told the sender; where the protocol has none (MQTT 3.x) or it is
    /// not to be enforced, `NonZeroU16::MAX`.
    pub const fn new(receive_maximum: NonZeroU16) -> Self {
        Self { unreleased: VecDeque::new(), unacknowledged: 0, receive_maximum }
    }

    /// A PUBLISH arrived. For QoS 0 always new.
    ///
    /// # Errors
    ///
    /// When the sender exceeds our Receive Maximum. Nothing has changed then.
    pub fn handle_publish(&mut self, qos: QoS, id: PacketId) -> Result<Arrival, ReceiveMaximumExceeded> {
        let at = match qos {
            QoS::AtMostOnce => return Ok(Arrival::New),
            QoS::AtLeastOnce => None,
            QoS::ExactlyOnce => Some(self.find(id)),
        };
        if let Some(Ok(known)) = at
            && self.unreleased.get(known).is_some_and(|entry| entry.counted)
        {
            return Ok(Arrival::Duplicate);
        }
        if self.unacknowledged >= self.receive_maximum.get() {
            return Err(ReceiveMaximumExceeded);
        }
        self.unacknowledged += 1;
        Ok(match at {
            None => Arrival::New,
            Some(Ok(known)) => {
                if let Some(entry) = self.unreleased.get_mut(known) {
                    entry.counted = true;
                }
                Arrival::Duplicate
            }
            Some(Err(place)) => {
                self.unreleased.insert(place, Unreleased { id, counted: true });
                Arrival::New
            }
        })
    }

    /// A PUBACK was sent, whatever its reason code.
    pub fn puback_sent(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// A PUBREC with an error was sent: the message is finished and its identifier forgotten [MQTT-4.3.3-9].
    /// Answers whether it was known.
    pub fn refused(&mut self, id: PacketId) -> bool {
        self.handle_pubrel(id)
    }

    /// PUBREL came. Answers whether the identifier was known; either way PUBCOMP is the answer, in MQTT 5.0 with reason
    /// 0x92 if it was not.
    pub fn handle_pubrel(&mut self, id: PacketId) -> bool {
        if self.find(id).ok().and_then(|at| self.unreleased.remove(at)).is_none() {
            return false;
        }
        // Also for a PUBLISH of an earlier connection, which was not counted on this one: a sender that follows §4.9 to
        // the letter takes every PUBCOMP for a place more, and is not to be cut off for that.
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        if self.unreleased.is_empty() {
            self.unreleased.shrink_to(KEPT_IDS);
        }
        true
    }

    /// The session continues on a new connection: unreleased identifiers stay, the count starts anew (§4.9).
    pub fn reconnected(&mut self, receive_maximum: NonZeroU16) {
        self.receive_maximum = receive_maximum;
        self.unacknowledged = 0;
        for entry in &mut self.unreleased {
            entry.counted = false;
        }
    }

    /// Remembers an unreleased identifier of a stored session.
    pub fn restore(&mut self, id: PacketId) {
        if let Err(place) = self.find(id) {
            self.unreleased.insert(place, Unreleased { id, counted: false });
        }
    }

    /// Identifiers of QoS 2 messages that wait for their PUBREL, in ascending order.
    pub fn unreleased(&self) -> impl Iterator<Item = PacketId> {
        self.unreleased.iter().map(|entry| entry.id)
    }

    /// How many messages of this connection are not acknowledged completely.
    pub const fn unacknowledged(&self) -> u16 {
        self.unacknowledged
    }

    fn find(&self, id: PacketId) -> Result<usize, usize> {
        match (self.unreleased.front(), self.unreleased.back()) {
            (_, Some(back)) if back.id < id => Err(self.unreleased.len()),
            (Some(front), _) if front.id == id => Ok(0),
            _ => self.unreleased.binary_search_by_key(&id, |entry| entry.id),
        }
    }
}

/// How many places an empty queue keeps.
const KEPT_IDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    fn max(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    #[test]
    fn the_receive_maximum_holds_for_both_qos() {
        let mut inbound = Inbound::new(max(2));
        assert_eq!(inbound.handle_publish(QoS::AtLeastOnce, id(1)), Ok(Arrival::New));
        assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id(2)), Ok(Arrival::New));
        assert_eq!(inbound.handle_publish(QoS::AtMostOnce, id(3)), Ok(Arrival::New));
        assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id(2)), Ok(Arrival::Duplicate));
        assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id(3)), Err(ReceiveMaximumExceeded));
        assert_eq!(inbound.handle_publish(QoS::AtLeastOnce, id(3)), Err(ReceiveMaximumExceeded));
        inbound.puback_sent();
        assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id(3)), Ok(Arrival::New));
        assert!(inbound.refused(id(3)));
        assert!(inbound.handle_pubrel(id(2)));
        assert_eq!(inbound.unacknowledged(), 0);
        assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id(2)), Ok(Arrival::New), "released, so new");
    }

    #[test]
    fn identifiers_survive_a_reconnect_and_the_count_does_not() {
        let mut inbound = Inbound::new(max(2));
        inbound.handle_publish(QoS::ExactlyOnce, id(1)).unwrap();
        inbound.handle_publish(QoS::ExactlyOnce, id(2)).unwrap();
        inbound.reconnected(max(2));
        assert_eq!(inbound.unacknowledged(), 0);
        assert_eq!(inbound.handle_publish(QoS::ExactlyOnce, id(2)), Ok(Arrival::Duplicate));
        assert_eq!(inbound.unacknowledged(), 1);
        assert!(inbound.handle_pubrel(id(1)), "the sender had its PUBREC");
        assert_eq!(inbound.unacknowledged(), 0, "and may count that as a place");
        assert!(inbound.handle_pubrel(id(2)));
        assert_eq!(inbound.unacknowledged(), 0);
    }

    #[test]
    fn a_flood_without_pubrel_is_bounded() {
        let mut inbound = Inbound::new(max(1024));
        let taken = (1..=5000).filter(|&n| inbound.handle_publish(QoS::ExactlyOnce, id(n)).is_ok()).count();
        assert_eq!(taken, 1024);
        assert_eq!(inbound.unreleased().count(), 1024);
    }

    #[test]
    fn idle_is_small() {
        assert!(size_of::<Inbound>() <= 40);
        assert_eq!(size_of::<Unreleased>(), 4);
        let mut inbound = Inbound::new(max(u16::MAX));
        assert_eq!(inbound.unreleased.capacity(), 0);
        for n in 1..=1000 {
            inbound.handle_publish(QoS::ExactlyOnce, id(n)).unwrap();
        }
        for n in (1..=1000).rev() {
            assert!(inbound.handle_pubrel(id(n)));
        }
        assert!(inbound.unreleased.capacity() <= 128);
    }
}
