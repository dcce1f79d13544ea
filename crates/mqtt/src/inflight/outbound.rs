//! The sender of QoS 1 and 2 messages.

use std::collections::VecDeque;

use core::num::NonZeroU16;

use crate::packet_id::PacketId;
use crate::qos::QoS;
use crate::reason::ReasonCode;

/// What one sender has in flight: messages of QoS 1 and 2 between their PUBLISH and their last acknowledgement.
///
/// `T` stands for a message: whatever the caller needs to send it again. The caller chooses packet identifiers, with an
/// [`Allocator`](crate::Allocator) or otherwise.
///
/// # Order of calls
///
/// On a connection: [`send`](Self::send) for each message, then `handle_puback`, `handle_pubrec` and `handle_pubcomp` as
/// they arrive. On the next connection of the same session: [`reconnected`](Self::reconnected) first, then
/// [`poll_resend`](Self::poll_resend) until it returns `None`, again after each acknowledgement while
/// [`is_resending`](Self::is_resending); only then are new messages accepted, so that order is kept [MQTT-4.6.0-1].
///
/// ```
/// use core::num::NonZeroU16;
/// use tercet_mqtt::{PacketId, QoS, ReasonCode};
/// use tercet_mqtt::inflight::{Outbound, Resend};
///
/// let mut out = Outbound::new(NonZeroU16::new(10).unwrap());
/// let id = PacketId::new(1).unwrap();
/// out.send(id, QoS::AtLeastOnce, "message").unwrap();
/// // The connection breaks before the PUBACK arrives.
/// out.reconnected(NonZeroU16::new(10).unwrap());
/// assert_eq!(out.poll_resend(), Some(Resend::Publish { id, qos: QoS::AtLeastOnce, message: &"message" }));
/// assert_eq!(out.handle_puback(id), Ok("message"));
/// assert!(out.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Outbound<T> {
    /// Sorted by identifier. Identifiers mostly ascend and acknowledgements mostly come in order, so that both ends of
    /// the queue see nearly all insertions and removals.
    entries: VecDeque<Entry<T>>,
    /// Identifiers still to be sent again on this connection, the first one last.
    resend: Vec<PacketId>,
    /// Order of the next message.
    next_order: u32,
    /// How many more PUBLISH packets the peer takes now.
    quota: u16,
    receive_maximum: NonZeroU16,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    message: T,
    /// Position in the order of sending; compared by wrapping distance, as there are never 2^31 in flight.
    order: u32,
    id: PacketId,
    state: State,
    /// The PUBLISH was sent on this connection and took a place of its quota, which its end gives back.
    ///
    /// §4.9 would give one back for every PUBCOMP, also for a PUBREL repeated after a reconnect, which took none. A
    /// sender that does so can have more in flight than the receiver allows, and be cut off for it.
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// PUBLISH of QoS 1: PUBACK is due.
    Sent,
    /// PUBLISH of QoS 2: PUBREC is due.
    Offered,
    /// PUBREC came: PUBREL was sent or is to be, PUBCOMP is due.
    Released,
}

/// What to send again after a reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend<'a, T> {
    /// The PUBLISH, with its identifier and DUP set [MQTT-4.4.0-1].
    Publish {
        /// Packet identifier.
        id: PacketId,
        /// Quality of service.
        qos: QoS,
        /// The message.
        message: &'a T,
    },
    /// A PUBREL with this identifier.
    PubRel(PacketId),
}

/// A message that was in flight when its session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished<T> {
    /// Packet identifier, which is free now.
    pub id: PacketId,
    /// The PUBREC had come: the receiver has the message.
    pub released: bool,
    /// The message.
    pub message: T,
}

/// Why a message cannot be sent now. It is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError<T> {
    /// The peer's Receive Maximum is reached, or messages are still to be sent again: wait for acknowledgements.
    #[error("the window of unacknowledged messages is full")]
    WindowFull(T),
    /// A message with this identifier is in flight.
    #[error("the packet identifier is in use")]
    IdInUse(T),
    /// Messages of QoS 0 are not acknowledged and have no place here.
    #[error("a message of QoS 0 is never in flight")]
    NotAcknowledged(T),
}

