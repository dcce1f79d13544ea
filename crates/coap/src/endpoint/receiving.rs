//! What a datagram means: the arrival side of the message layer (RFC 7252 §4.2 to §4.5).

use core::hash::Hash;

use super::{Endpoint, Incoming, Outgoing, Receipt, Reply, Stage, Tag, exchange::State, seconds};
use crate::{
    Code, Datagram, Kind, Limits, Message, Number, Reaction, Time, Writer, datagram,
    reliability::seen::Answer,
};

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// Takes in a datagram that was sent to this endpoint alone.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        peer: P,
        bytes: &'a [u8],
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Incoming<'a, P> {
        let Datagram { kind, id, message } = match datagram::decode(bytes, &self.settings.codec) {
            Ok(datagram) => datagram,
            Err(malformed) => {
                self.statistics.malformed += 1;
                if let Reaction::Reset(id) = malformed.reaction() {
                    self.send_empty(peer, Kind::Reset, id, out);
                }
                return Incoming::Nothing;
            }
        };
        if self.settings.transmission.probing_rate.is_some() {
            self.heard_of(peer);
        }
        match kind {
            _ if message.code.is_request() && self.settings.codec.too_long(message.token) => {
                self.refuse_token(peer, kind, id, message.token, out);
                Incoming::Nothing
            }
            Kind::Confirmable if message.code.is_request() => {
                if is_read(&message) && seconds(now) >= self.reads_kept_until {
                    return request(peer, None, id, Stage::Read, message);
                }
                self.receive_request(peer, id, message, now, out)
            }
            Kind::Confirmable if message.code.is_response() => {
                self.receive_separate_response(peer, id, message, now, out)
            }
            Kind::Confirmable => {
                self.statistics.pings += u64::from(message.code.is_empty());
                self.send_empty(peer, Kind::Reset, id, out);
                Incoming::Nothing
            }
            Kind::NonConfirmable if message.code.is_request() => {
                self.receive_non_confirmable_request(peer, id, message, Stage::NonConfirmable, now)
            }
            Kind::NonConfirmable => self.receive_non_confirmable_response(peer, id, message, now, out),
            Kind::Acknowledgement => self.receive_acknowledgement(peer, id, message, now, out),
            Kind::Reset => self.receive_reset(peer, id, now, out),
        }
    }

    /// Takes in a datagram that was sent to a group (§8.1, §8.2): only Non-confirmable requests are listened to, and nothing
    /// is ever rejected.
    pub fn receive_multicast<'a>(&mut self, peer: P, bytes: &'a [u8], now: Time) -> Incoming<'a, P> {
        match datagram::decode(bytes, &self.settings.codec) {
            Ok(Datagram { kind: Kind::NonConfirmable, id, message }) if message.code.is_request() => {
                if self.settings.codec.too_long(message.token) {
                    return Incoming::Nothing;
                }
                self.receive_non_confirmable_request(peer, id, message, Stage::Multicast, now)
            }
            Ok(_) => Incoming::Nothing,
            Err(_) => {
                self.statistics.malformed += 1;
                Incoming::Nothing
            }
        }
    }

    /// A Confirmable request that may have come before.
    fn receive_request<'a>(
        &mut self,
        peer: P,
        id: u16,
        message: Message<'a>,
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Incoming<'a, P> {
        let read = is_read(&message);
        let slot = if read { self.peers.find(peer) } else { self.known_peer(peer, now) };
        let Some(slot) = slot else {
            // No room for one more peer, or nothing to remember: carried out again rather than not at all.
            return request(peer, None, id, Stage::Read, message);
        };
        if self.answer_duplicate(peer, slot, id, now, out) {
            return Incoming::Nothing;
        }
        if read {
            return request(peer, None, id, Stage::Read, message);
        }
        self.remember(slot, id, self.exchange_lifetime, now, Answer::Silence);
        request(peer, Some(slot), id, Stage::Kept, message)
    }

    /// A Confirmable message with a response: one that did not fit into the acknowledgement, or a notification.
    fn receive_separate_response<'a>(
        &mut self,
        peer: P,
        id: u16,
        message: Message<'a>,
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Incoming<'a, P> {
        let slot = self.known_peer(peer, now);
        if let Some(slot) = slot {
            if self.answer_duplicate(peer, slot, id, now, out) {
                return Incoming::Nothing;
            }
            self.remember(slot, id, self.exchange_lifetime, now, Answer::Silence);
        }
        let request = self.end_by_token(peer, message.token, now, out);
        let receipt = Receipt { peer, slot, id, kind: Kind::Confirmable };
        Incoming::Response { receipt, message, request }
    }

    /// A request that is neither acknowledged nor rejected. A duplicate is passed over (§4.5), unless to carry it out again
    /// changes nothing.
    fn receive_non_confirmable_request<'a>(
        &mut self,
        peer: P,
        id: u16,
        message: Message<'a>,
        stage: Stage,
        now: Time,
    ) -> Incoming<'a, P> {
        if !is_read(&message)
            && let Some(slot) = self.known_peer(peer, now)
        {
            if self.peers.seen_answer(slot, id, seconds(now)).is_some() {
                self.statistics.duplicates += 1;
                return Incoming::Nothing;
            }
            self.remember(slot, id, self.non_lifetime, now, Answer::Silence);
        }
        request(peer, None, id, stage, message)
    }

    fn receive_non_confirmable_response<'a>(
        &mut self,
        peer: P,
        id: u16,
        message: Message<'a>,
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Incoming<'a, P> {
        let request = self.end_by_token(peer, message.token, now, out);
        let receipt = Receipt { peer, slot: None, id, kind: Kind::NonConfirmable };
        Incoming::Response { receipt, message, request }
    }

    fn receive_acknowledgement<'a>(
        &mut self,
        peer: P,
        id: u16,
        message: Message<'a>,
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Incoming<'a, P> {
        let Some((slot, number)) = self.in_flight(peer, id) else { return Incoming::Nothing };
        let Some(exchange) = self.exchanges.get_mut(number) else { return Incoming::Nothing };
        if !message.code.is_empty() {
            // §5.3.2: the token has to match too.
            if !is_request_with(&exchange.datagram, message.token) {
                return Incoming::Nothing;
            }
            let request = self.end(number, now, out);
            let receipt = Receipt { peer, slot: Some(slot), id, kind: Kind::Acknowledgement };
            return Incoming::Response { receipt, message, request };
        }
        if matches!(exchange.state, State::InFlight { replaced: true, .. }) {
            // RFC 7641 §4.5.2: what was acknowledged is outdated; the current representation goes out at once.
            self.start_over(number, id, now, out);
            return Incoming::Nothing;
        }
        match self.end(number, now, out) {
            Some(tag) => Incoming::Acknowledged { tag },
            None => Incoming::Nothing,
        }
    }

    fn receive_reset<'a>(&mut self, peer: P, id: u16, now: Time, out: &mut Outgoing<P>) -> Incoming<'a, P> {
        if let Some((_, number)) = self.in_flight(peer, id) {
            return match self.end(number, now, out) {
                Some(tag) => Incoming::Rejected { tag },
                None => Incoming::Nothing,
            };
        }
        let Some(known) = self.peers.find(peer).and_then(|slot| self.peers.get_mut(slot)) else {
            return Incoming::Nothing;
        };
        match known.resettable.iter().position(|&(sent, _)| sent == id) {
            Some(position) => match known.resettable.remove(position) {
                Some((_, tag)) => Incoming::Rejected { tag },
                None => Incoming::Nothing,
            },
            None => Incoming::Nothing,
        }
    }

    /// RFC 8974 §2.2.2: a token that is too long is answered with 4.00, lest the peer believe that extended tokens are not
    /// known at all.
    fn refuse_token(&mut self, peer: P, kind: Kind, id: u16, token: &[u8], out: &mut Outgoing<P>) {
        let kind = if kind == Kind::Confirmable { Kind::Acknowledgement } else { Kind::NonConfirmable };
        out.push_with(peer, |bytes| Writer::datagram(bytes, kind, id, Code::BAD_REQUEST, token).finish());
    }

    /// Answers a duplicate as the first arrival was answered; `false` if it is none.
    fn answer_duplicate(&mut self, peer: P, slot: u32, id: u16, now: Time, out: &mut Outgoing<P>) -> bool {
        let Some(answer) = self.peers.seen_answer(slot, id, seconds(now)) else { return false };
        self.statistics.duplicates += 1;
        match answer {
            Answer::Silence => {}
            Answer::Acknowledge => push_empty(peer, Kind::Acknowledgement, id, out),
            Answer::Reset => push_empty(peer, Kind::Reset, id, out),
            Answer::Short(..) | Answer::Long(_) => out.push(peer, answer.as_datagram().unwrap_or_default()),
        }
        true
    }

    /// The slot of the peer and the number of the Confirmable message `id` to it.
    fn in_flight(&self, peer: P, id: u16) -> Option<(u32, u32)> {
        let slot = self.peers.find(peer)?;
        let known = self.peers.get(slot)?;
        known.in_flight.iter().find(|&&(sent, _)| sent == id).map(|&(_, number)| (slot, number))
    }

    /// Ends the Confirmable request with this token that a response overtook the acknowledgement of (§5.3.2).
    fn end_by_token(&mut self, peer: P, token: &[u8], now: Time, out: &mut Outgoing<P>) -> Option<Tag> {
        if self.exchanges.len() == 0 {
            return None;
        }
        let slot = self.peers.find(peer)?;
        let Self { peers, exchanges, .. } = self;
        let number = peers.get(slot)?.in_flight.iter().map(|&(_, number)| number).find(|&number| {
            exchanges.get_mut(number).is_some_and(|exchange| is_request_with(&exchange.datagram, token))
        })?;
        self.end(number, now, out)
    }

    /// §4.7: the peer is not silent.
    fn heard_of(&mut self, peer: P) {
        if let Some(known) = self.peers.find(peer).and_then(|slot| self.peers.get_mut(slot)) {
            known.heard();
        }
    }

    /// The slot of the peer, which is known from now on if there is room.
    pub(super) fn known_peer(&mut self, peer: P, now: Time) -> Option<u32> {
        let Self { peers, random, settings, .. } = self;
        peers.find_or_add(peer, seconds(now), settings.bounds.peers, || random.next_u64() as u16)
    }

    pub(super) fn remember(&mut self, slot: u32, id: u16, lifetime: u32, now: Time, answer: Answer) {
        let now = seconds(now);
        self.peers.remember(slot, id, (now, now.saturating_add(lifetime)), &self.settings.bounds, answer);
    }

    /// Sends an Empty message.
    #[inline]
    pub(super) fn send_empty(&mut self, peer: P, kind: Kind, id: u16, out: &mut Outgoing<P>) {
        self.statistics.resets += u64::from(kind == Kind::Reset);
        push_empty(peer, kind, id, out);
    }
}

