//! Answering requests and responses: piggybacked, separately, later or not at all (RFC 7252 §5.2).

use core::hash::Hash;

use super::{Endpoint, Handle, Heading, Outgoing, Receipt, Reply, Stage, Tag, exchange::State};
use crate::{Code, Kind, Time, Writer, reliability::seen::Answer};

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// Answers a request with `code`, the request's `token` and what `write` adds.
    ///
    /// The answer travels in the acknowledgement as long as none was sent, else in a Confirmable message of its own, whose
    /// handle is returned. A Non-confirmable request is answered with a Non-confirmable message; one that was sent to a group
    /// some time within the leisure, and not at all with an error (§8.2).
    #[inline]
    pub fn respond(
        &mut self,
        reply: Reply<P>,
        code: Code,
        token: &[u8],
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Option<Handle> {
        let Reply { peer, slot, id, stage, tag } = reply;
        match stage {
            Stage::Read => {
                out.push_with(peer, |bytes| {
                    write(&mut Writer::datagram(bytes, Kind::Acknowledgement, id, code, token));
                });
                None
            }
            Stage::Kept => {
                let answer = out.push_with(peer, |bytes| {
                    write(&mut Writer::datagram(bytes, Kind::Acknowledgement, id, code, token));
                });
                if let Some(slot) = self.still(slot, peer) {
                    self.peers.set_answer(slot, id, Answer::datagram(answer));
                }
                None
            }
            Stage::Acknowledged => {
                let heading = Heading { code, token, tag: tag.unwrap_or_default() };
                self.respond_separately(peer, heading, tag, write, now, out)
            }
            Stage::NonConfirmable => {
                let id = self.id_of_response(peer, tag, now);
                out.push_with(peer, |bytes| {
                    write(&mut Writer::datagram(bytes, Kind::NonConfirmable, id, code, token));
                });
                None
            }
            Stage::Multicast => {
                if code.is_success() {
                    self.respond_within_leisure(peer, code, token, write, now);
                }
                None
            }
        }
    }

    /// Acknowledges a Confirmable request whose answer is not known yet, so that the peer stops to retransmit: the answer
    /// will be a message of its own (§5.2.2). To be called some time before the peer's ACK_TIMEOUT; 1 s after arrival is
    /// right. Further calls do nothing.
    pub fn acknowledge_later(&mut self, reply: &mut Reply<P>, now: Time, out: &mut Outgoing<P>) {
        if matches!(reply.stage, Stage::Read | Stage::Kept) {
            self.settle(reply, Answer::Acknowledge, now);
            self.send_empty(reply.peer, Kind::Acknowledgement, reply.id, out);
            reply.stage = Stage::Acknowledged;
        }
    }

    /// Gives no response, as No-Response (RFC 7967) asks or because it is forbidden; a Confirmable request still gets its
    /// acknowledgement.
    pub fn suppress(&mut self, mut reply: Reply<P>, now: Time, out: &mut Outgoing<P>) {
        self.acknowledge_later(&mut reply, now, out);
    }

    /// Rejects a request with a Reset, as one does that lacks the context to process it (§4.2, §4.3). After it was
    /// acknowledged, and to a group, nothing is sent.
    pub fn reject(&mut self, reply: Reply<P>, now: Time, out: &mut Outgoing<P>) {
        match reply.stage {
            Stage::Read | Stage::Kept => {
                self.settle(&reply, Answer::Reset, now);
                self.send_empty(reply.peer, Kind::Reset, reply.id, out);
            }
            Stage::NonConfirmable => self.send_empty(reply.peer, Kind::Reset, reply.id, out),
            Stage::Acknowledged | Stage::Multicast => {}
        }
    }

    /// Accepts a response whose token is known: a Confirmable one is acknowledged, now and whenever it comes again.
    pub fn accept(&mut self, receipt: Receipt<P>, out: &mut Outgoing<P>) {
        if receipt.kind == Kind::Confirmable {
            if let Some(slot) = self.still(receipt.slot, receipt.peer) {
                self.peers.set_answer(slot, receipt.id, Answer::Acknowledge);
            }
            self.send_empty(receipt.peer, Kind::Acknowledgement, receipt.id, out);
        }
    }

    /// Refuses a response that nobody waits for, with a Reset: it ends an observation that this side has forgotten (§4.2,
    /// RFC 7641 §3.6). A piggybacked one is passed over, as Acknowledgements are never answered.
    pub fn refuse(&mut self, receipt: Receipt<P>, out: &mut Outgoing<P>) {
        if receipt.kind == Kind::Acknowledgement {
            return;
        }
        if let Some(slot) = self.still(receipt.slot, receipt.peer) {
            self.peers.set_answer(slot, receipt.id, Answer::Reset);
        }
        self.send_empty(receipt.peer, Kind::Reset, receipt.id, out);
    }

    /// Sets what duplicates of a Confirmable request are answered.
    fn settle(&mut self, reply: &Reply<P>, answer: Answer, now: Time) {
        if reply.stage == Stage::Read {
            // Now it matters that a duplicate is recognised: the answer may be under way separately.
            if let Some(slot) = self.known_peer(reply.peer, now) {
                self.remember(slot, reply.id, self.exchange_lifetime, now, answer);
                self.reads_kept_until = super::seconds(now).saturating_add(self.exchange_lifetime);
            }
        } else if let Some(slot) = self.still(reply.slot, reply.peer) {
            self.peers.set_answer(slot, reply.id, answer);
        }
    }

    /// The slot, if it still is the peer's.
    fn still(&self, slot: Option<u32>, peer: P) -> Option<u32> {
        slot.filter(|&slot| self.peers.get(slot).is_some_and(|known| known.name == peer))
    }

    /// A Message ID for a Non-confirmable response. A peer that asks more often than Message IDs last gets an answer all the
    /// same, under the ID that was used the longest time ago: it uses its own ones again too.
    fn id_of_response(&mut self, peer: P, tag: Option<Tag>, now: Time) -> u16 {
        let (second, lifetime) = (super::seconds(now), self.exchange_lifetime);
        let Some(known) = self.known_peer(peer, now).and_then(|slot| self.peers.get_mut(slot)) else {
            return self.random.next_u64() as u16;
        };
        let id = known.ids.next(second, lifetime).unwrap_or_else(|| {
            self.statistics.reused_ids += 1;
            known.ids.reuse(second, lifetime)
        });
        if let Some(tag) = tag {
            known.resettable_as(id, tag, self.settings.bounds.resettable_per_peer);
        }
        id
    }

    #[cold]
    fn respond_separately(
        &mut self,
        peer: P,
        heading: Heading<'_>,
        tag: Option<Tag>,
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
        out: &mut Outgoing<P>,
    ) -> Option<Handle> {
        match self.start(peer, heading, tag, write, now, out) {
            Ok(handle) => Some(handle),
            Err(_) => {
                self.statistics.unsent += 1;
                None
            }
        }
    }

    /// Puts an answer off to a random moment within the leisure, so that not all of a group answer at once.
    #[cold]
    fn respond_within_leisure(
        &mut self,
        peer: P,
        code: Code,
        token: &[u8],
        write: impl FnOnce(&mut Writer<'_>),
        now: Time,
    ) {
        let leisure = self.settings.transmission.leisure;
        let delay =
            Time::from_micros(self.random.up_to(u64::try_from(leisure.as_micros()).unwrap_or(u64::MAX)));
        let heading = Heading { code, token, tag: Tag::default() };
        match self.prepare(peer, (Kind::NonConfirmable, heading), None, write, now) {
            Ok(number) => {
                if let Some(exchange) = self.exchanges.get_mut(number) {
                    exchange.state = State::Delayed;
                    if let Some(known) = self.peers.get_mut(exchange.peer) {
                        known.delayed = known.delayed.saturating_add(1);
                    }
                }
                self.wheel.set(number, now.saturating_add(delay), now);
            }
            Err(_) => self.statistics.unsent += 1,
        }
    }
}
