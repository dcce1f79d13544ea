//! The scheduler: a thread that lets queues do what is due to the millisecond: messages expire, are tried again or delivered
//! late, unused queues go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;

use crate::housekeeping::carry_out;
use crate::shared::Shared;

/// How long it sleeps at most; the clock may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(1);

/// The scheduler's thread; stops when dropped.
pub struct Scheduler {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, stopped) = (Arc::clone(shared), Arc::clone(&stop));
        let thread = thread::Builder::new().name("scheduler".into()).spawn(move || run(&theirs, &stopped))?;
        Ok(Self { shared: Arc::clone(shared), stop, thread: Some(thread) })
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.shared.hosts.alarm().ring();
        if let Some(thread) = self.thread.take() {
            // The thread has nothing to report; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, stopped: &AtomicBool) {
    let mut effects = Effects::default();
    while !stopped.load(Relaxed) {
        let next = shared.hosts.run_due(Now::read(), &mut effects);
        carry_out(shared, &mut effects);
        shared.hosts.alarm().wait(next, Now::read().utc_ms, LONGEST);
    }
}
