//! What a consumer expects, has received, and how it acknowledges.

use crate::engine::{Expect, Expected, Tally};

/// How a consumer acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Not at all (`no-ack`): a message is settled when it is sent.
    Automatic,
    /// Each message as it comes; the server sends at most so many ahead.
    Each {
        /// Unacknowledged messages that the server may have sent.
        prefetch: u16,
    },
    /// After every so many deliveries, all of them at once; the server sends at most `prefetch` ahead.
    Multiple {
        /// Deliveries for each acknowledgement, at least 1.
        every: u32,
        /// Unacknowledged messages that the server may have sent.
        prefetch: u16,
    },
}

impl Acks {
    /// What basic.qos asks for.
    pub(super) fn prefetch(self) -> Option<u16> {
        match self {
            Acks::Automatic => None,
            Acks::Each { prefetch } | Acks::Multiple { prefetch, .. } => Some(prefetch),
        }
    }

    /// Whether an acknowledgement is of everything up to a message.
    pub(super) fn are_multiple(self) -> bool {
        matches!(self, Acks::Multiple { .. })
    }
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) client: usize,
    pub(super) channel: u16,
    pub(super) received: u64,
    pub(super) redelivered: u64,
    pub(super) acks: Acks,
    expected: Expected,
    last_tag: u64,
    acknowledged: u64,
    /// It is gone; what it received still counts.
    pub(super) ended: bool,
}

impl Consumer {
    pub(super) fn new(client: usize, channel: u16, acks: Acks, expect: &Expect) -> Self {
        Consumer {
            client,
            channel,
            received: 0,
            redelivered: 0,
            acks,
            expected: Expected::new(expect),
            last_tag: 0,
            acknowledged: 0,
            ended: false,
        }
    }

    /// Notes a delivery tag; false when it does not follow the one before (§1.8.3.13: they count deliveries).
    #[inline]
    pub(super) fn note_tag(&mut self, tag: u64) -> bool {
        let follows = tag == self.last_tag + 1;
        self.last_tag = tag;
        follows
    }

    /// The tag up to which it is time to acknowledge.
    #[inline]
    pub(super) fn due_ack(&mut self) -> Option<u64> {
        match self.acks {
            Acks::Multiple { every, .. } if self.last_tag - self.acknowledged >= u64::from(every.max(1)) => {
                self.take_ack()
            }
            Acks::Each { .. } => self.take_ack(),
            _ => None,
        }
    }

    /// The tag up to which everything received can be acknowledged, if something is not.
    pub(super) fn take_ack(&mut self) -> Option<u64> {
        if self.acks == Acks::Automatic || self.last_tag == self.acknowledged {
            return None;
        }
        self.acknowledged = self.last_tag;
        Some(self.last_tag)
    }

    /// Records a message; false when nothing of that stream should come here.
    #[inline]
    pub(super) fn record(&mut self, stream: u32, seq: u64) -> bool {
        self.received += 1;
        self.expected.record(stream, seq)
    }

    /// Adds the faults of all streams; `sent` tells how many messages a stream had.
    pub(super) fn settle(&self, sent: impl Fn(u32) -> u64, tally: &mut Tally) {
        self.expected.settle(sent, tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::StreamId;

    #[test]
    fn acknowledgements_are_due_in_steps_and_at_the_end() {
        let expect = Expect::Range { first: StreamId(0), count: 1 };
        let mut one = Consumer::new(0, 1, Acks::Multiple { every: 2, prefetch: 10 }, &expect);
        let mut acks = Vec::new();
        for tag in 1..=5 {
            assert!(one.note_tag(tag));
            acks.extend(one.due_ack());
        }
        assert_eq!((acks, one.take_ack(), one.take_ack()), (vec![2, 4], Some(5), None));
        assert!(!one.note_tag(7), "6 is missing");

        let mut each = Consumer::new(0, 1, Acks::Each { prefetch: 10 }, &expect);
        assert!(each.note_tag(1));
        assert_eq!((each.due_ack(), each.take_ack()), (Some(1), None));

        let mut automatic = Consumer::new(0, 1, Acks::Automatic, &expect);
        assert!(automatic.note_tag(1));
        assert_eq!((automatic.due_ack(), automatic.take_ack()), (None, None));
    }
}
