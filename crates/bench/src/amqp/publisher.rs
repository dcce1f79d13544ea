//! One publisher: what it sends, how fast, and what is still under way.

use super::confirms::Confirms;
use super::fleet::ChannelId;
use super::template::PublishTemplate;
use crate::engine::StreamId;

/// How fast a publisher sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Closed loop: at most so many messages that not all their receivers have, and at most so many that are
    /// not confirmed.
    Window {
        /// Not received; does not matter for messages that nobody receives.
        undelivered: u32,
        /// Not confirmed; does not matter without confirms.
        unconfirmed: u32,
    },
    /// Open loop: so many messages a second, whatever the server does.
    Rate(f64),
}

/// What a publisher shall do.
#[derive(Debug)]
pub struct PublisherPlan {
    /// Where it sends; must be the channel of the templates.
    pub channel: ChannelId,
    /// Messages in turn, each with its stream.
    pub messages: Vec<(StreamId, PublishTemplate)>,
    /// How fast.
    pub pace: Pace,
    /// Whether the channel is in confirm mode.
    pub confirms: bool,
    /// Stop after so many messages.
    pub limit: Option<u64>,
    /// To how many consumers each message goes; 0 when nobody listens.
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
    pub(super) confirms: Option<Confirms>,
    /// When the open loop began, and what it had sent then.
    pub(super) paced_from: Option<(u64, u64)>,
    cursor: usize,
}

impl Publisher {
    pub(super) fn new(plan: PublisherPlan) -> Self {
        Publisher {
            confirms: plan.confirms.then(Confirms::default),
            plan,
            sending: false,
            queued: false,
            sent: 0,
            outstanding: 0,
            paced_from: None,
            cursor: 0,
        }
    }

    /// How many messages may be sent now.
    pub(super) fn allowance(&self, now: u64) -> u64 {
        if !self.sending {
            return 0;
        }
        let left = self.plan.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.sent));
        match self.plan.pace {
            Pace::Window { undelivered, unconfirmed } => {
                let outstanding = self.outstanding.div_ceil(u64::from(self.plan.copies.max(1)));
                let room = u64::from(undelivered).saturating_sub(outstanding);
                let confirmed = self.confirms.as_ref().map_or(u64::MAX, |confirms| {
                    u64::from(unconfirmed.saturating_sub(confirms.outstanding()))
                });
                left.min(room).min(confirmed)
            }
            Pace::Rate(rate) => {
                let (since, already) = self.paced_from.unwrap_or((now, self.sent));
                let due = (now.saturating_sub(since) as f64 * rate / 1e9) as u64 + already;
                left.min(due.saturating_sub(self.sent))
            }
        }
    }

    /// Takes the next message: its place in the plan.
    #[inline]
    pub(super) fn take_next(&mut self, now: u64) -> usize {
        let at = self.cursor;
        self.cursor = if at + 1 == self.plan.messages.len() { 0 } else { at + 1 };
        self.sent += 1;
        self.outstanding += u64::from(self.plan.copies);
        if let Some(confirms) = &mut self.confirms {
            confirms.note_sent(now);
        }
        at
    }

    /// Whether everything sent was confirmed, if that was asked for.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirms.as_ref().is_none_or(|confirms| confirms.outstanding() == 0)
    }

    /// Whether everything sent was received and confirmed.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding == 0 && self.is_confirmed()
    }

    /// Whether it sent all that its limit asks for.
    pub(super) fn is_done(&self) -> bool {
        self.plan.limit.is_some_and(|limit| self.sent >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::fleet::ClientId;
    use crate::engine::Histogram;

    fn publisher(pace: Pace, confirms: bool, copies: u32) -> Publisher {
        let channel = ChannelId { client: ClientId(0), number: 1 };
        let messages = vec![(StreamId(0), PublishTemplate::new(1, "", "q", false, 64))];
        let plan = PublisherPlan { channel, messages, pace, confirms, limit: Some(100), copies };
        let mut publisher = Publisher::new(plan);
        publisher.sending = true;
        publisher
    }

    #[test]
    fn the_windows_count_deliveries_and_confirmations() {
        let mut one = publisher(Pace::Window { undelivered: 4, unconfirmed: 3 }, true, 2);
        for expected in [3, 2, 1] {
            assert_eq!(one.allowance(0), expected);
            one.take_next(0);
        }
        assert_eq!(one.allowance(0), 0);
        let confirms = one.confirms.as_mut().unwrap();
        assert_eq!(confirms.confirm(3, true, 1, &mut Histogram::default()), Some(3));
        assert_eq!(one.allowance(0), 1, "three are under way to two consumers");
        one.outstanding -= 5;
        assert_eq!(one.allowance(0), 3, "half received");
        assert!(!one.is_settled() && one.is_confirmed());
    }

    #[test]
    fn without_confirms_only_deliveries_count() {
        let mut one = publisher(Pace::Window { undelivered: 4, unconfirmed: 1 }, false, 1);
        one.take_next(0);
        assert_eq!((one.allowance(0), one.is_confirmed()), (3, true));
    }

    #[test]
    fn the_rate_follows_the_clock_up_to_the_limit() {
        let mut one = publisher(Pace::Rate(1000.0), false, 1);
        one.paced_from = Some((5_000_000, 0));
        assert_eq!(one.allowance(5_000_000), 0);
        assert_eq!(one.allowance(15_000_000), 10);
        assert_eq!(one.allowance(u64::MAX), 100);
    }
}
