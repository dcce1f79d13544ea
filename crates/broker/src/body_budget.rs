//! How much memory messages take up that could also be read back from the log, and how much they may.
//!
//! Durable queues and retained values count what they hold in memory; a message that several of them hold counts for each. Above
//! the limit they let go of what is durable, and read it back before they hand it out ([`crate::read_back`]); below it
//! everything stays in memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};

/// The memory of one virtual host's durable messages.
#[derive(Debug)]
pub struct BodyBudget {
    limit: AtomicUsize,
    used: AtomicI64,
    exceeded: AtomicBool,
    /// Whether it was exceeded since somebody last asked.
    pressed: AtomicBool,
}

impl BodyBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            used: AtomicI64::new(0),
            exceeded: AtomicBool::new(false),
            pressed: AtomicBool::new(false),
        }
    }

    /// Bytes in memory, but for what threads have not reported yet.
    #[must_use]
    pub fn used(&self) -> usize {
        usize::try_from(self.used.load(Relaxed)).unwrap_or(0)
    }

    /// Whether messages have to go.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Relaxed)
    }

    /// Puts another limit in force.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
        self.add(0);
    }

    /// Bytes have come, or gone if negative.
    pub(crate) fn add(&self, bytes: i64) {
        let used = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let exceeded = usize::try_from(used).unwrap_or(0) > self.limit.load(Relaxed);
        // Read first: it seldom changes, and is read by everybody.
        if exceeded != self.is_exceeded() {
            self.exceeded.store(exceeded, Relaxed);
            self.pressed.store(true, Relaxed);
        }
    }

    /// Whether messages had to go since the last call.
    pub(crate) fn take_pressure(&self) -> bool {
        self.pressed.swap(false, Relaxed) || self.is_exceeded()
    }

    /// Bytes that a thread may keep unreported, so that threads do not fight for one counter.
    fn grain(&self) -> i64 {
        i64::try_from(self.limit.load(Relaxed) / 1024).unwrap_or(0).min(32 << 10)
    }
}

/// What one thread has not reported to the budget yet.
#[derive(Default)]
pub(crate) struct Account {
    budget: Option<Arc<BodyBudget>>,
    bytes: i64,
}

impl Account {
    /// Somebody held `before` bytes and now holds `after`.
    pub(crate) fn note(&mut self, budget: &Arc<BodyBudget>, before: usize, after: usize) {
        if before == after {
            return;
        }
        if !self.budget.as_ref().is_some_and(|known| Arc::ptr_eq(known, budget)) {
            self.report();
            self.budget = Some(Arc::clone(budget));
        }
        self.bytes += after as i64 - before as i64;
        if self.bytes.abs() > budget.grain() {
            self.report();
        }
    }

    fn report(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(budget) = &self.budget {
            budget.add(bytes);
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_report_in_grains_and_leave_nothing_behind() {
        let budget = Arc::new(BodyBudget::new(1 << 20));
        let other = Arc::new(BodyBudget::new(1000));
        let mut account = Account::default();
        account.note(&budget, 0, 1000);
        assert_eq!(budget.used(), 0);
        account.note(&budget, 1000, 3000);
        assert_eq!(budget.used(), 3000);
        account.note(&budget, 3000, 2500);
        account.note(&other, 0, 1001);
        assert_eq!((budget.used(), other.used()), (2500, 1001));
        assert_eq!((budget.is_exceeded(), other.is_exceeded()), (false, true));
        account.note(&other, 1001, 1000);
        drop(account);
        assert_eq!((other.used(), other.is_exceeded()), (1000, false));
        other.set_limit(999);
        assert!(other.is_exceeded());
    }
}