/// An acknowledgement that nothing in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// No message with this identifier is in flight: reason 0x92.
    #[error("no message with this packet identifier is in flight")]
    NotFound,
    /// The message waits for another type of acknowledgement: a protocol error, reason 0x82.
    #[error("the message in flight waits for another type of acknowledgement")]
    WrongType,
}

impl AckError {
    /// The reason code that fits: for PUBREL the one to answer with, for the others to close with.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::NotFound => ReasonCode::PacketIdentifierNotFound,
            Self::WrongType => ReasonCode::ProtocolError,
        }
    }
}

/// What a PUBREC leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubRecOutcome<T> {
    /// The receiver has the message: answer with PUBREL.
    Release,
    /// The receiver refused the message, which ends here. No PUBREL follows (§4.3.3).
    Refused(T),
}

impl<T> Outbound<T> {
    /// Nothing in flight, to a peer with this Receive Maximum (65,535 where it named none).
    pub const fn new(receive_maximum: NonZeroU16) -> Self {
        Self {
            entries: VecDeque::new(),
            resend: Vec::new(),
            next_order: 0,
            quota: receive_maximum.get(),
            receive_maximum,
        }
    }

    /// Takes note of a PUBLISH that is sent now for the first time.
    ///
    /// # Errors
    ///
    /// The message comes back when it cannot be sent now.
    pub fn send(&mut self, id: PacketId, qos: QoS, message: T) -> Result<(), SendError<T>> {
        if !self.can_send() {
            return Err(SendError::WindowFull(message));
        }
        self.insert(id, qos, true, message)?;
        self.quota -= 1;
        Ok(())
    }

    /// Takes back a message that was in flight before the session was stored. It is sent again by
    /// [`poll_resend`](Self::poll_resend) after [`reconnected`](Self::reconnected); the order is that of the calls.
    /// `released` says that the PUBREC had come.
    ///
    /// # Errors
    ///
    /// The message comes back when it cannot be in flight.
    pub fn restore(
        &mut self,
        id: PacketId,
        qos: QoS,
        released: bool,
        message: T,
    ) -> Result<(), SendError<T>> {
        self.insert(id, qos, false, message)?;
        if released
            && let Some(entry) = self.find(id).ok().and_then(|at| self.entries.get_mut(at))
            && entry.state == State::Offered
        {
            entry.state = State::Released;
        }
        Ok(())
    }

    /// PUBACK came, whatever its reason code: the message has left and its identifier is free.
    ///
    /// # Errors
    ///
    /// When no message of QoS 1 with this identifier is in flight.
    pub fn handle_puback(&mut self, id: PacketId) -> Result<T, AckError> {
        self.finish(id, State::Sent)
    }

    /// PUBREC came. A second PUBREC for a message already released is answered with PUBREL again.
    ///
    /// # Errors
    ///
    /// When no message of QoS 2 with this identifier is in flight; answer `NotFound` with a PUBREL of reason 0x92.
    pub fn handle_pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Result<PubRecOutcome<T>, AckError> {
        let at = self.find(id).map_err(|_| AckError::NotFound)?;
        let entry = self.entries.get_mut(at).ok_or(AckError::NotFound)?;
        match entry.state {
            State::Sent => Err(AckError::WrongType),
            State::Released => Ok(PubRecOutcome::Release),
            State::Offered if reason.is_error() => {
                self.finish(id, State::Offered).map(PubRecOutcome::Refused)
            }
            State::Offered => {
                entry.state = State::Released;
                Ok(PubRecOutcome::Release)
            }
        }
    }

