//! Which member gets a message.

use crate::filter::SubscriptionIds;
use crate::limits::SharedStrategy;
use crate::message::Message;
use crate::outbox::{Delivery, Pushed};
use crate::permission::{Action, Subject};
use crate::route::Routing;
use crate::session::Context;
use crate::shared_group::{GroupState, Member};

impl GroupState {
    pub(super) fn somebody_has_credit(&self) -> bool {
        self.members.iter().any(|member| member.session.lock().has_credit())
    }

    /// The member that gets the next message: connected, with credit, allowed to receive it.
    pub(super) fn choose(&mut self, message: &Message, cx: &mut Context<'_>) -> Option<usize> {
        let count = self.members.len();
        let start = match cx.limits.shared_strategy {
            _ if count == 0 => return None,
            SharedStrategy::RoundRobin | SharedStrategy::Sticky => self.turn % count,
            SharedStrategy::Random => scramble(message.ingress_ms, self.queue.next_sequence()) % count,
            SharedStrategy::LeastInflight => self.least_in_flight(message, cx)?,
        };
        for step in 0..count {
            let index = (start + step) % count;
            if self.members.get(index).is_some_and(|member| member.can_take(message, cx)) {
                self.turn = match cx.limits.shared_strategy {
                    SharedStrategy::Sticky => index,
                    _ => index + 1,
                };
                return Some(index);
            }
        }
        None
    }

    /// Whether no member, connected or not, may receive the message any more: it must not hold up the others.
    pub(super) fn nobody_may_receive(&self, message: &Message, cx: &Context<'_>) -> bool {
        !cx.permissions.is_unrestricted()
            && !self.members.is_empty()
            && self.members.iter().all(|member| {
                let user = member.session.lock().user.clone();
                !member.may_receive(&message.topic, user.as_deref(), cx)
            })
    }

    fn least_in_flight(&self, message: &Message, cx: &Context<'_>) -> Option<usize> {
        let able = self.members.iter().enumerate().filter(|(_, member)| member.can_take(message, cx));
        able.min_by_key(|(_, member)| member.session.lock().in_flight).map(|(index, _)| index)
    }

    /// QoS 0: to the next member that is connected, else nobody.
    pub(super) fn deliver_at_most_once(&mut self, routing: &Routing<'_>, cx: &mut Context<'_>) -> bool {
        let count = self.members.len();
        let start = match cx.limits.shared_strategy {
            SharedStrategy::Random => scramble(cx.now.utc_ms, self.turn as u64),
            _ => self.turn,
        };
        for step in 0..count {
            let index = (start % count + step) % count;
            let Some(member) = self.members.get(index) else { continue };
            let mut session = member.session.lock();
            if !member.may_receive(routing.topic, session.user.as_deref(), cx) {
                continue;
            }
            let ids = SubscriptionIds::None.with(member.options.id);
            let delivery = Delivery {
                retain: member.options.retain_as_published && routing.publication.retain,
                subscription_ids: ids.as_slice(),
                ..routing.delivery()
            };
            if session.deliver_now(&delivery, cx.effects) == Some(Pushed::Accepted) {
                drop(session);
                self.turn = match cx.limits.shared_strategy {
                    SharedStrategy::Sticky => index,
                    _ => index + 1,
                };
                return true;
            }
        }
        count > 0
    }
}

impl Member {
    fn can_take(&self, message: &Message, cx: &Context<'_>) -> bool {
        let session = self.session.lock();
        session.has_credit() && self.may_receive(&message.topic, session.user.as_deref(), cx)
    }

    fn may_receive(&self, topic: &str, user: Option<&str>, cx: &Context<'_>) -> bool {
        let subject = Subject { user, client_id: self.session.client_id() };
        cx.permissions.is_unrestricted()
            || cx.permissions.check(&subject, Action::Receive, topic).is_allowed()
    }
}

/// A cheap spread for the random strategy; it need not be unpredictable.
fn scramble(a: u64, b: u64) -> usize {
    let mixed = (a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 33) as usize
}
