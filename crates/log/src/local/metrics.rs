//! What the engine has done so far, counted without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the histogram of sync times, in microseconds; a last bucket has what took longer.
pub const SYNC_BUCKETS: [u64; 12] =
    [50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000];

/// What a log has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMetrics {
    /// Batches appended.
    pub batches: u64,
    /// Bytes of batches appended, headers included.
    pub bytes: u64,
    /// Bytes written besides: header pages, zeros of spare segments, checkpoints.
    pub other_bytes: u64,
    /// Syncs on the path of a batch.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_time: Duration,
    /// How many of them took up to the bound in [`SYNC_BUCKETS`] and more than the one before; longer ones at the end.
    pub sync_histogram: [u64; SYNC_BUCKETS.len() + 1],
    /// Segments there are, the spare one not counted.
    pub segments: u64,
    /// Bytes they take up, the spare one included.
    pub disk_bytes: u64,
    /// Segments that began in a file which was ready.
    pub prepared: u64,
    /// Segments for which a file had to be made while a batch waited.
    pub unprepared: u64,
    /// Checkpoints put in force.
    pub checkpoints: u64,
    /// Failed writes and syncs.
    pub failures: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) other_bytes: AtomicU64,
    pub(crate) prepared: AtomicU64,
    pub(crate) unprepared: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) failures: AtomicU64,
    sync_nanoseconds: AtomicU64,
    sync_histogram: [AtomicU64; SYNC_BUCKETS.len() + 1],
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        let bucket = SYNC_BUCKETS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.sync_histogram.get(bucket) {
            Self::add(bucket, 1);
        }
        Self::add(&self.sync_nanoseconds, took.as_nanos() as u64);
    }

    pub(crate) fn snapshot(&self) -> LogMetrics {
        let sync_histogram = std::array::from_fn(|bucket| {
            self.sync_histogram.get(bucket).map_or(0, |count| count.load(Relaxed))
        });
        LogMetrics {
            batches: self.batches.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            other_bytes: self.other_bytes.load(Relaxed),
            syncs: sync_histogram.iter().sum(),
            sync_time: Duration::from_nanos(self.sync_nanoseconds.load(Relaxed)),
            sync_histogram,
            prepared: self.prepared.load(Relaxed),
            unprepared: self.unprepared.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            failures: self.failures.load(Relaxed),
            ..LogMetrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_counted_in_the_bucket_of_their_time() {
        let counters = Counters::default();
        for micros in [1, 50, 51, 2_000_000] {
            counters.synced(Duration::from_micros(micros));
        }
        let metrics = counters.snapshot();
        assert_eq!((metrics.syncs, metrics.sync_time), (4, Duration::from_micros(2_000_102)));
        assert_eq!(metrics.sync_histogram, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
