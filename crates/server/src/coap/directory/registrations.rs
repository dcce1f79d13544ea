//! All registrations, by place, by name, by time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use tercet_coap::link_format::Link;

use super::parameters::Parameters;
use super::registration::{Name, Owner, Registration};
use crate::coap::caller::Caller;

/// Names a registration: the last segment of its path. Numbers are not used again.
pub(super) type Place = u64;

/// Most registrations.
const MOST: usize = 4096;
/// Most links of all registrations together: a lookup looks at each of them.
const MOST_LINKS: usize = 32_768;

/// The registrations that have not expired.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    by_place: BTreeMap<Place, Registration>,
    by_name: HashMap<Name, Place>,
    by_end: BTreeSet<(Instant, Place)>,
    links: usize,
    last: Place,
}

/// Why a registration was not made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is none at this place.
    Unknown,
    /// It belongs to somebody else.
    NotYours,
    /// There is no room for more.
    Full,
}

impl Registrations {
    /// Makes a registration, or makes that of this name anew, at the place where it was.
    pub(super) fn register(
        &mut self,
        name: Name,
        caller: &Caller,
        parameters: Parameters,
        links: Vec<Link<'static>>,
        now: Instant,
    ) -> Result<Place, Refusal> {
        self.expire(now);
        let before = match self.by_name.get(&name) {
            Some(place) => Some((*place, self.owned(*place, caller)?.links().len())),
            None => None,
        };
        let kept = self.links - before.map_or(0, |(_, links)| links);
        if before.is_none() && self.by_place.len() >= MOST || kept + links.len() > MOST_LINKS {
            return Err(Refusal::Full);
        }
        let place = match before {
            Some((place, _)) => place,
            None => {
                self.last += 1;
                self.last
            }
        };
        self.remove(place);
        self.links += links.len();
        let registration = Registration::new(name.clone(), caller, parameters, links, now);
        self.by_end.insert((registration.expires, place));
        self.by_name.insert(name, place);
        self.by_place.insert(place, registration);
        Ok(place)
    }

    /// Renews a registration.
    pub(super) fn renew(
        &mut self,
        place: Place,
        caller: &Caller,
        parameters: Parameters,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.expire(now);
        let registration = self.owned(place, caller)?;
        let ended = registration.expires;
        registration.renew(caller, parameters, now);
        let ends = registration.expires;
        self.by_end.remove(&(ended, place));
        self.by_end.insert((ends, place));
        Ok(())
    }

    /// Removes a registration.
    pub(super) fn deregister(&mut self, place: Place, caller: &Caller, now: Instant) -> Result<(), Refusal> {
        self.expire(now);
        self.owned(place, caller)?;
        self.remove(place);
        Ok(())
    }

    /// The registration at a place.
    pub(super) fn get(&mut self, place: Place, now: Instant) -> Option<&Registration> {
        self.expire(now);
        self.by_place.get(&place)
    }

    /// All of them, the oldest first.
    pub(super) fn all(&mut self, now: Instant) -> impl Iterator<Item = (Place, &Registration)> {
        self.expire(now);
        self.by_place.iter().map(|(place, registration)| (*place, registration))
    }

    fn owned(&mut self, place: Place, caller: &Caller) -> Result<&mut Registration, Refusal> {
        let registration = self.by_place.get_mut(&place).ok_or(Refusal::Unknown)?;
        if registration.owner == Owner::of(caller) { Ok(registration) } else { Err(Refusal::NotYours) }
    }

    fn remove(&mut self, place: Place) {
        let Some(registration) = self.by_place.remove(&place) else { return };
        self.links -= registration.links().len();
        self.by_end.remove(&(registration.expires, place));
        self.by_name.remove(&registration.name);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, place)) = self.by_end.first().copied().filter(|(ends, _)| *ends <= now) {
            self.remove(place);
        }
    }
}
