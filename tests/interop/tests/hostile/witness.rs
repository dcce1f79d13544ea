//! A pair of well-behaved clients: as long as a test runs, each of their messages must arrive in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tercet_interop::{Broker, Connect, Publish, Wire};

/// Even with two cores under load, nobody may wait this long for an acknowledged message.
const SLOWEST: Duration = Duration::from_secs(5);

pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Witness {
    pub(crate) fn new(broker: &Broker) -> Self {
        let mut subscriber = Wire::connect(broker, &Connect::v311("witness-s"));
        subscriber.subscribe("witness/#", 1);
        let mut publisher = Wire::connect(broker, &Connect::v5("witness-p"));
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !flag.load(Ordering::Relaxed) {
                let start = Instant::now();
                publisher.publish(Publish::new("witness/t", count.to_string()).qos(1));
                assert_eq!(subscriber.take().1, count.to_string());
                assert!(start.elapsed() < SLOWEST, "a message took {:?}", start.elapsed());
                count += 1;
                thread::sleep(Duration::from_millis(5));
            }
            count
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends the pair; panics if it was disturbed.
    pub(crate) fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.take().unwrap().join().expect("the witness was disturbed");
        assert!(count > 0);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