    /// PUBCOMP came: the message has left and its identifier is free.
    ///
    /// # Errors
    ///
    /// When no released message of QoS 2 with this identifier is in flight.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> Result<T, AckError> {
        self.finish(id, State::Released)
    }

    /// The session continues on a new connection, whose peer has this Receive Maximum: everything in flight is to be
    /// sent again, in its order, and the quota starts anew (§4.9).
    pub fn reconnected(&mut self, receive_maximum: NonZeroU16) {
        self.receive_maximum = receive_maximum;
        self.quota = receive_maximum.get();
        for entry in &mut self.entries {
            entry.counted = false;
        }
        let next = self.next_order;
        let mut order: Vec<_> =
            self.entries.iter().map(|entry| (next.wrapping_sub(entry.order), entry.id)).collect();
        order.sort_unstable();
        self.resend = order.into_iter().map(|(_, id)| id).collect();
    }

    /// What to send again next. `None` when all is sent, or when the quota is used up until an acknowledgement comes.
    pub fn poll_resend(&mut self) -> Option<Resend<'_, T>> {
        loop {
            let id = *self.resend.last()?;
            // What was acknowledged in the meantime needs no repetition.
            let Ok(at) = self.find(id) else {
                self.forget_resend();
                continue;
            };
            let released = self.entries.get(at)?.state == State::Released;
            if !released {
                self.quota = self.quota.checked_sub(1)?;
            }
            self.forget_resend();
            let entry = self.entries.get_mut(at)?;
            entry.counted = !released;
            return Some(match entry.state {
                State::Released => Resend::PubRel(id),
                State::Offered => Resend::Publish { id, qos: QoS::ExactlyOnce, message: &entry.message },
                State::Sent => Resend::Publish { id, qos: QoS::AtLeastOnce, message: &entry.message },
            });
        }
    }

    /// Whether messages from before the reconnect wait to be sent again.
    pub fn is_resending(&self) -> bool {
        !self.resend.is_empty()
    }

    /// Whether a new message may be sent now.
    pub fn can_send(&self) -> bool {
        self.quota > 0 && self.resend.is_empty()
    }

    /// How many more PUBLISH packets the peer takes now.
    pub const fn quota(&self) -> u16 {
        self.quota
    }

    /// The peer's Receive Maximum.
    pub const fn receive_maximum(&self) -> NonZeroU16 {
        self.receive_maximum
    }

    /// How many messages are in flight.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a message with this identifier is in flight.
    pub fn contains(&self, id: PacketId) -> bool {
        self.find(id).is_ok()
    }

    /// Gives up a message that cannot be sent again, such as one that is larger than what the peer of this connection
    /// takes. Its place is free again, and so is its identifier. `None` if it is not in flight.
    pub fn abandon(&mut self, id: PacketId) -> Option<T> {
        let at = self.find(id).ok()?;
        self.take(at).map(|entry| entry.message)
    }

    /// The session is over: hands out everything in flight, in its order, and forgets it. A client whose server has
    /// forgotten the session sends as new messages what was not released.
    pub fn drain(&mut self) -> impl Iterator<Item = Unfinished<T>> + use<T> {
        self.resend = Vec::new();
        self.quota = self.receive_maximum.get();
        let next = self.next_order;
        let mut entries: Vec<_> = core::mem::take(&mut self.entries).into();
        entries.sort_unstable_by_key(|entry| core::cmp::Reverse(next.wrapping_sub(entry.order)));
        entries.into_iter().map(|entry| Unfinished {
            id: entry.id,
            released: entry.state == State::Released,
            message: entry.message,
        })
    }

    fn find(&self, id: PacketId) -> Result<usize, usize> {
        // The oldest message is the one that is usually asked for.
        match self.entries.front() {
            Some(front) if front.id == id => Ok(0),
            _ => self.entries.binary_search_by_key(&id, |entry| entry.id),
        }
    }

    fn insert(&mut self, id: PacketId, qos: QoS, counted: bool, message: T) -> Result<(), SendError<T>> {
        let state = match qos {
            QoS::AtMostOnce => return Err(SendError::NotAcknowledged(message)),
            QoS::AtLeastOnce => State::Sent,
            QoS::ExactlyOnce => State::Offered,
        };
        let at = match self.entries.back() {
            Some(back) if back.id >= id => match self.find(id) {
                Ok(_) => return Err(SendError::IdInUse(message)),
                Err(at) => at,
            },
            _ => self.entries.len(),
        };
        self.entries.insert(at, Entry { message, order: self.next_order, id, state, counted });
        self.next_order = self.next_order.wrapping_add(1);
        Ok(())
    }

    fn finish(&mut self, id: PacketId, expected: State) -> Result<T, AckError> {
        let at = self.find(id).map_err(|_| AckError::NotFound)?;
        match self.entries.get(at) {
            Some(entry) if entry.state == expected => {}
            _ => return Err(AckError::WrongType),
        }
        self.take(at).map(|entry| entry.message).ok_or(AckError::NotFound)
    }

    fn take(&mut self, at: usize) -> Option<Entry<T>> {
        let entry = self.entries.remove(at)?;
        if entry.counted {
            self.quota += 1;
        }
        if self.entries.is_empty() {
            // An idle session keeps only a small queue.
            self.entries.shrink_to(KEPT_ENTRIES);
        }
        Some(entry)
    }

    fn forget_resend(&mut self) {
        self.resend.pop();
        if self.resend.is_empty() {
            self.resend = Vec::new();
        }
    }
}

