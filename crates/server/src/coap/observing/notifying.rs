//! What is sent when something has changed.

use std::sync::Arc;

use tercet_coap::block::{Block, Carrier, Slice};
use tercet_coap::endpoint::{Heading, Tag};
use tercet_coap::oscore::ProtectError;
use tercet_coap::{Code, OptionBuf, Options, OwnedMessage, Writer};

use crate::coap::answer::Lease;
use crate::coap::exchange::bodies;
use crate::coap::exchange::writing::{self, Framing};
use crate::coap::node::{Node, Turn};
use crate::coap::resources::{self, Changes};
use crate::coap::response::Response;

/// A notification as all observers get it, but for the token: of a large body the first block (RFC 7959 §2.6).
struct Encoded<'a> {
    carrier: Carrier,
    options: OptionBuf,
    payload: &'a [u8],
}

impl<'a> Encoded<'a> {
    fn new(response: &'a Response, sequence: u32, carrier: Carrier) -> Self {
        let body = response.body.as_bytes();
        let whole = Slice { range: 0..body.len(), block: None, size2: None };
        let Slice { range, block, size2 } = bodies::slice(body.len(), None, carrier).unwrap_or(whole);
        let block2 = block.map(Block::to_uint);
        let framing = Framing { observe: Some(sequence), block2, size2, ..Framing::default() };
        let options = writing::options(response, &framing);
        Self { carrier, options, payload: body.get(range).unwrap_or_default() }
    }
}

/// What of a message is written behind its token.
fn parts(message: &OwnedMessage) -> (Code, Options<'_>, &[u8]) {
    (message.code, message.options.as_options(), &message.payload)
}

impl Node {
    /// The watch with this number has fired.
    pub fn notify(&mut self, number: u32, turn: &mut Turn<'_>) {
        let Some(watched) = self.observers.watches.get_mut(number as usize) else { return };
        let mut changes = std::mem::take(&mut self.observers.changes);
        let taken = watched.watch.take(|topic, change| changes.push((topic.clone(), change)));
        if taken.topics > 0 || taken.overflowed {
            let sequence = watched.next_sequence();
            let groups = watched.groups.len();
            let filter = Arc::clone(watched.watch.filter());
            let changes = Changes { filter: &filter, topics: &changes, overflowed: taken.overflowed };
            for group in 0..groups {
                self.notify_group(number, group, sequence, &changes, turn);
            }
        } else {
            self.thin_out(number, turn);
        }
        changes.clear();
        self.observers.changes = changes;
    }

    /// Ends observations for which there are no places any more.
    fn thin_out(&mut self, number: u32, turn: &mut Turn<'_>) {
        let Some(watched) = self.observers.watches.get(number as usize) else { return };
        let members: Vec<u32> =
            watched.groups.iter().flat_map(|group| group.members.iter().copied()).collect();
        let gives_way = |slot: &u32| {
            let observer = self.observers.observers.get_mut(*slot as usize);
            observer.and_then(|observer| observer.lease.as_mut()).is_some_and(Lease::give_way)
        };
        let leaving: Vec<u32> = members.into_iter().filter(gives_way).collect();
        self.end_all(&leaving, &Response::new(Code::NOT_FOUND));
        for slot in leaving {
            self.observers.remove(slot, &mut self.outlet, turn);
        }
    }

    /// Tells one group of observers.
    fn notify_group(
        &mut self,
        number: u32,
        group: usize,
        sequence: u32,
        changes: &Changes<'_>,
        turn: &mut Turn<'_>,
    ) {
        let Some(found) = self.observers.group(number, group) else { return };
        if found.members.is_empty() {
            return;
        }
        let (form, caller) = (found.form, found.caller.clone());
        let response = resources::notification(form, changes, &caller, &mut self.context(turn));
        let Some(response) = response else { return };
        let Some(found) = self.observers.group(number, group) else { return };
        let members = std::mem::take(&mut found.members);
        if response.code.is_success() {
            let unreachable = self.send_to_all(&members, &response, sequence);
            if let Some(found) = self.observers.group(number, group) {
                found.members = members;
            }
            for slot in unreachable {
                self.observers.remove(slot, &mut self.outlet, turn);
            }
        } else {
            self.end_all(&members, &response);
            for slot in members {
                self.observers.remove(slot, &mut self.outlet, turn);
            }
        }
    }

