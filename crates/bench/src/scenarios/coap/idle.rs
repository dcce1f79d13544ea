//! Observers and DTLS peers that do nothing, and what they cost.

use super::super::SETTLE;
use super::{
    Context, Protocol, RunError, Sample, Scenario, Server, WINDOW, Window, note_faults, prepare, security,
};
use crate::coap::scripts::{Small, resource};
use crate::coap::{Fleet, Security};
use crate::peers::Need;

/// Observers with a socket each, of as many resources as there are tens of them; registrations are counted.
#[derive(Debug, Clone, Copy)]
pub struct CoapIdleObservers {
    /// Number of observers.
    pub observers: usize,
}

const OBSERVERS_EACH: usize = 10;

impl Scenario for CoapIdleObservers {
    fn name(&self) -> String {
        format!("coap-idle-observers-{}k", self.observers / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} observers with a socket each, {OBSERVERS_EACH} of each resource; registrations are counted",
            self.observers
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Coap
    }

    fn need(&self) -> Need {
        Need::Broker
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn connections(&self) -> usize {
        self.observers
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let observers = context.sized(self.observers);
        let resources: Vec<String> =
            (0..observers.div_ceil(OBSERVERS_EACH)).map(|at| resource("observed", at)).collect();
        prepare(context, server, Security::None, &resources)?;
        let script = Small::observe(&resources).once_each(observers);
        let interrupt = context.interrupt.clone();
        let mut fleet = Fleet::new(server.addr(), Security::None, observers, WINDOW, script, interrupt)?;
        let before = server.usage();
        let window = Window::begin(server, 0);
        fleet.finish("registering observers")?;
        let registered_after = window.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = window.settle(server, fleet.units(), registered_after);
        sample.set_latency(fleet.latency());
        sample.set_memory(before, server.usage());
        set_each(&mut sample, "anonymous_bytes_per_observer", observers);
        note_faults(&mut sample, &fleet);
        Ok(sample)
    }
}

/// DTLS peers that have asked once; handshakes are counted.
#[derive(Debug, Clone, Copy)]
pub struct CoapIdlePeers {
    /// Number of peers.
    pub peers: usize,
}

impl Scenario for CoapIdlePeers {
    fn name(&self) -> String {
        format!("coaps-idle-peers-{}k", self.peers / 1000)
    }

    fn describe(&self) -> String {
        format!(
            "{} DTLS peers, 128 handshakes under way at once, then a GET each; handshakes are counted",
            self.peers
        )
    }

    fn protocol(&self) -> Protocol {
        Protocol::Coaps
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn connections(&self) -> usize {
        self.peers
    }

    fn run(&self, context: &Context, server: &mut Server) -> Result<Sample, RunError> {
        let peers = context.sized(self.peers);
        let security = security(self.protocol());
        let resources = [resource("small", 0)];
        prepare(context, server, security, &resources)?;
        let before = server.usage();
        let window = Window::begin(server, 0);
        let script = Small::get(&resources).once_each(peers);
        let mut fleet =
            Fleet::new(server.addr(), security, peers, WINDOW, script, context.interrupt.clone())?;
        fleet.finish("asking once each")?;
        let connected_after = window.elapsed();
        fleet.run_for(SETTLE)?;
        let mut sample = window.settle(server, fleet.units(), connected_after);
        sample.set_memory(before, server.usage());
        set_each(&mut sample, "anonymous_bytes_per_peer", peers);
        note_faults(&mut sample, &fleet);
        Ok(sample)
    }
}

/// Notes how much more anonymous memory the server has for each of `count`.
fn set_each(sample: &mut Sample, figure: &str, count: usize) {
    if let Some((before, after)) = sample.anonymous_before.zip(sample.anonymous_after) {
        sample.set_extra(figure, after.saturating_sub(before) as f64 / count as f64);
    }
}
