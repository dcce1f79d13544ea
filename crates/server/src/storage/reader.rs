//! The reader: a thread that reads messages back from the log ahead of their delivery, so that nobody who serves clients
//! ever waits for the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::LogJournal;

use crate::housekeeping::carry_out;
use crate::memory::{self, BRAKE};
use crate::shared::Shared;

/// The longest time until the thread notices that it is to end.
const MOST: Duration = Duration::from_millis(100);

/// The reader's thread; stops when dropped.
pub struct Reader {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread; there is none to be started when everything is in memory.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn start(shared: &Arc<Shared>) -> io::Result<Option<Self>> {
        let Some(storage) = &shared.storage else { return Ok(None) };
        let journal = Arc::clone(storage.journal());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            thread::Builder::new()
                .name("log-reader".to_owned())
                .spawn(move || run(&shared, &journal, &stop))?
        };
        Ok(Some(Self { shared: Arc::clone(shared), stop, thread: Some(thread) }))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.shared.hosts.stop_waiting_for_fetches();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, journal: &LogJournal, stop: &AtomicBool) {
    let mut effects = Effects::default();
    let mut gave_back_at = Instant::now();
    while !stop.load(Ordering::Acquire) {
        if shared.hosts.wait_for_fetches(MOST) && shared.hosts.read_back(journal, Now::read(), &mut effects) {
            carry_out(shared, &mut effects);
        }
        if shared.memory.is_short() && gave_back_at.elapsed() >= BRAKE {
            memory::give_back();
            gave_back_at = Instant::now();
        }
    }
}