#[inline]
fn push_empty<P>(peer: P, kind: Kind, id: u16, out: &mut Outgoing<P>) {
    let [high, low] = id.to_be_bytes();
    out.push(peer, &[0x40 | kind.bits() << 4, Code::EMPTY.0, high, low]);
}

#[inline]
fn request<'a, P>(
    peer: P,
    slot: Option<u32>,
    id: u16,
    stage: Stage,
    message: Message<'a>,
) -> Incoming<'a, P> {
    Incoming::Request { reply: Reply { peer, slot, id, stage, tag: None }, message }
}

/// The request may be carried out again instead of being recognised as a duplicate. A FETCH may not when it is a block of a
/// larger one, or protected by OSCORE, whose replay window refuses the repetition.
#[inline]
fn is_read(message: &Message<'_>) -> bool {
    match message.code {
        Code::GET => true,
        Code::FETCH => !message.options.contains(Number::BLOCK1) && !message.options.contains(Number::OSCORE),
        _ => false,
    }
}

/// The datagram, one of ours, is a request with this token.
fn is_request_with(datagram: &[u8], token: &[u8]) -> bool {
    match datagram::decode(datagram, &Limits::protocol()) {
        Ok(sent) => sent.message.code.is_request() && sent.message.token == token,
        Err(_) => false,
    }
}
