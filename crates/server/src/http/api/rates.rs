//! Messages per second of each queue, measured from time to time.
//!
//! Two counts of a queue and the time between them give its rates. A queue that nobody has used costs nothing here, and
//! one that is gone is forgotten with the next measurement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tercet_broker::named_queue::{QueueId, QueueTotals};
use tercet_broker::vhost::Vhost;

/// How often is measured.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// Messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QueueRates {
    /// That came.
    pub(crate) published: f64,
    /// That were handed out.
    pub(crate) delivered: f64,
    /// That were acknowledged.
    pub(crate) acknowledged: f64,
}

/// The rates of all queues.
#[derive(Default)]
pub(crate) struct Rates {
    measured: Mutex<Measured>,
}

#[derive(Default)]
struct Measured {
    at: Option<Instant>,
    /// By virtual host and queue.
    queues: HashMap<(String, QueueId), (QueueTotals, QueueRates)>,
}

impl Rates {
    /// The rates of a queue; `None` before two counts were made.
    pub(super) fn of(&self, vhost: &str, queue: QueueId) -> Option<QueueRates> {
        let measured = self.measured.lock();
        let found = measured.queues.get(&(vhost.to_owned(), queue));
        measured.at.map(|_| found.map_or_else(QueueRates::default, |(_, rates)| *rates))
    }

    /// Counts all queues of these virtual hosts.
    pub(crate) fn measure(&self, vhosts: &[(String, Arc<Vhost>)], now: Instant) {
        let mut counts = Vec::new();
        for (name, vhost) in vhosts {
            for info in vhost.queues() {
                let totals = info.queue.stats().totals;
                if totals != QueueTotals::default() {
                    counts.push(((name.clone(), info.queue.id()), totals));
                }
            }
        }
        self.measured.lock().note(counts, now);
    }
}

impl Measured {
    fn note(&mut self, counts: Vec<((String, QueueId), QueueTotals)>, now: Instant) {
        let seconds = self.at.map(|before| now.saturating_duration_since(before).as_secs_f64());
        let before = std::mem::take(&mut self.queues);
        self.queues.reserve(counts.len());
        for (key, totals) in counts {
            let known = before.get(&key).map(|(totals, _)| *totals).unwrap_or_default();
            let rate = |new: u64, old: u64| match seconds {
                Some(seconds) if seconds > 0.0 => new.saturating_sub(old) as f64 / seconds,
                _ => 0.0,
            };
            let rates = QueueRates {
                published: rate(totals.published, known.published),
                delivered: rate(totals.delivered, known.delivered),
                acknowledged: rate(totals.acknowledged, known.acknowledged),
            };
            self.queues.insert(key, (totals, rates));
        }
        self.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_from_two_counts_and_the_time_between_them() {
        let (mut measured, start) = (Measured::default(), Instant::now());
        let key = ("/".to_owned(), QueueId(1));
        let count = |published| {
            vec![(key.clone(), QueueTotals { published, delivered: 4, ..QueueTotals::default() })]
        };
        measured.note(count(10), start);
        assert_eq!(measured.queues[&key].1, QueueRates::default(), "one count is no rate");
        measured.note(count(30), start + Duration::from_secs(10));
        let expected = QueueRates { published: 2.0, delivered: 0.0, acknowledged: 0.0 };
        assert_eq!(measured.queues[&key].1, expected);
        measured.note(Vec::new(), start + Duration::from_secs(20));
        assert!(measured.queues.is_empty(), "a queue that is gone is forgotten");
    }
}
