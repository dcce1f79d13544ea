//! The memory budget: what to do before the machine runs out.
//!
//! Housekeeping compares the process with its budget; while it is exceeded, connections that publish are read
//! more slowly. Subscribers go on being served, which is what frees memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long a publisher waits after each batch while memory is short.
pub const BRAKE: Duration = Duration::from_millis(100);

/// How the program's allocator is asked for what a thread holds although it is free.
static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Tells how the allocator gives free memory of the calling thread back to the system; the first call counts. Without it
/// nothing is given back but by the allocator itself.
pub fn set_give_back(give_back: fn()) {
    let _ = GIVE_BACK.set(give_back);
}

/// Gives free memory of the calling thread back. Takes up to some milliseconds.
pub(crate) fn give_back() {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back();
    }
}

/// The budget and whether it is exceeded.
#[derive(Debug)]
pub struct Memory {
    budget: u64,
    resident: AtomicU64,
    short: AtomicBool,
}

impl Memory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Self { budget, resident: AtomicU64::new(0), short: AtomicBool::new(false) }
    }

    /// Whether publishers are to be slowed down.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.short.load(Relaxed)
    }

    /// Bytes that the process may fill.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Resident bytes when last measured.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.resident.load(Relaxed)
    }

    /// Measures the process. Where the system does not tell, nothing is ever short.
    pub fn measure(&self) {
        if let Some(resident) = resident_bytes() {
            self.judge(resident);
        }
    }

    /// The brake is pulled above the budget and let go a tenth below it.
    fn judge(&self, resident: u64) {
        self.resident.store(resident, Relaxed);
        let was_short = self.is_short();
        let limit = if was_short { self.budget - self.budget / 10 } else { self.budget };
        let short = resident > limit;
        if short != was_short {
            self.short.store(short, Relaxed);
            if short {
                tracing::warn!(
                    resident,
                    budget = self.budget,
                    "memory budget exceeded; publishers are slowed down (limits.memory)"
                );
            } else {
                tracing::info!(resident, budget = self.budget, "memory is back within its budget");
            }
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_is_let_go_only_well_below_the_budget() {
        let memory = Memory::new(1000);
        for (resident, short) in
            [(1000, false), (1001, true), (950, true), (901, true), (900, false), (1000, false)]
        {
            memory.judge(resident);
            assert_eq!(memory.is_short(), short, "{resident}");
        }
    }
}
