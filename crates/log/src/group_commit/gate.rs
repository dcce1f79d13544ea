//! The gate between those who stage and the one who seals.
//!
//! Entering must not make threads that serve clients share a cache line: every thread has a lane of its own (as long as
//! there are enough), and only the committer goes through all of them, once per batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    pub(super) fn close(&self) -> Vec<RwLockWriteGuard<'_, ()>> {
        self.lanes.iter().map(|lane| lane.0.write()).collect()
    }
}
