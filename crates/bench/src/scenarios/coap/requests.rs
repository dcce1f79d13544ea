//! Confirmable requests, one after the other.

use super::{Context, Protocol, RunError, Sample, Scenario, Server, WINDOW, measure, prepare, security};
use crate::coap::Fleet;
use crate::coap::scripts::{Small, resource};

/// Clients that GET or PUT as fast as they are answered.
#[derive(Debug, Clone, Copy)]
pub struct CoapRequests {
    /// What they ask.
    pub method: Method,
    /// How many there are.
    pub clients: usize,
    /// CoAP or CoAP over DTLS.
    pub protocol: Protocol,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// For a value.
    Get,
    /// To store one.
    Put,
}

const RESOURCES: usize = 16;

impl Scenario for CoapRequests {
    fn name(&self) -> String {
        let method = if self.method == Method::Get { "get" } else { "put" };
        let scheme = if self.protocol == Protocol::Coaps { "coaps" } else { "coap" };
        format!("{scheme}-{method}-{}", self.clients)
    }

    fn describe(&self) -> String {
        let method = if self.method == Method::Get { "GET" } else { "PUT" };
        let security = if self.protocol == Protocol::Coaps { " over DTLS (PSK_AES128_CCM_8)" } else { "" };
        let window = self.clients.min(WINDOW);
        format!(
            "{} clients with a socket each, confirmable {method} of 64 B{security}, {RESOURCES} resources, \
             {window} requests under way",
            self.clients
        )
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn connections(&self) -> usize {
        self.clients
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let security = security(self.protocol);
        let resources: Vec<String> = (0..RESOURCES).map(|at| resource("small", at)).collect();
        prepare(context, server, security, &resources)?;
        let script = match self.method {
            Method::Get => Small::get(&resources),
            Method::Put => Small::put(&resources),
        };
        let interrupt = context.interrupt.clone();
        let fleet = Fleet::new(server.addr(), security, self.clients, WINDOW, script, interrupt)?;
        Ok(measure(context, server, fleet)?.0)
    }
}
