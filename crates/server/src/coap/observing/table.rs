//! All observers of a reactor, by filter and by client.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use slab::Slab;
use tercet_broker::outbox::ConnectionRef;
use tercet_broker::watch::{Change, Watch};
use tercet_coap::block::BlockSize;
use tercet_coap::endpoint::Tag;

use super::observer::{Observer, of_tag};
use crate::coap::answer::{Lease, Observation};
use crate::coap::caller::Caller;
use crate::coap::exchange::pipeline::Exchange;
use crate::coap::node::Turn;
use crate::coap::oscore::Protection;
use crate::coap::outlet::Outlet;
use crate::coap::peer::Origin;
use crate::coap::resources::Form;
use crate::coap::settings::{CoapSettings, CoapShared};

/// Notifications are numbered in 24 bits (RFC 7641 §3.4).
const SEQUENCE: u32 = 0x00FF_FFFF;
/// Longest time between two confirmable notifications (RFC 7641 §4.5).
const DAY: u32 = 24 * 60 * 60;

/// The observers of a reactor.
#[derive(Default)]
pub struct Observers {
    pub(super) watches: Slab<Watched>,
    by_filter: HashMap<Arc<str>, u32>,
    pub(super) observers: Slab<Observer>,
    /// The first observer of each client; the others follow it in a chain.
    clients: HashTable<u32>,
    hasher: DefaultHashBuilder,
    serial: u32,
    /// Reused from watch to watch.
    pub(super) changes: Vec<(Arc<str>, Change)>,
}

/// A filter that is watched.
pub(super) struct Watched {
    pub(super) watch: Arc<Watch>,
    pub(super) groups: Vec<Group>,
    /// The number of the last notification.
    pub(super) sequence: u32,
}

/// Observers who are told the same.
pub(super) struct Group {
    pub(super) form: Form,
    /// One for all: whose rights are asked for.
    pub(super) caller: Caller,
    pub(super) members: Vec<u32>,
}

impl Watched {
    fn is_unused(&self) -> bool {
        self.groups.iter().all(|group| group.members.is_empty())
    }

    /// The group of observers with this form and the rights of `caller`: its number and its members.
    fn group_of(&mut self, form: Form, caller: &Caller) -> (u32, &mut Vec<u32>) {
        let found = self.groups.iter().position(|group| group.is_for(form, caller));
        let number = found.unwrap_or_else(|| {
            self.groups.push(Group { form, caller: caller.clone(), members: Vec::new() });
            self.groups.len() - 1
        });
        (number as u32, &mut self.groups[number].members)
    }

    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1) & SEQUENCE;
        self.sequence
    }
}

impl Group {
    fn is_for(&self, form: Form, caller: &Caller) -> bool {
        self.form == form
            && self.caller.identity == caller.identity
            && self.caller.client_id == caller.client_id
            && self.caller.is_local == caller.is_local
    }
}

