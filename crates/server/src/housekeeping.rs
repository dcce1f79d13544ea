//! Housekeeping: a thread that lets the core do what is due and publishes the `$SYS` topics.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::outbox::ConnectionRef;

use crate::coap;
use crate::limit_log::LimitLog;
use crate::reactor::inbox::Command;
use crate::shared::Shared;
use crate::sys_topics::SysTopics;

/// How exact delayed wills and session ends are.
const INTERVAL: Duration = Duration::from_millis(100);

/// The housekeeping thread; stops when dropped.
pub struct Housekeeping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    /// Starts the thread.
    pub fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread =
            thread::Builder::new().name("housekeeping".into()).spawn(move || run(&shared, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread has nothing to report; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// Does what fell due while no broker was running: before the first client can connect, so that none finds a session
/// that is over. `effects` are those of recovery.
pub fn catch_up(shared: &Shared, mut effects: Effects) {
    while shared.hosts.tick(Now::read(), &mut effects) {}
    carry_out(shared, &mut effects);
}

fn run(shared: &Shared, stopped: &Receiver<()>) {
    let mut effects = Effects::default();
    let mut sys_topics = SysTopics::default();
    let mut limit_log = LimitLog::default();
    let access = shared.authenticator.access();
    let mut rights = access.generation();
    while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        shared.memory.measure();
        if shared.memory.is_short() {
            // A reactor at rest gives back nothing.
            shared.reactors.iter().for_each(|inbox| inbox.send(Command::Wake(Vec::new())));
        }
        while shared.hosts.tick(Now::read(), &mut effects) {}
        coap::resources::expire(shared, Now::read(), &mut effects);
        sys_topics.tick(**shared.sys_interval.load(), shared, Now::read(), &mut effects);
        // Whoever may not read any more must not go on consuming (CVE-2026-57218).
        if access.generation() != rights {
            rights = access.generation();
            for host in shared.hosts.all() {
                host.end_unpermitted_consumers(Now::read(), &mut effects);
            }
        }
        carry_out(shared, &mut effects);
        limit_log.look(&shared.vhost.metrics().totals());
    }
}

/// Carries out effects outside of a reactor: every connection concerned is woken in its own, and what waits for the log is
/// left to one that does not sleep through it.
pub fn carry_out(shared: &Shared, effects: &mut Effects) {
    let mut batches: Vec<Vec<ConnectionRef>> = shared.reactors.iter().map(|_| Vec::new()).collect();
    for wake in effects.wakes.drain(..) {
        if let Some(batch) = batches.get_mut(usize::from(wake.reactor)) {
            batch.push(wake);
        }
    }
    for (inbox, batch) in shared.reactors.iter().zip(batches) {
        if !batch.is_empty() {
            inbox.send(Command::Wake(batch));
        }
    }
    for values in effects.values.drain(..) {
        if let Some(inbox) = shared.reactors.get(usize::from(values.ticket.reactor)) {
            inbox.send(Command::Values(values));
        }
    }
    shared.vhost.flush();
    if !effects.deferred.is_empty()
        && let Some(inbox) = shared.reactors.first()
    {
        inbox.send(Command::Defer(std::mem::take(&mut effects.deferred)));
    }
    shared.vhost.metrics().add(&mut effects.counters);
}
