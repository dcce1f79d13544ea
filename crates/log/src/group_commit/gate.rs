//! The gate between those who stage and the one who seals.
//!
//! Entering must not make threads that serve clients share a cache line: every thread has a lane of its own (as long as
//! there are enough), and only the committer goes through all of them, once per batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long the first attempt to close the gate may take, and any.
const FIRST_PATIENCE: Duration = Duration::from_millis(20);
const MOST_PATIENCE: Duration = Duration::from_secs(5);
/// More lanes make closing slower than they make entering faster.
const MOST_LANES: usize = 64;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

pub(super) struct Gate {
    lanes: Box<[Lane]>,
}

#[repr(align(128))]
#[derive(Default)]
struct Lane(RwLock<()>);

impl Gate {
    pub(super) fn new() -> Self {
        // Serving threads, one per core, and as many others.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let lanes = (2 * cores + 4).min(MOST_LANES);
        Self { lanes: (0..lanes).map(|_| Lane::default()).collect() }
    }

    /// Waits while the gate is closed. A thread that is inside already comes in again at once, also if somebody waits to close the
    /// gate: else both would wait for each other.
    pub(super) fn enter(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let lane = THREAD.with(|thread| thread % self.lanes.len().max(1));
        self.lanes.get(lane).map(|lane| lane.0.read_recursive())
    }

    /// Waits until everybody is outside, and keeps them there. One thread closes; it takes the lanes in order.
    ///
    /// Somebody inside may be waiting for a lock that is held by somebody who wants to come in. That is against the rules
    /// ([`super::GroupCommit::together`]), but it must not stop the log for ever: a gate that cannot be closed for a while is
    /// opened again before the next attempt, which has more time, so that it succeeds at last whatever goes on inside.
    pub(super) fn close(&self) -> Vec<RwLockWriteGuard<'_, ()>> {
        let mut patience = FIRST_PATIENCE;
        loop {
            let deadline = Instant::now() + patience;
            let closed: Vec<_> =
                self.lanes.iter().map_while(|lane| lane.0.try_write_until(deadline)).collect();
            if closed.len() == self.lanes.len() {
                return closed;
            }
            drop(closed);
            thread::yield_now();
            patience = patience.saturating_mul(2).min(MOST_PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;

    #[test]
    fn a_lock_taken_in_the_wrong_order_does_not_keep_the_gate_from_closing_for_ever() {
        let (gate, lock) = (Gate::new(), Mutex::new(()));
        let ((inside, is_inside), (locked, is_locked)) = (channel(), channel());
        let entered = AtomicBool::new(false);
        thread::scope(|scope| {
            let (gate, lock, entered) = (&gate, &lock, &entered);
            let (lane, has_lane) = channel();
            scope.spawn(move || {
                // The lower lane, which is closed first.
                let number = THREAD.with(|thread| thread % gate.lanes.len());
                let held = lock.lock();
                lane.send(()).expect("heard");
                is_inside.recv().expect("the other one is inside");
                locked.send(()).expect("heard");
                while gate.lanes[number].0.try_read_recursive().is_some() {
                    thread::yield_now();
                }
                // Against the rules: the other one is inside and waits for the lock.
                drop(gate.enter());
                entered.store(true, Ordering::Release);
                drop(held);
            });
            scope.spawn(move || {
                has_lane.recv().expect("the other one has its lane");
                let _entered = gate.enter();
                inside.send(()).expect("heard");
                is_locked.recv().expect("locked by the other one");
                drop(lock.lock());
            });
            // The first attempts may come before anybody is inside.
            while lock.try_lock().is_none_or(|_| !entered.load(Ordering::Acquire)) {
                assert_eq!(gate.close().len(), gate.lanes.len());
            }
        });
    }
}
