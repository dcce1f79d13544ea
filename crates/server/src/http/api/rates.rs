//! Messages per second of each queue, measured from time to time.
//!
//! Two counts of a queue and the time between them give its rates. A queue that nobody has used costs nothing here, and
//! one that is gone is forgotten with the next measurement. Where there are so many queues that counting takes a while,
//! it is done only as long as somebody looks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tercet_broker::named_queue::{QueueId, QueueTotals};
use tercet_broker::vhost::Vhost;

/// How often is measured.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// Time that a measurement may take while nobody looks.
const CHEAP: Duration = Duration::from_millis(4);
/// How long somebody who has looked is waited for.
const ATTENTION: Duration = Duration::from_secs(60);

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
    /// When somebody looked last.
    looked: Option<Instant>,
    /// How long the last measurement took.
    took: Duration,
    /// By virtual host and queue.
    queues: HashMap<(String, QueueId), (QueueTotals, QueueRates)>,
}

impl Rates {
    /// The rates of a queue; `None` before two counts were made.
    pub(super) fn of(&self, vhost: &str, queue: QueueId) -> Option<QueueRates> {
        let mut measured = self.measured.lock();
        measured.looked = Some(Instant::now());
        let found = measured.queues.get(&(vhost.to_owned(), queue));
        measured.at.map(|_| found.map_or_else(QueueRates::default, |(_, rates)| *rates))
    }

    /// Counts all queues of these virtual hosts.
    pub(crate) fn measure(&self, vhosts: &[(String, Arc<Vhost>)], now: Instant) {
        if !self.measured.lock().is_worth_it(now) {
            return;
        }
        let mut counts = Vec::new();
        for (name, vhost) in vhosts {
            for info in vhost.queues() {
                let totals = info.queue.stats().totals;
                if totals != QueueTotals::default() {
                    counts.push(((name.clone(), info.queue.id()), totals));
                }
            }
        }
        let mut measured = self.measured.lock();
        measured.note(counts, now);
        measured.took = now.elapsed();
    }
}

impl Measured {
    /// Whether to measure now. What is not measured any more is forgotten.
    fn is_worth_it(&mut self, now: Instant) -> bool {
        let looked = self.looked.is_some_and(|at| now.saturating_duration_since(at) < ATTENTION);
        if looked || self.took < CHEAP {
            return true;
        }
        *self = Self { looked: self.looked, took: self.took, ..Self::default() };
        false
    }

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

    #[test]
    fn many_queues_are_counted_only_while_somebody_looks() {
        let start = Instant::now();
        let mut measured = Measured { at: Some(start), took: CHEAP / 2, ..Measured::default() };
        assert!(measured.is_worth_it(start));
        measured.took = CHEAP;
        assert!(!measured.is_worth_it(start) && measured.at.is_none(), "old rates are not shown");
        measured.looked = Some(start);
        assert!(measured.is_worth_it(start + ATTENTION / 2));
        assert!(!measured.is_worth_it(start + ATTENTION));
    }
}
