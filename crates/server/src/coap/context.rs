//! What a resource may use while it answers.

use std::sync::Arc;

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::vhost::observing::{ReadValue, ValueTicket};

use super::resources::Resources;
use super::response::Response;
use super::settings::CoapSettings;
use crate::auth::Verdict;
use crate::reactor::inbox::Command;
use crate::shared::Shared;

/// What a resource may use.
pub struct CoapContext<'a> {
    /// The server.
    pub shared: &'a Arc<Shared>,
    /// What the configuration says.
    pub settings: &'a CoapSettings,
    /// The time of this turn.
    pub now: Now,
    /// What the reactor is to do.
    pub effects: &'a mut Effects,
    /// What the resources keep for this reactor.
    pub resources: &'a mut Resources,
    /// The reactor.
    pub reactor: u16,
    /// The last ticket's number.
    pub last_ticket: &'a mut u32,
}

impl CoapContext<'_> {
    /// A ticket for something that another thread has to find out.
    #[must_use]
    pub fn ticket(&mut self) -> Ticket {
        *self.last_ticket = self.last_ticket.wrapping_add(1);
        Ticket { reactor: self.reactor, number: *self.last_ticket }
    }
}

/// Names a request that waits, to whoever finds out what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The reactor where it waits.
    pub reactor: u16,
    /// Its number there.
    pub number: u32,
}

impl Ticket {
    /// Hands the outcome to the reactor where the request waits. One that has gone meanwhile is forgotten.
    pub fn answer(self, shared: &Shared, outcome: Outcome) {
        if let Some(inbox) = shared.reactors.get(usize::from(self.reactor)) {
            inbox.send(Command::Ticket(self, outcome));
        }
    }

    /// The same for the reader of the log.
    #[must_use]
    pub fn for_values(self) -> ValueTicket {
        ValueTicket { reactor: self.reactor, number: self.number.into() }
    }
}

/// What has been found out.
#[derive(Debug)]
pub enum Outcome {
    /// Values of topics that were only in the log, as they were asked for.
    Values(Vec<ReadValue>),
    /// What the authenticator says.
    Verdict(Verdict),
    /// What another server has answered.
    Response(Response),
    /// Nobody found it out: too late, or the server stops.
    Abandoned,
}