impl Observers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.observers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.observers.is_empty()
    }

    /// A place for the client that registers, one more than it has unless it has registered the same before (RFC 7641
    /// §4.1); `None` when there is no room.
    #[must_use]
    pub fn place(&self, exchange: &Exchange, settings: &CoapSettings, shared: &CoapShared) -> Option<Lease> {
        let origin = exchange.to.origin();
        let own = self.of_client(origin).take(settings.max_observers_per_peer).count();
        let again = || self.find(origin, exchange.token.as_bytes(), exchange.to.protection()).is_some();
        if own >= settings.max_observers_per_peer && !again() {
            return None;
        }
        shared.observers.set_most(Some(settings.max_observers));
        Lease::take(&shared.observers)
    }

    /// Whether this client observes anything.
    #[must_use]
    pub fn is_observer(&self, origin: Origin) -> bool {
        self.of_client(origin).next().is_some()
    }

    /// The number of the watch of a filter, which begins if nobody observes that yet.
    fn watch(&mut self, observation: &Observation, turn: &mut Turn<'_>) -> u32 {
        let Observation { filter, since, had_value, .. } = observation;
        // What happened since the response was made the watch has not seen, or has told to others.
        let vhost = &turn.shared.vhost;
        if let Some(number) = self.by_filter.get(filter).copied() {
            if let Some(watched) = self.watches.get(number as usize) {
                vhost.catch_up(&watched.watch, *since, *had_value, turn.effects);
            }
            return number;
        }
        let entry = self.watches.vacant_entry();
        let number = entry.key() as u32;
        let watch = vhost.watch(filter, ConnectionRef::watch(turn.reactor, number));
        vhost.catch_up(&watch, *since, *had_value, turn.effects);
        entry.insert(Watched { watch, groups: Vec::new(), sequence: 1 });
        self.by_filter.insert(Arc::clone(filter), number);
        number
    }

    /// Ends the watch of a filter that nobody observes.
    fn unwatch_unused(&mut self, filter: &str, turn: &Turn<'_>) {
        let Some(number) = self.by_filter.get(filter).copied() else { return };
        if self.watches.get(number as usize).is_some_and(Watched::is_unused) {
            self.by_filter.remove(filter);
            let watched = self.watches.remove(number as usize);
            turn.shared.vhost.unwatch(&watched.watch);
        }
    }

    /// Adds an observer, in place of one of the same client and token. Returns the number of the
    /// response as a notification.
    pub fn register(
        &mut self,
        exchange: &Exchange,
        (place_among_all, block): (Lease, BlockSize),
        observation: Observation,
        caller: &Caller,
        outlet: &mut Outlet,
        turn: &mut Turn<'_>,
    ) -> u32 {
        let watch = self.watch(&observation, turn);
        let (origin, token, protection) = (exchange.to.origin(), &exchange.token, exchange.to.protection());
        let old = self.find(origin, token.as_bytes(), protection);
        let Observation { form, lease, check_within, observer, .. } = observation;
        let caller = observer.as_deref().unwrap_or(caller);
        let Self { watches, observers, serial, .. } = self;
        // It is there: it was found or made just now.
        let Some(watched) = watches.get_mut(watch as usize) else { return 0 };
        let (group, members) = watched.group_of(form, caller);
        let entry = observers.vacant_entry();
        let slot = entry.key() as u32;
        *serial = serial.wrapping_add(1).max(1);
        entry.insert(Observer {
            origin,
            token: token.clone(),
            watch,
            group,
            place: members.len() as u32,
            next_of_client: None,
            serial: *serial,
            outstanding: None,
            since_confirmable: None,
            confirmable_at: outlet.time.as_secs() as u32,
            check_within: u32::try_from(check_within.as_secs()).unwrap_or(DAY).min(DAY),
            lease,
            place_among_all,
            block,
            protection: protection.map(|protection| Box::new(protection.for_notifications())),
        });
        members.push(slot);
        let sequence = watched.sequence;
        self.link(slot);
        if let Some(old) = old {
            self.remove(old, outlet, turn);
        }
        sequence
    }

    /// The client with this token does not want to hear any more.
    pub fn deregister(
        &mut self,
        origin: Origin,
        token: &[u8],
        protection: Option<&Protection>,
        outlet: &mut Outlet,
        turn: &Turn<'_>,
    ) {
        if let Some(slot) = self.find(origin, token, protection) {
            self.remove(slot, outlet, turn);
        }
    }

    /// The message that was sent under this tag was acknowledged.
    pub fn acknowledged(&mut self, tag: Tag) {
        let (slot, serial) = of_tag(tag);
        if let Some(observer) = self.observers.get_mut(slot as usize).filter(|one| one.serial == serial) {
            observer.outstanding = None;
        }
    }

    /// The message that was sent under this tag was rejected, or never acknowledged: the observer is gone.
    pub fn gone(&mut self, tag: Tag, outlet: &mut Outlet, turn: &Turn<'_>) {
        let (slot, serial) = of_tag(tag);
        if self.observers.get(slot as usize).is_some_and(|one| one.serial == serial) {
            self.remove(slot, outlet, turn);
        }
    }

    /// A client is gone, with all that it observed.
    pub fn client_gone(&mut self, origin: Origin, outlet: &mut Outlet, turn: &Turn<'_>) {
        while let Some(slot) = self.first_of(origin) {
            self.remove(slot, outlet, turn);
        }
    }

    /// Removes an observer.
    pub(super) fn remove(&mut self, slot: u32, outlet: &mut Outlet, turn: &Turn<'_>) {
        self.unlink(slot);
        let Some(observer) = self.observers.try_remove(slot as usize) else { return };
        if let Some(handle) = observer.outstanding {
            outlet.endpoint.cancel(handle, outlet.time, &mut outlet.datagrams);
        }
        let Some(watched) = self.watches.get_mut(observer.watch as usize) else { return };
        if let Some(group) = watched.groups.get_mut(observer.group as usize) {
            let place = observer.place as usize;
            if group.members.get(place) == Some(&slot) {
                group.members.swap_remove(place);
                let moved = group.members.get(place).copied();
                if let Some(moved) = moved.and_then(|moved| self.observers.get_mut(moved as usize)) {
                    moved.place = observer.place;
                }
            }
        }
        if watched.is_unused() {
            let filter = Arc::clone(watched.watch.filter());
            self.unwatch_unused(&filter, turn);
        }
    }

    /// A group of the observers of a watch.
    pub(super) fn group(&mut self, watch: u32, group: usize) -> Option<&mut Group> {
        self.watches.get_mut(watch as usize)?.groups.get_mut(group)
    }

    /// The observer of this client and token, which was registered under the same protection as is shown now.
    fn find(&self, origin: Origin, token: &[u8], protection: Option<&Protection>) -> Option<u32> {
        self.of_client(origin).find(|slot| {
            self.observers.get(*slot as usize).is_some_and(|observer| {
                observer.token.as_bytes() == token
                    && observer.protection.as_deref().map(Protection::salt)
                        == protection.map(Protection::salt)
            })
        })
    }

    fn first_of(&self, origin: Origin) -> Option<u32> {
        let hash = self.hasher.hash_one(origin);
        self.clients.find(hash, |slot| self.is_of(*slot, origin)).copied()
    }

    fn is_of(&self, slot: u32, origin: Origin) -> bool {
        self.observers.get(slot as usize).is_some_and(|observer| observer.origin == origin)
    }

    fn of_client(&self, origin: Origin) -> impl Iterator<Item = u32> {
        std::iter::successors(self.first_of(origin), |slot| {
            self.observers.get(*slot as usize).and_then(|observer| observer.next_of_client)
        })
    }

    /// Puts an observer in front of the others of its client.
    fn link(&mut self, slot: u32) {
        let Some(origin) = self.observers.get(slot as usize).map(|observer| observer.origin) else { return };
        let first = self.first_of(origin);
        if let Some(observer) = self.observers.get_mut(slot as usize) {
            observer.next_of_client = first;
        }
        self.set_first(origin, first, Some(slot));
    }

    fn unlink(&mut self, slot: u32) {
        let Some(observer) = self.observers.get(slot as usize) else { return };
        let (origin, next) = (observer.origin, observer.next_of_client);
        let first = self.first_of(origin);
        if first == Some(slot) {
            return self.set_first(origin, first, next);
        }
        let is_before = |at: &u32| {
            self.observers.get(*at as usize).is_some_and(|observer| observer.next_of_client == Some(slot))
        };
        let before = self.of_client(origin).find(is_before);
        if let Some(before) = before.and_then(|before| self.observers.get_mut(before as usize)) {
            before.next_of_client = next;
        }
    }

    fn set_first(&mut self, origin: Origin, old: Option<u32>, new: Option<u32>) {
        let hash = self.hasher.hash_one(origin);
        let (observers, hasher) = (&self.observers, &self.hasher);
        if let Some(old) = old
            && let Ok(entry) = self.clients.find_entry(hash, |slot| *slot == old)
        {
            entry.remove();
        }
        if let Some(new) = new {
            self.clients.insert_unique(hash, new, |slot| {
                observers.get(*slot as usize).map_or(0, |observer| hasher.hash_one(observer.origin))
            });
        }
    }
}