/// How many places an empty queue keeps, so that a window that fills and drains does not allocate each time.
const KEPT_ENTRIES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    fn max(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    fn resent(out: &mut Outbound<u32>) -> Vec<(u16, Option<u32>)> {
        let mut all = Vec::new();
        while let Some(resend) = out.poll_resend() {
            all.push(match resend {
                Resend::Publish { id, message, .. } => (id.get(), Some(*message)),
                Resend::PubRel(id) => (id.get(), None),
            });
        }
        all
    }

    #[test]
    fn the_window_is_the_receive_maximum() {
        let mut out = Outbound::new(max(2));
        out.send(id(1), QoS::AtLeastOnce, 1).unwrap();
        out.send(id(2), QoS::ExactlyOnce, 2).unwrap();
        assert_eq!(out.send(id(3), QoS::AtLeastOnce, 3), Err(SendError::WindowFull(3)));
        assert_eq!(out.handle_pubrec(id(2), ReasonCode::Success), Ok(PubRecOutcome::Release));
        assert!(!out.can_send(), "PUBREC does not give the place back");
        assert_eq!(out.handle_pubcomp(id(2)), Ok(2));
        out.send(id(3), QoS::AtLeastOnce, 3).unwrap();
        assert_eq!(out.handle_puback(id(1)), Ok(1));
        assert_eq!(out.handle_puback(id(3)), Ok(3));
        assert_eq!(out.quota(), 2);
    }

    #[test]
    fn wrong_acknowledgements() {
        let mut out = Outbound::new(max(9));
        out.send(id(1), QoS::AtLeastOnce, 1).unwrap();
        out.send(id(2), QoS::ExactlyOnce, 2).unwrap();
        assert_eq!(out.send(id(2), QoS::AtLeastOnce, 7), Err(SendError::IdInUse(7)));
        assert_eq!(out.send(id(3), QoS::AtMostOnce, 7), Err(SendError::NotAcknowledged(7)));
        assert_eq!(out.handle_puback(id(3)), Err(AckError::NotFound));
        assert_eq!(out.handle_puback(id(2)), Err(AckError::WrongType));
        assert_eq!(out.handle_pubrec(id(1), ReasonCode::Success), Err(AckError::WrongType));
        assert_eq!(out.handle_pubcomp(id(2)), Err(AckError::WrongType));
        assert_eq!(out.quota(), 7);
        assert_eq!(out.handle_pubrec(id(2), ReasonCode::QuotaExceeded), Ok(PubRecOutcome::Refused(2)));
        assert_eq!(out.handle_pubcomp(id(2)), Err(AckError::NotFound));
        assert_eq!(out.quota(), 8);
    }

    #[test]
    fn redelivery_keeps_the_order_of_sending() {
        let mut out = Outbound::new(max(100));
        // Around the end of the identifiers.
        let ids = [65_534, 65_535, 1, 2, 3];
        for (message, n) in (0..).zip(ids) {
            let qos = if n % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            out.send(id(n), qos, message).unwrap();
        }
        out.handle_pubrec(id(2), ReasonCode::Success).unwrap();
        out.handle_puback(id(1)).unwrap();
        out.reconnected(max(100));
        assert!(!out.can_send());
        assert_eq!(resent(&mut out), [(65_534, Some(0)), (65_535, Some(1)), (2, None), (3, Some(4))]);
        assert!(out.can_send());
        assert_eq!(out.quota(), 97, "PUBREL takes no quota");
    }

    #[test]
    fn redelivery_waits_for_a_smaller_receive_maximum() {
        let mut out = Outbound::new(max(10));
        for n in 1..=4 {
            out.send(id(n), QoS::AtLeastOnce, u32::from(n)).unwrap();
        }
        out.reconnected(max(2));
        assert_eq!(resent(&mut out), [(1, Some(1)), (2, Some(2))]);
        assert!(out.is_resending());
        assert_eq!(out.send(id(9), QoS::AtLeastOnce, 9), Err(SendError::WindowFull(9)));
        out.handle_puback(id(2)).unwrap();
        assert_eq!(resent(&mut out), [(3, Some(3))]);
        out.handle_puback(id(4)).unwrap();
        assert_eq!(resent(&mut out), [], "acknowledged before it was sent again");
        assert_eq!(out.quota(), 0, "it took no place on this connection");
        out.handle_puback(id(3)).unwrap();
        out.send(id(9), QoS::AtLeastOnce, 9).unwrap();
        assert_eq!(out.quota(), 0);
    }

    #[test]
    fn a_restored_session_is_sent_again() {
        let mut out = Outbound::new(max(10));
        out.restore(id(5), QoS::ExactlyOnce, true, 50).unwrap();
        out.restore(id(3), QoS::ExactlyOnce, false, 30).unwrap();
        out.reconnected(max(10));
        assert_eq!(resent(&mut out), [(5, None), (3, Some(30))]);
        let rest: Vec<_> = out.drain().map(|it| (it.id.get(), it.released, it.message)).collect();
        assert_eq!(rest, [(5, true, 50), (3, false, 30)]);
        assert!(out.is_empty() && out.can_send());
        assert_eq!(out.quota(), 10);
    }

    #[test]
    fn an_abandoned_message_gives_its_place_back() {
        let mut out = Outbound::new(max(1));
        out.send(id(1), QoS::ExactlyOnce, 1).unwrap();
        assert_eq!((out.abandon(id(2)), out.abandon(id(1)), out.abandon(id(1))), (None, Some(1), None));
        out.send(id(2), QoS::AtLeastOnce, 2).unwrap();
        out.reconnected(max(1));
        assert_eq!(out.abandon(id(2)), Some(2), "before it was sent again");
        assert_eq!((resent(&mut out), out.quota()), (vec![], 1));
    }

    #[test]
    fn idle_is_small() {
        assert!(size_of::<Outbound<u64>>() <= 72);
        let mut out = Outbound::new(max(u16::MAX));
        assert_eq!(out.entries.capacity() + out.resend.capacity(), 0);
        for n in 1..=1000 {
            out.send(id(n), QoS::AtLeastOnce, 0u64).unwrap();
        }
        for n in 1..=1000 {
            out.handle_puback(id(n)).unwrap();
        }
        assert!(out.entries.capacity() <= 64, "{}", out.entries.capacity());
    }
}
