//! The one clock seam: time is handed in, never read here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, on both clocks.
///
/// Timers use the monotonic clock; whatever is stored or sent uses UTC milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time, for timers.
    pub monotonic: Instant,
    /// Milliseconds since the Unix epoch, for deadlines that are stored.
    pub utc_ms: u64,
}

impl Now {
    /// Reads both system clocks. Called once per batch by whoever drives the core.
    #[must_use]
    pub fn read() -> Self {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { monotonic: Instant::now(), utc_ms: u64::try_from(utc.as_millis()).unwrap_or(u64::MAX) }
    }

    /// The same moment shifted by `by` on both clocks.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self { monotonic: self.monotonic + by, utc_ms: self.utc_ms.saturating_add(ms) }
    }
}
