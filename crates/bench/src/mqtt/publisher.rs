//! One publisher: what it sends, how fast, and what is still under way.

use std::collections::VecDeque;

use super::client::ClientId;
use super::template::PublishTemplate;
use super::wire::Qos;
use crate::engine::StreamId;

/// How fast a publisher sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Closed loop: at most so many messages under way, from being sent to the last subscriber's receipt, and
    /// (QoS 1, 2) to the end of the acknowledgement.
    Window(u32),
    /// Open loop: so many messages a second, whatever the server does.
    Rate(f64),
}

/// What a publisher shall do.
#[derive(Debug)]
pub struct PublisherPlan {
    /// Who sends.
    pub client: ClientId,
    /// QoS of all messages; must be that of the templates.
    pub qos: Qos,
    /// Packets in turn, each with its stream.
    pub messages: Vec<(StreamId, PublishTemplate)>,
    /// How fast.
    pub pace: Pace,
    /// Stop after so many messages.
    pub limit: Option<u64>,
    /// To how many subscribers each message goes; 0 when nobody listens (only acknowledgements bound the
    /// window then).
    pub copies: u32,
}

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) plan: PublisherPlan,
    pub(super) sending: bool,
    pub(super) queued: bool,
    pub(super) sent: u64,
    /// Deliveries not received yet.
    pub(super) outstanding: u64,
    /// Messages whose acknowledgement (PUBACK, PUBCOMP) has not come.
    pub(super) unacknowledged: u32,
    pub(super) receive_maximum: u32,
    /// When the open loop began, and what it had sent then.
    pub(super) paced_from: Option<(u64, u64)>,
    /// When the messages were sent whose first answer has not come, while confirmations are timed.
    sent_at: VecDeque<u64>,
    cursor: usize,
    packet_id: u16,
    /// The identifiers that PUBACK (or PUBREC) and PUBCOMP must carry next, as both come in order of sending.
    first_answer: u16,
    second_answer: u16,
}

impl Publisher {
    pub(super) fn new(plan: PublisherPlan, receive_maximum: u16) -> Self {
        Publisher {
            plan,
            sending: false,
            queued: false,
            sent: 0,
            outstanding: 0,
            unacknowledged: 0,
            receive_maximum: u32::from(receive_maximum),
            paced_from: None,
            sent_at: VecDeque::new(),
            cursor: 0,
            packet_id: 0,
            first_answer: 0,
            second_answer: 0,
        }
    }

    /// How many messages may be sent now.
    pub(super) fn allowance(&self, now: u64) -> u64 {
        if !self.sending {
            return 0;
        }
        let mut allowed = self.plan.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.sent));
        match self.plan.pace {
            Pace::Window(window) => {
                let outstanding = self.outstanding.div_ceil(u64::from(self.plan.copies.max(1)));
                allowed = allowed.min(u64::from(window).saturating_sub(outstanding));
                allowed = allowed.min(u64::from(window.saturating_sub(self.unacknowledged)));
            }
            Pace::Rate(rate) => {
                let (since, already) = self.paced_from.unwrap_or((now, self.sent));
                let due = (now.saturating_sub(since) as f64 * rate / 1e9) as u64 + already;
                allowed = allowed.min(due.saturating_sub(self.sent));
            }
        }
        if self.plan.qos == Qos::AtMostOnce {
            return allowed;
        }
        allowed.min(u64::from(self.receive_maximum.saturating_sub(self.unacknowledged)))
    }

    /// Takes the next message: its place in the plan and its packet identifier.
    #[inline]
    pub(super) fn take_next(&mut self) -> (usize, u16) {
        let at = self.cursor;
        self.cursor = if at + 1 == self.plan.messages.len() { 0 } else { at + 1 };
        self.sent += 1;
        self.outstanding += u64::from(self.plan.copies);
        if self.plan.qos != Qos::AtMostOnce {
            self.packet_id = following(self.packet_id);
            self.unacknowledged += 1;
        }
        (at, self.packet_id)
    }

    /// Remembers when the message just taken is sent, for [`Publisher::confirmed_after`].
    #[inline]
    pub(super) fn note_sent(&mut self, now: u64) {
        self.sent_at.push_back(now);
    }

    /// How long ago the oldest message without a first answer was sent; it is taken as answered.
    #[inline]
    pub(super) fn confirmed_after(&mut self, now: u64) -> Option<u64> {
        self.sent_at.pop_front().map(|sent| now.saturating_sub(sent))
    }

    /// Notes a PUBACK or PUBREC; false when it is not the one that must come next.
    pub(super) fn first_answer(&mut self, packet_id: u16) -> bool {
        self.first_answer = following(self.first_answer);
        if self.plan.qos == Qos::AtLeastOnce {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        std::mem::replace(&mut self.first_answer, packet_id) == packet_id
    }

    /// Notes a PUBCOMP; false when it is not the one that must come next.
    pub(super) fn second_answer(&mut self, packet_id: u16) -> bool {
        self.second_answer = following(self.second_answer);
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        std::mem::replace(&mut self.second_answer, packet_id) == packet_id
    }

    /// Whether everything sent was received and acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding == 0 && self.unacknowledged == 0
    }

    /// Whether it sent all that its limit asks for.
    pub(super) fn is_done(&self) -> bool {
        self.plan.limit.is_some_and(|limit| self.sent >= limit)
    }
}

