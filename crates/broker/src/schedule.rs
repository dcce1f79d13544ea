//! What is due at a certain millisecond: expiring messages, unused queues, messages that wait to be tried again.
//!
//! One ordered table. Whoever has something due puts itself in once, for its earliest need, and looks for the next one
//! when it is called. Times are UTC milliseconds, as they are stored with messages; so a clock that is set moves them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::named_queue::NamedQueue;

/// Wakes the thread that works off what is due. Virtual hosts that one thread serves share one.
#[derive(Debug, Default)]
pub struct Alarm {
    state: Mutex<AlarmState>,
    rung: Condvar,
}

#[derive(Debug)]
struct AlarmState {
    /// When the thread means to wake up; `u64::MAX` if nothing is due, or nobody waits.
    until_ms: u64,
    /// Somebody wants it earlier.
    rung: bool,
}

impl Default for AlarmState {
    fn default() -> Self {
        Self { until_ms: u64::MAX, rung: false }
    }
}

impl Alarm {
    /// Waits until `until_ms`, or until something is due earlier, no longer than `most`. Returns at once if something
    /// earlier was announced since the last wait.
    pub fn wait(&self, until_ms: Option<u64>, now_ms: u64, most: Duration) {
        let mut state = self.state.lock();
        state.until_ms = until_ms.unwrap_or(u64::MAX);
        let left = Duration::from_millis(state.until_ms.saturating_sub(now_ms)).min(most);
        if !state.rung && !left.is_zero() {
            self.rung.wait_for(&mut state, left);
        }
        state.rung = false;
        // Nobody waits: whoever comes now has to be remembered.
        state.until_ms = u64::MAX;
    }

    /// Ends a wait.
    pub fn ring(&self) {
        self.state.lock().rung = true;
        self.rung.notify_all();
    }

    fn ring_for(&self, due_ms: u64) {
        let mut state = self.state.lock();
        if due_ms < state.until_ms && !state.rung {
            state.rung = true;
            self.rung.notify_all();
        }
    }
}

/// Who has something due.
#[derive(Clone)]
pub(crate) enum Due {
    /// A queue: its head expires, a message may be tried again, a consumer is too slow, or nobody uses it.
    Queue(Weak<NamedQueue>),
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => match queue.upgrade() {
                Some(queue) => queue.fmt(f),
                None => f.write_str("a queue that is gone"),
            },
        }
    }
}

/// What is due in one virtual host. See the module documentation.
#[derive(Debug, Default)]
pub struct Schedule {
    table: Mutex<Table>,
    alarm: Arc<Alarm>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<(u64, u64), Due>,
    /// Tells those apart that are due at the same time.
    next: u64,
}

impl Schedule {
    /// A schedule that rings this alarm.
    #[must_use]
    pub fn new(alarm: Arc<Alarm>) -> Self {
        Self { table: Mutex::default(), alarm }
    }

    /// What it rings when something becomes due earlier than known.
    #[must_use]
    pub fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Somebody has something due.
    pub(crate) fn arm(&self, due_ms: u64, who: Due) {
        let mut table = self.table.lock();
        let number = table.next;
        table.next += 1;
        table.entries.insert((due_ms, number), who);
        let first = table.entries.first_key_value().is_some_and(|(key, _)| *key == (due_ms, number));
        drop(table);
        if first {
            self.alarm.ring_for(due_ms);
        }
    }

    /// The next one whose time has come, with that time.
    pub(crate) fn pop_due(&self, now_ms: u64) -> Option<(u64, Due)> {
        let mut table = self.table.lock();
        let entry = table.entries.first_entry().filter(|entry| entry.key().0 <= now_ms)?;
        let due_ms = entry.key().0;
        Some((due_ms, entry.remove()))
    }

    /// When the next one is due, UTC milliseconds.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.table.lock().entries.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// Whether nothing is due ever.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time() {
        let schedule = Schedule::default();
        for due_ms in [30, 10, 20, 10] {
            schedule.arm(due_ms, Due::Queue(Weak::new()));
        }
        assert_eq!((schedule.next_due(), schedule.len()), (Some(10), 4));
        assert!(schedule.pop_due(9).is_none());
        assert!(schedule.pop_due(10).is_some() && schedule.pop_due(10).is_some());
        assert!(schedule.pop_due(19).is_none());
        assert!(schedule.pop_due(100).is_some() && schedule.pop_due(100).is_some());
        assert!(schedule.is_empty());
    }

    #[test]
    fn an_earlier_need_ends_a_wait() {
        let alarm = Arc::new(Alarm::default());
        let schedule = Schedule::new(Arc::clone(&alarm));
        schedule.arm(5_000, Due::Queue(Weak::new()));
        // Nobody was waiting, so that is remembered.
        alarm.wait(Some(u64::MAX), 0, Duration::from_secs(3600));
        let waiter = {
            let alarm = Arc::clone(&alarm);
            std::thread::spawn(move || alarm.wait(Some(5_000_000), 0, Duration::from_secs(3600)))
        };
        schedule.arm(1_000, Due::Queue(Weak::new()));
        waiter.join().unwrap();
        alarm.wait(Some(7), 7, Duration::from_secs(3600));
    }
}
