//! A resource with many observers.

use super::{Context, Protocol, RunError, Sample, Scenario, Server, WINDOW, measure, prepare};
use crate::coap::scripts::{FanOut, resource};
use crate::coap::{Fleet, Security};
use crate::peers::Need;

/// One publisher, observers with a socket each; notifications are counted.
#[derive(Debug, Clone, Copy)]
pub struct CoapFanOut {
    /// Number of observers.
    pub observers: usize,
}

impl Scenario for CoapFanOut {
    fn name(&self) -> String {
        format!("coap-fanout-{}", self.observers)
    }

    fn describe(&self) -> String {
        format!(
            "one publisher PUTs 32 B as soon as all {} observers, a socket each, have been notified of the last \
             change; notifications are counted, latency is from PUT to notification",
            self.observers
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Coap
    }

    fn need(&self) -> Need {
        Need::Broker
    }

    fn connections(&self) -> usize {
        self.observers + 1
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let observers = context.sized(self.observers);
        let resource = resource("observed", 0);
        prepare(context, server, Security::None, std::slice::from_ref(&resource))?;
        let script = FanOut::new(&resource, observers);
        let interrupt = context.interrupt.clone();
        let mut fleet = Fleet::new(server.addr(), Security::None, observers + 1, WINDOW, script, interrupt)?;
        fleet.advance("registering observers", |fleet| fleet.script().is_registered())?;
        let (mut sample, mut fleet) = measure(context, server, fleet)?;
        fleet.advance("waiting for the last notifications", |fleet| fleet.script().is_settled())?;
        let script = fleet.script();
        sample.set_extra("changes", script.changes() as f64);
        sample.set_extra("notifications_of_nothing_new", script.repeated() as f64);
        Ok(sample)
    }
}
