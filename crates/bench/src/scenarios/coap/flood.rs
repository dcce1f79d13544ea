//! NON PUTs without answers.

use super::{Context, Protocol, RunError, Sample, Scenario, Server, WINDOW, measure};
use crate::coap::scripts::{Flood, IN_A_ROW};
use crate::coap::{Fleet, Security};
use crate::peers::Need;

/// Clients that store values without wanting an answer; PUTs are counted.
#[derive(Debug, Clone, Copy)]
pub struct CoapFlood {
    /// How many there are.
    pub clients: usize,
}

impl Scenario for CoapFlood {
    fn name(&self) -> String {
        "coap-flood".to_owned()
    }

    fn describe(&self) -> String {
        format!(
            "{} clients, each {IN_A_ROW} NON PUTs of 16 B with No-Response to a resource of its own, then a CON GET \
             that must show the last value; PUTs are counted",
            self.clients
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Coap
    }

    fn need(&self) -> Need {
        Need::Broker
    }

    fn connections(&self) -> usize {
        self.clients
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        // No more than fit into a receive buffer.
        let window = WINDOW / IN_A_ROW as usize;
        let script = Flood::new(self.clients);
        let interrupt = context.interrupt.clone();
        let fleet = Fleet::new(server.addr(), Security::None, self.clients, window, script, interrupt)?;
        Ok(measure(context, server, fleet)?.0)
    }
}
