//! What comes of a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tercet_broker::journal::Position;
use tercet_broker::vhost::observing::Moment;

use super::caller::Caller;
use super::context::{CoapContext, Outcome, Ticket};
use super::request::Request;
use super::resources::Form;
use super::response::Response;

/// What comes of a request.
#[derive(Debug)]
pub enum Answer {
    /// This response.
    Now(Response),
    /// This response, once the log is durable up to the position. Should the log fail first, the client gets 5.03.
    AfterLog(Position, Response),
    /// Something has to be found out elsewhere first.
    Later(Later),
    /// This response, and what changes from now on. Without [`Observe::Register`](super::request::Observe::Register) in the
    /// request, or when there are too many observers, it is the response alone.
    Observe(Response, Observation),
}

/// What goes on when a ticket has been answered.
pub struct Later {
    /// The ticket that somebody holds.
    pub ticket: Ticket,
    /// What goes on then, with the same request.
    pub then: Continuation,
}

/// Goes on with a request.
pub type Continuation = Box<dyn FnOnce(Outcome, &Request<'_>, &mut CoapContext<'_>) -> Answer + Send>;

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Later").field(&self.ticket).finish()
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

/// What an observer is told of.
#[derive(Debug)]
pub struct Observation {
    /// The topics: a topic or a filter with wildcards.
    pub filter: Arc<str>,
    /// What notifications look like. Observers of the same filter, form and identity share one encoding.
    pub form: Form,
    /// When the response was made: what has changed between that and the beginning of a watch is told as well
    /// ([`Vhost::catch_up`](tercet_broker::vhost::Vhost::catch_up)).
    pub since: Moment,
    /// Whether the response shows a value of the topic.
    pub had_value: bool,
    /// Whose rights count, if not those that the caller has by its transport: whoever the request says it is.
    pub observer: Option<Arc<Caller>>,
    /// Its place among a limited number of observers.
    pub lease: Option<Lease>,
    /// At least one notification within this time is confirmable; at most a day (RFC 7641 §4.5).
    pub check_within: Duration,
}

/// The places of those who observe something of which few may.
#[derive(Debug)]
pub struct Places {
    taken: AtomicU32,
    most: AtomicU32,
}

impl Places {
    /// This many places; `None` for as many as come.
    #[must_use]
    pub fn new(most: Option<u32>) -> Self {
        Self { taken: AtomicU32::new(0), most: AtomicU32::new(most.unwrap_or(u32::MAX)) }
    }

    /// From now on this many. If that is fewer than are taken, some have to give way ([`Lease::give_way`]).
    pub fn set_most(&self, most: Option<u32>) {
        self.most.store(most.unwrap_or(u32::MAX), Ordering::Release);
    }

    /// Whether some have to give way.
    #[must_use]
    pub fn are_overfull(&self) -> bool {
        self.taken.load(Ordering::Acquire) > self.most.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> bool {
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Lease(Option<Arc<Places>>);

impl Lease {
    /// Takes a place, if one is free.
    #[must_use]
    pub fn take(places: &Arc<Places>) -> Option<Self> {
        let most = places.most.load(Ordering::Acquire);
        let taken = places.change(|taken| (taken < most).then(|| taken + 1));
        taken.then(|| Self(Some(Arc::clone(places))))
    }

    /// Gives the place back if there are fewer than are taken. Returns whether it did: its holder observes no longer.
    pub fn give_way(&mut self) -> bool {
        let gives = self.0.as_ref().is_some_and(|places| {
            let most = places.most.load(Ordering::Acquire);
            places.change(|taken| (taken > most).then(|| taken - 1))
        });
        if gives {
            self.0 = None;
        }
        gives
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(places) = &self.0 {
            places.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_its_holder_goes() {
        let places = Arc::new(Places::new(Some(2)));
        let first = Lease::take(&places).unwrap();
        let _second = Lease::take(&places).unwrap();
        assert!(Lease::take(&places).is_none());
        drop(first);
        assert!(Lease::take(&places).is_some());
    }

    #[test]
    fn who_has_a_place_gives_way_when_there_are_fewer() {
        let places = Arc::new(Places::new(None));
        let mut leases: Vec<_> = (0..3).filter_map(|_| Lease::take(&places)).collect();
        assert!(leases.iter_mut().all(|lease| !lease.give_way()));
        places.set_most(Some(1));
        assert!(places.are_overfull());
        let given = leases.iter_mut().map(Lease::give_way).collect::<Vec<_>>();
        assert_eq!(given, [true, true, false]);
        drop(leases);
        assert!(!places.are_overfull() && Lease::take(&places).is_some());
        places.set_most(Some(0));
        assert!(Lease::take(&places).is_none());
    }
}