    /// Sends a notification to all of these, encoded once. Returns those to whom nothing can be sent any more: their
    /// OSCORE context is at its end.
    fn send_to_all(&mut self, members: &[u32], response: &Response, sequence: u32) -> Vec<u32> {
        let largest = self.settings.largest_block();
        let mut encoded = Encoded::new(response, sequence, Carrier::Datagram(largest));
        let every = self.settings.confirm_every;
        let outlet = &mut self.outlet;
        let mut unreachable = Vec::new();
        for &slot in members {
            let Some(observer) = self.observers.observers.get_mut(slot as usize) else { continue };
            let carrier = observer.origin.carrier(largest.min(observer.block));
            if carrier != encoded.carrier {
                encoded = Encoded::new(response, sequence, carrier);
            }
            let plain = (response.code, encoded.options.as_options(), encoded.payload);
            let protected = match observer.protect(plain.0, plain.1, plain.2) {
                Ok(protected) => protected,
                Err(error) => {
                    // While no sequence number is stored, it waits for the next change.
                    if error == ProtectError::Exhausted {
                        unreachable.push(slot);
                    }
                    continue;
                }
            };
            let (code, options, payload) = protected.as_ref().map_or(plain, parts);
            let write = |writer: &mut Writer<'_>| {
                writer.options(options).payload(payload);
            };
            let heading = Heading { code, token: observer.token.as_bytes(), tag: observer.tag(slot) };
            if let Some(handle) = observer.outstanding {
                if outlet.endpoint.replace(handle, heading, write) {
                    continue;
                }
                observer.outstanding = None;
            }
            // One that the message layer does not take now is told of the next change.
            if observer.is_to_confirm(every, outlet.time) {
                if let Ok(handle) = outlet.send_confirmable(observer.origin, heading, write) {
                    observer.sent(handle, true, outlet.time);
                }
            } else if outlet.send_once(observer.origin, heading, write).is_ok() {
                observer.sent(None, false, outlet.time);
            }
            self.counters.notifications += 1;
        }
        unreachable
    }

    /// Sends a last notification, which ends the relation (RFC 7641 §4.2): it carries no number.
    pub(super) fn end_all(&mut self, members: &[u32], response: &Response) {
        let options = writing::options(response, &Framing::default());
        let plain = (response.code, options.as_options(), response.body.as_bytes());
        for &slot in members {
            let Some(observer) = self.observers.observers.get_mut(slot as usize) else { continue };
            if let Some(handle) = observer.outstanding.take() {
                self.outlet.endpoint.cancel(handle, self.outlet.time, &mut self.outlet.datagrams);
            }
            let Ok(protected) = observer.protect(plain.0, plain.1, plain.2) else { continue };
            let (code, options, payload) = protected.as_ref().map_or(plain, parts);
            let heading = Heading { code, token: observer.token.as_bytes(), tag: Tag::default() };
            let sent = self.outlet.send_confirmable(observer.origin, heading, |writer: &mut Writer<'_>| {
                writer.options(options).payload(payload);
            });
            self.counters.notifications += u64::from(sent.is_ok());
        }
    }

    /// Tells every observer that the server goes.
    pub fn end_observations(&mut self, turn: &mut Turn<'_>) {
        let all: Vec<u32> = self.observers.observers.iter().map(|(slot, _)| slot as u32).collect();
        self.end_all(&all, &Response::new(Code::SERVICE_UNAVAILABLE));
        for slot in all {
            self.observers.remove(slot, &mut self.outlet, turn);
        }
    }
}
