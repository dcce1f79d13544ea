//! What happens with time: retransmissions, giving up, delayed answers and forgetting (RFC 7252 §4.2, §4.5, §8.2).

use core::hash::Hash;

use super::{Endpoint, Event, Outgoing, exchange::State, seconds, sending::with_id};
use crate::Time;

/// How long what may be forgotten may stay, in seconds: forgetting is done for many at once.
const FORGETTING_INTERVAL: u32 = 10;

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// When [`Self::run_due`] is to be called next; `None` while nothing is pending.
    pub fn next_due(&self) -> Option<Time> {
        let forgetting = self.peers.oldest_use().map(|used| {
            Time::from_secs(
                u64::from(used) + u64::from(self.exchange_lifetime) + u64::from(FORGETTING_INTERVAL),
            )
        });
        match (self.wheel.next_due(), forgetting) {
            (Some(timer), Some(forgetting)) => Some(timer.min(forgetting)),
            (timer, forgetting) => timer.or(forgetting),
        }
    }

    /// Does what is due by `now`.
    pub fn run_due(&mut self, now: Time, out: &mut Outgoing<P>, mut on_event: impl FnMut(Event<P>)) {
        while let Some(number) = self.wheel.pop_due(now) {
            let Some(exchange) = self.exchanges.get_mut(number) else { continue };
            match exchange.state {
                State::InFlight { retransmissions, .. } => {
                    if retransmissions < self.settings.transmission.retransmissions() {
                        self.retransmit(number, now, out);
                    } else if let Some(event) = self.give_up(number, now, out) {
                        on_event(event);
                    }
                }
                State::Waiting => self.retry_waiting(number, now, out),
                State::Delayed => self.send_delayed(number, now, out),
            }
        }
        let second = seconds(now);
        self.peers.forget_unused(second.saturating_sub(self.exchange_lifetime), second);
    }

    /// §4.2: transmits once more and doubles the timeout.
    fn retransmit(&mut self, number: u32, now: Time, out: &mut Outgoing<P>) {
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        let Some(known) = self.peers.get_mut(exchange.peer) else { return };
        let State::InFlight { id, retransmissions, timeout, replaced } = &mut exchange.state else { return };
        *retransmissions += 1;
        *timeout = timeout.saturating_mul(2);
        let due = now.saturating_add(*timeout);
        if *replaced {
            // RFC 7641 §4.5.2: other content needs another Message ID. The old one may still be rejected.
            let Some(fresh) = known.ids.next(seconds(now), self.exchange_lifetime) else {
                self.wheel.set(number, due, now);
                return;
            };
            if let Some(entry) = known.in_flight.iter_mut().find(|(sent, _)| sent == id) {
                entry.0 = fresh;
            }
            if let Some(tag) = exchange.tag {
                known.resettable_as(*id, tag, self.settings.bounds.resettable_per_peer);
            }
            (*id, *replaced) = (fresh, false);
        }
        let id = *id;
        out.push(known.name, with_id(&mut exchange.datagram, id));
        self.statistics.retransmissions += 1;
        self.wheel.set(number, due, now);
    }

    fn give_up(&mut self, number: u32, now: Time, out: &mut Outgoing<P>) -> Option<Event<P>> {
        let slot = self.exchanges.get_mut(number)?.peer;
        let peer = self.peers.get(slot)?.name;
        self.statistics.failures += 1;
        let tag = self.end(number, now, out)?;
        Some(Event::Failed { peer, tag })
    }

    /// §8.2: the leisure of an answer to a group is over.
    fn send_delayed(&mut self, number: u32, now: Time, out: &mut Outgoing<P>) {
        if let Some(exchange) = self.exchanges.get_mut(number)
            && let Some(known) = self.peers.get_mut(exchange.peer)
        {
            known.delayed = known.delayed.saturating_sub(1);
            match known.ids.next(seconds(now), self.exchange_lifetime) {
                Some(id) => out.push(known.name, with_id(&mut exchange.datagram, id)),
                None => self.statistics.unsent += 1,
            }
        }
        self.exchanges.remove(number);
    }
}
