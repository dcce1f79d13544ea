//! DTLS handshakes, one after the other.

use super::{Context, Protocol, RunError, Sample, Scenario, Server, Window};
use crate::coap::Handshakes;

/// Clients that connect, say goodbye and connect again from another port; handshakes are counted.
#[derive(Debug, Clone, Copy)]
pub struct CoapHandshakes {
    /// How many connect at once.
    pub clients: usize,
}

impl Scenario for CoapHandshakes {
    fn name(&self) -> String {
        "coaps-handshakes".to_owned()
    }

    fn describe(&self) -> String {
        format!(
            "{} clients, each: handshake (PSK_AES128_CCM_8, with cookie if the server wants one), close_notify, \
             another port; handshakes are counted",
            self.clients
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Coaps
    }

    fn connections(&self) -> usize {
        self.clients
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let mut load = Handshakes::new(server.addr(), self.clients, context.interrupt.clone())?;
        let before = server.usage();
        load.run_for(context.warm_up)?;
        load.clear_latency();
        let window = Window::begin(server, load.completed());
        load.run_for(context.measured)?;
        let mut sample = window.end(server, load.completed());
        sample.set_latency(load.latency());
        sample.set_memory(before, server.usage());
        sample.set_faults(load.tally());
        Ok(sample)
    }
}
