//! Requests whose answer has to wait: for the log, or for what another thread finds out.
//!
//! A datagram's sender is told after a second that its request has arrived (RFC 7252 §5.2.2), so that it does not send it
//! again; the answer then travels in a message of its own.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use slab::Slab;
use tercet_broker::journal::Position;
use tercet_coap::{OwnedMessage, Time};

use super::pipeline::Exchange;
use crate::coap::answer::Continuation;
use crate::coap::caller::Caller;
use crate::coap::context::Ticket;
use crate::coap::outlet::Outlet;
use crate::coap::peer::Origin;
use crate::coap::response::Response;

/// When a request that has no answer yet is acknowledged.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_secs(1);
/// When nobody counts on an answer any more (MAX_TRANSMIT_WAIT, RFC 7252 §4.8.2).
const GIVE_UP_AFTER: Duration = Duration::from_secs(93);

/// The requests of a reactor that wait.
#[derive(Default)]
pub struct Waiting {
    entries: Slab<Entry>,
    /// In the order of their positions, which is that of their coming.
    for_log: VecDeque<(Position, Name)>,
    by_ticket: HashMap<u32, Name>,
    to_acknowledge: VecDeque<(Time, Name)>,
    to_give_up: VecDeque<(Time, Name)>,
    serial: u32,
}

/// Names an entry: its place, and a serial that tells successive owners of a place apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    slot: u32,
    serial: u32,
}

struct Entry {
    serial: u32,
    exchange: Exchange,
    what: What,
}

enum What {
    Log(Response),
    Ticket(Ticket, Box<Suspended>),
}

/// A request that waits for what another thread finds out.
pub struct Suspended {
    /// The request.
    pub message: OwnedMessage,
    /// Who asks.
    pub caller: Caller,
    /// What goes on then.
    pub then: Continuation,
}

/// A request that is waited for no longer.
pub enum GivenUp {
    /// Its log position never came.
    Log(Exchange),
    /// Its ticket was never answered.
    Ticket(Exchange, Box<Suspended>),
}

impl Waiting {
    /// Requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a request from there waits.
    #[must_use]
    pub fn contains_origin(&self, origin: Origin) -> bool {
        self.entries.iter().any(|(_, entry)| entry.exchange.to.origin() == origin)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The earliest position that is waited for.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.for_log.front().map(|(position, _)| *position)
    }

    /// Keeps a response until the log is durable up to `position`.
    pub fn for_log(&mut self, exchange: Exchange, position: Position, response: Response, now: Time) {
        let name = self.insert(exchange, What::Log(response), now);
        self.for_log.push_back((position, name));
    }

    /// Keeps a request until its ticket is answered.
    pub fn for_ticket(&mut self, exchange: Exchange, ticket: Ticket, request: Suspended, now: Time) {
        let name = self.insert(exchange, What::Ticket(ticket, Box::new(request)), now);
        self.by_ticket.insert(ticket.number, name);
    }

    /// Takes the next response whose position is durable.
    pub fn next_durable(&mut self, durable: Position) -> Option<(Exchange, Response)> {
        loop {
            let (position, name) = *self.for_log.front()?;
            if position > durable && self.contains(name) {
                return None;
            }
            self.for_log.pop_front();
            if let Some(Entry { exchange, what: What::Log(response), .. }) = self.remove(name) {
                return Some((exchange, response));
            }
        }
    }

    /// Takes the next one that waits for a log that has failed.
    pub fn next_for_log(&mut self) -> Option<Exchange> {
        while let Some((_, name)) = self.for_log.pop_front() {
            if let Some(entry) = self.remove(name) {
                return Some(entry.exchange);
            }
        }
        None
    }

    /// Takes the request that holds a ticket.
    pub fn take(&mut self, ticket: Ticket) -> Option<(Exchange, Box<Suspended>)> {
        let name = self.by_ticket.remove(&ticket.number)?;
        match self.remove(name)? {
            Entry { exchange, what: What::Ticket(_, request), .. } => Some((exchange, request)),
            Entry { what: What::Log(_), .. } => None,
        }
    }

    /// When [`acknowledge_due`](Self::acknowledge_due) and [`give_up_due`](Self::give_up_due) are to be called next.
    pub fn next_due(&mut self) -> Option<Time> {
        let front = |queue: &mut VecDeque<(Time, Name)>, entries: &Slab<Entry>| {
            while let Some((time, name)) = queue.front() {
                if entries.get(name.slot as usize).is_some_and(|entry| entry.serial == name.serial) {
                    return Some(*time);
                }
                queue.pop_front();
            }
            None
        };
        let acknowledge = front(&mut self.to_acknowledge, &self.entries);
        let give_up = front(&mut self.to_give_up, &self.entries);
        [acknowledge, give_up].into_iter().flatten().min()
    }

    /// Acknowledges those that have waited for a second.
    pub fn acknowledge_due(&mut self, outlet: &mut Outlet) {
        while let Some((time, name)) = self.to_acknowledge.front().copied() {
            let entry = self.entries.get_mut(name.slot as usize).filter(|entry| entry.serial == name.serial);
            if let Some(entry) = entry {
                if time > outlet.time {
                    return;
                }
                if let Some(reply) = entry.exchange.to.datagram_mut() {
                    outlet.endpoint.acknowledge_later(reply, outlet.time, &mut outlet.datagrams);
                }
            }
            self.to_acknowledge.pop_front();
        }
    }

    /// Takes the next one that has waited for too long.
    pub fn give_up_due(&mut self, now: Time) -> Option<GivenUp> {
        while let Some((time, name)) = self.to_give_up.front().copied() {
            if time > now && self.contains(name) {
                return None;
            }
            self.to_give_up.pop_front();
            match self.remove(name) {
                Some(Entry { exchange, what: What::Log(_), .. }) => return Some(GivenUp::Log(exchange)),
                Some(Entry { exchange, what: What::Ticket(ticket, request), .. }) => {
                    self.by_ticket.remove(&ticket.number);
                    return Some(GivenUp::Ticket(exchange, request));
                }
                None => {}
            }
        }
        None
    }

    fn insert(&mut self, exchange: Exchange, what: What, now: Time) -> Name {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let slot = self.entries.insert(Entry { serial, exchange, what }) as u32;
        let name = Name { slot, serial };
        self.to_acknowledge.push_back((now + ACKNOWLEDGE_AFTER, name));
        self.to_give_up.push_back((now + GIVE_UP_AFTER, name));
        name
    }

    fn contains(&self, name: Name) -> bool {
        self.entries.get(name.slot as usize).is_some_and(|entry| entry.serial == name.serial)
    }

    fn remove(&mut self, name: Name) -> Option<Entry> {
        if !self.contains(name) {
            return None;
        }
        self.entries.try_remove(name.slot as usize)
    }
}