/// Packet identifiers go round without zero [MQTT-2.2.1-2].
fn following(packet_id: u16) -> u16 {
    packet_id.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::wire::Version;

    fn publisher(qos: Qos, pace: Pace, copies: u32) -> Publisher {
        let template = PublishTemplate::new(Version::V311, "t", qos, false, 64);
        let messages = vec![(StreamId(0), template)];
        let plan = PublisherPlan { client: ClientId(0), qos, messages, pace, limit: None, copies };
        let mut publisher = Publisher::new(plan, u16::MAX);
        publisher.sending = true;
        publisher
    }

    #[test]
    fn the_window_counts_deliveries_and_acknowledgements() {
        let mut one = publisher(Qos::AtLeastOnce, Pace::Window(3), 2);
        for expected in [3, 2, 1] {
            assert_eq!(one.allowance(0), expected);
            one.take_next();
        }
        assert_eq!(one.allowance(0), 0);
        one.outstanding -= 2;
        assert_eq!(one.allowance(0), 0, "received by both but not acknowledged");
        assert!(one.first_answer(1));
        assert_eq!(one.allowance(0), 1);
        one.outstanding -= 1;
        assert!(one.first_answer(2));
        assert_eq!(one.allowance(0), 1, "half received");
    }

    #[test]
    fn acknowledgements_out_of_order_are_noticed() {
        let mut one = publisher(Qos::AtLeastOnce, Pace::Window(10), 0);
        for _ in 0..3 {
            one.take_next();
        }
        assert_eq!([one.first_answer(1), one.first_answer(3), one.first_answer(2)], [true, false, false]);
    }

    #[test]
    fn confirmations_are_timed_in_order_of_sending() {
        let mut one = publisher(Qos::AtLeastOnce, Pace::Window(10), 0);
        assert_eq!(one.confirmed_after(1), None);
        one.note_sent(10);
        one.note_sent(30);
        assert_eq!([one.confirmed_after(50), one.confirmed_after(60)], [Some(40), Some(30)]);
    }

    #[test]
    fn the_rate_follows_the_clock() {
        let mut one = publisher(Qos::AtMostOnce, Pace::Rate(1000.0), 1);
        one.paced_from = Some((5_000_000, 0));
        assert_eq!(one.allowance(5_000_000), 0);
        assert_eq!(one.allowance(15_000_000), 10);
        one.take_next();
        assert_eq!(one.allowance(15_000_000), 9);
    }

    #[test]
    fn packet_identifiers_skip_zero() {
        assert_eq!([following(0), following(65_534), following(65_535)], [1, 65_535, 1]);
    }
}
