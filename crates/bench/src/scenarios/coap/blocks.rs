//! Bodies of 64 KiB.

use super::{Context, Protocol, RunError, Sample, Scenario, Server, WINDOW, measure};
use crate::coap::scripts::{BODY, Blocks, Direction};
use crate::coap::{Fleet, Security};
use crate::peers::Need;

/// Clients that read or write bodies block by block; blocks are counted.
#[derive(Debug, Clone, Copy)]
pub struct CoapBlocks {
    /// Where bodies go.
    pub direction: Direction,
    /// How many clients there are.
    pub clients: usize,
}

impl Scenario for CoapBlocks {
    fn name(&self) -> String {
        let option = if self.direction == Direction::Read { "block2" } else { "block1" };
        format!("coap-{option}-64k")
    }

    fn describe(&self) -> String {
        let request = if self.direction == Direction::Read { "GET with Block2" } else { "PUT with Block1" };
        format!(
            "{} clients, a resource of {BODY} B each, {request}, blocks of 1024 B; blocks are counted",
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
        let play = |script| {
            let interrupt = context.interrupt.clone();
            Fleet::new(server.addr(), Security::None, self.clients, WINDOW, script, interrupt)
        };
        play(Blocks::new(Direction::Write, self.clients).once_each())?.finish("writing bodies")?;
        let fleet = play(Blocks::new(self.direction, self.clients))?;
        let (mut sample, fleet) = measure(context, server, fleet)?;
        sample.set_extra("bodies", fleet.script().bodies() as f64);
        Ok(sample)
    }
}
