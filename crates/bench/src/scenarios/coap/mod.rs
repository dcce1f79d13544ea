//! The CoAP scenarios, beside libcoap.
//!
//! Every client has a socket of its own and one request under way; with a thousand clients some wait for their
//! turn, so that a server's receive buffer of the usual size never overflows.

mod associations;
mod blocks;
mod fan_out;
mod flood;
mod idle;
mod requests;

use super::{Context, RunError, Sample, Scenario, Window};
use crate::coap::scripts::Small;
use crate::coap::{Fleet, Script, Security};
use crate::engine::LoadError;
use crate::peers::{Protocol, Server};

pub use associations::CoapHandshakes;
pub use blocks::CoapBlocks;
pub use fan_out::CoapFanOut;
pub use flood::CoapFlood;
pub use idle::{CoapIdleObservers, CoapIdlePeers};
pub use requests::{CoapRequests, Method};

/// So many datagrams fit into a receive buffer that the kernel gives by default, with room to spare.
const WINDOW: usize = 128;

/// All of them, in the order of the report.
pub(super) fn all() -> Vec<Box<dyn Scenario>> {
    let mut list: Vec<Box<dyn Scenario>> = Vec::new();
    for method in [Method::Get, Method::Put] {
        for clients in [1, 50, 1000] {
            list.push(Box::new(CoapRequests { method, clients, protocol: Protocol::Coap }));
        }
    }
    list.push(Box::new(CoapFlood { clients: 10 }));
    list.push(Box::new(CoapFanOut { observers: 1000 }));
    for direction in [crate::coap::scripts::Direction::Read, crate::coap::scripts::Direction::Write] {
        list.push(Box::new(CoapBlocks { direction, clients: 10 }));
    }
    list.push(Box::new(CoapIdleObservers { observers: 10_000 }));
    list.push(Box::new(CoapHandshakes { clients: 16 }));
    for method in [Method::Get, Method::Put] {
        list.push(Box::new(CoapRequests { method, clients: 50, protocol: Protocol::Coaps }));
    }
    list.push(Box::new(CoapIdlePeers { peers: 2000 }));
    list
}

/// What protects the messages of a protocol.
fn security(protocol: Protocol) -> Security {
    if protocol == Protocol::Coaps { Security::Psk } else { Security::None }
}

/// Puts something into the resources that a scenario is about.
fn prepare(
    context: &Context,
    server: &Server,
    security: Security,
    resources: &[String],
) -> Result<(), LoadError> {
    let script = Small::put(resources).once_each(resources.len());
    let mut fleet =
        Fleet::new(server.addr(), security, resources.len(), WINDOW, script, context.interrupt.clone())?;
    fleet.finish("preparing resources")
}

/// Warms up, measures, and waits for what is still under way.
fn measure<S: Script>(
    context: &Context,
    server: &Server,
    mut fleet: Fleet<S>,
) -> Result<(Sample, Fleet<S>), LoadError> {
    let before = server.usage();
    fleet.run_for(context.warm_up)?;
    fleet.clear_latency();
    let window = Window::begin(server, fleet.units());
    fleet.run_for(context.measured)?;
    let mut sample = window.end(server, fleet.units());
    sample.set_latency(fleet.latency());
    sample.set_memory(before, server.usage());
    fleet.stop();
    fleet.finish("waiting for the last answers")?;
    note_faults(&mut sample, &fleet);
    Ok((sample, fleet))
}

fn note_faults<S: Script>(sample: &mut Sample, fleet: &Fleet<S>) {
    sample.set_faults(fleet.tally());
    sample.closed_because = fleet.last_reason();
    if fleet.retransmitted() > 0 {
        sample.set_extra("retransmitted", fleet.retransmitted() as f64);
    }
}
