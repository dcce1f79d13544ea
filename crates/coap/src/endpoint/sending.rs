//! Sending messages of one's own: requests, separate responses and notifications (RFC 7252 §4.2, §4.3, §4.7).

use core::hash::Hash;

use super::{
    Endpoint, Handle, Heading, Outgoing, Refused, Tag,
    exchange::{Exchange, State},
    seconds,
};
use crate::{Kind, Time, Writer};

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// Sends a Confirmable message to `peer`: it is retransmitted until it is acknowledged, rejected or given up, which is
    /// reported under the heading's tag. With NSTART messages to the peer in flight it waits for its turn.
    pub fn send_confirmable(
        &mut self,
        peer: P,
        heading: Heading<'_>,
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Result<Handle, Refused> {
        self.start(peer, heading, Some(heading.tag), write, now, out)
    }

    /// Sends a Non-confirmable message to `peer`, once. A Reset that it provokes is reported under the heading's tag while
    /// the Message ID is among the last ones.
    pub fn send_non_confirmable(
        &mut self,
        peer: P,
        heading: Heading<'_>,
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Result<(), Refused> {
        let slot = self.known_peer(peer, now).ok_or(Refused::TooManyPeers)?;
        let known = self.peers.get_mut(slot).ok_or(Refused::TooManyPeers)?;
        let probing_rate = self.settings.transmission.probing_rate;
        if probing_rate.is_some_and(|rate| !known.may_be_probed(rate, seconds(now))) {
            return Err(Refused::Probing);
        }
        let id = known.ids.next(seconds(now), self.exchange_lifetime).ok_or(Refused::NoMessageId)?;
        known.resettable_as(id, heading.tag, self.settings.bounds.resettable_per_peer);
        let sent = out.push_with(peer, |bytes| {
            write(&mut Writer::datagram(bytes, Kind::NonConfirmable, id, heading.code, heading.token));
        });
        if probing_rate.is_some() {
            known.probed(sent.len(), seconds(now));
        }
        Ok(())
    }

    /// Replaces what a Confirmable message says, as its representation is outdated (RFC 7641 §4.5.2): the next transmission
    /// carries the new content under a new Message ID, with the retransmission count and timeout as they are. When the old
    /// one is acknowledged first, the new one follows at once. Its tag stays. `false` when the message has ended.
    pub fn replace(
        &mut self,
        handle: Handle,
        heading: Heading<'_>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> bool {
        let Some(exchange) = self.exchanges.number(handle).and_then(|number| self.exchanges.get_mut(number))
        else {
            return false;
        };
        if let State::InFlight { replaced, .. } = &mut exchange.state {
            *replaced = true;
        }
        exchange.datagram.clear();
        write(&mut Writer::datagram(
            &mut exchange.datagram,
            Kind::Confirmable,
            0,
            heading.code,
            heading.token,
        ));
        true
    }

    /// Gives a Confirmable message up without a word: nobody is interested any more.
    pub fn cancel(&mut self, handle: Handle, now: Time, out: &mut Outgoing<P>) {
        if let Some(number) = self.exchanges.number(handle) {
            self.end(number, now, out);
        }
    }

    /// Sends a Confirmable message now or when its turn has come.
    pub(super) fn start(
        &mut self,
        peer: P,
        heading: Heading<'_>,
        tag: Option<Tag>,
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Result<Handle, Refused> {
        let number = self.prepare(peer, (Kind::Confirmable, heading), tag, write, now)?;
        let slot = self.exchanges.get_mut(number).map_or(u32::MAX, |exchange| exchange.peer);
        let (nstart, most) = (self.settings.transmission.nstart, self.settings.bounds.waiting_per_peer);
        let known = self.peers.get_mut(slot).ok_or(Refused::TooManyPeers)?;
        let refused = if known.in_flight.len() < usize::from(nstart.max(1)) {
            !self.transmit(number, now, out)
        } else if known.waiting.len() < most {
            known.waiting.push_back(number);
            return Ok(self.exchanges.handle(number));
        } else {
            self.drop_exchange(number);
            return Err(Refused::TooManyWaiting);
        };
        if refused {
            self.drop_exchange(number);
            return Err(Refused::NoMessageId);
        }
        Ok(self.exchanges.handle(number))
    }

    /// Makes an exchange of a message that is not transmitted yet.
    pub(super) fn prepare(
        &mut self,
        peer: P,
        (kind, heading): (Kind, Heading<'_>),
        tag: Option<Tag>,
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
    ) -> Result<u32, Refused> {
        if self.exchanges.len() >= self.settings.bounds.exchanges {
            return Err(Refused::TooManyWaiting);
        }
        let slot = self.known_peer(peer, now).ok_or(Refused::TooManyPeers)?;
        let mut datagram = self.exchanges.buffer();
        write(&mut Writer::datagram(&mut datagram, kind, 0, heading.code, heading.token));
        Ok(self.exchanges.insert(Exchange { peer: slot, state: State::Waiting, tag, datagram }))
    }

    /// Transmits a Confirmable message for the first time, with a Message ID of its own; `false` if there is none.
    pub(super) fn transmit(&mut self, number: u32, now: Time, out: &mut Outgoing<P>) -> bool {
        let Some(exchange) = self.exchanges.get_mut(number) else { return false };
        let Some(known) = self.peers.get_mut(exchange.peer) else { return false };
        let Some(id) = known.ids.next(seconds(now), self.exchange_lifetime) else { return false };
        known.in_flight.push_back((id, number));
        let least = self.settings.transmission.ack_timeout;
        let spread = self.settings.transmission.longest_timeout().saturating_sub(least);
        let timeout = least + Time::from_micros(self.random.up_to(spread.as_micros() as u64));
        exchange.state = State::InFlight { id, retransmissions: 0, timeout, replaced: false };
        out.push(known.name, with_id(&mut exchange.datagram, id));
        self.wheel.set(number, now.saturating_add(timeout), now);
        true
    }

    /// Ends a Confirmable message, starts what waited for its end, and returns its tag.
    pub(super) fn end(&mut self, number: u32, now: Time, out: &mut Outgoing<P>) -> Option<Tag> {
        let exchange = self.exchanges.get_mut(number)?;
        let (slot, state) = (exchange.peer, exchange.state);
        match state {
            State::InFlight { id, .. } => self.leave_flight(slot, id),
            State::Waiting => {
                if let Some(known) = self.peers.get_mut(slot) {
                    known.waiting.retain(|&waiting| waiting != number);
                }
            }
            State::Delayed => {}
        }
        self.wheel.cancel(number);
        let (_, tag) = self.exchanges.remove(number)?;
        self.start_waiting(slot, now, out);
        tag
    }

    /// Transmits a message, which was in flight as `id`, as if it were a new one.
    pub(super) fn start_over(&mut self, number: u32, id: u16, now: Time, out: &mut Outgoing<P>) {
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        exchange.state = State::Waiting;
        let slot = exchange.peer;
        self.leave_flight(slot, id);
        self.wheel.cancel(number);
        if let Some(known) = self.peers.get_mut(slot) {
            known.waiting.push_front(number);
        }
        self.start_waiting(slot, now, out);
    }

    /// The Message ID `id` is in flight no more.
    pub(super) fn leave_flight(&mut self, slot: u32, id: u16) {
        if let Some(known) = self.peers.get_mut(slot)
            && let Some(position) = known.in_flight.iter().position(|&(sent, _)| sent == id)
        {
            known.in_flight.remove(position);
        }
    }

    /// Transmits what waits for its turn, as far as NSTART allows.
    fn start_waiting(&mut self, slot: u32, now: Time, out: &mut Outgoing<P>) {
        let nstart = usize::from(self.settings.transmission.nstart.max(1));
        while let Some(known) = self.peers.get_mut(slot)
            && known.in_flight.len() < nstart
            && let Some(&number) = known.waiting.front()
        {
            if !self.transmit(number, now, out) {
                // Out of Message IDs: tried again when the next one ends, or when it is due.
                self.wheel.set(number, now.saturating_add(self.settings.transmission.ack_timeout), now);
                return;
            }
            if let Some(known) = self.peers.get_mut(slot) {
                known.waiting.pop_front();
            }
        }
    }

    /// Tries once more to transmit what waited for a Message ID.
    pub(super) fn retry_waiting(&mut self, number: u32, now: Time, out: &mut Outgoing<P>) {
        if let Some(slot) = self.exchanges.get_mut(number).map(|exchange| exchange.peer) {
            self.start_waiting(slot, now, out);
        }
    }
}

/// The datagram with the Message ID `id`.
pub(super) fn with_id(datagram: &mut [u8], id: u16) -> &[u8] {
    if let Some(place) = datagram.get_mut(2..4) {
        place.copy_from_slice(&id.to_be_bytes());
    }
    datagram
}
