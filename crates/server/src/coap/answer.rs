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

/// One of a limited number of places, given back when dropped.
#[derive(Debug)]
pub struct Lease(Arc<AtomicU32>);

impl Lease {
    /// Takes a place, if fewer than `most` are taken.
    #[must_use]
    pub fn take(taken: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let more = |count: u32| (count < most).then(|| count + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_its_holder_goes() {
        let taken = Arc::default();
        let first = Lease::take(&taken, 2).unwrap();
        let _second = Lease::take(&taken, 2).unwrap();
        assert!(Lease::take(&taken, 2).is_none());
        drop(first);
        assert!(Lease::take(&taken, 2).is_some());
    }
}
