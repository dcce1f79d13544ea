//! A line in the log the first time a limit is reached. From then on the counters tell.

use tercet_broker::metrics::Counters;

/// A limit: how often it was reached, its keys in the configuration, and what happens.
type Limit = (fn(&Counters) -> u64, &'static str, &'static str);

const LIMITS: [Limit; 8] = [
    (|c| c.sockets_refused, "limits.max-connections, listener.max-connections", "connections are refused"),
    (|c| c.refused_sessions, "limits.max-sessions", "clients without a session are refused"),
    (|c| c.refused_subscriptions, "limits.max-subscriptions", "subscriptions are refused"),
    (
        |c| c.throttled,
        "limits.message-rate, limits.byte-rate",
        "clients that are too fast are read more slowly",
    ),
    (
        |c| c.dropped_queue_full,
        "limits.max-queued-messages, limits.max-queued-bytes",
        "messages for sessions with a full queue are dropped",
    ),
    (|c| c.dropped_outbox_full, "limits.outbox", "QoS 0 messages for clients that do not read are dropped"),
    (
        |c| c.dropped_too_large,
        "Maximum Packet Size of the client",
        "messages too large for a client are dropped",
    ),
    (
        |c| c.dropped_retained_full,
        "limits.max-retained-messages, limits.max-retained-bytes",
        "messages are not retained",
    ),
];

/// Remembers which limits were reported.
#[derive(Debug, Default)]
pub struct LimitLog {
    reported: [bool; LIMITS.len()],
}

impl LimitLog {
    /// Reports limits that were reached for the first time. Returns their keys.
    pub fn look(&mut self, totals: &Counters) -> Vec<&'static str> {
        let mut fresh = Vec::new();
        for ((count, key, effect), reported) in LIMITS.iter().zip(&mut self.reported) {
            if !*reported && count(totals) > 0 {
                *reported = true;
                fresh.push(*key);
                tracing::warn!(
                    limit = *key,
                    "limit reached: {effect}; said once, see the metrics for how often"
                );
            }
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reported_once() {
        let mut log = LimitLog::default();
        let mut totals = Counters::default();
        assert!(log.look(&totals).is_empty());
        totals.throttled = 3;
        assert_eq!(log.look(&totals), ["limits.message-rate, limits.byte-rate"]);
        totals.throttled = 4;
        totals.dropped_retained_full = 1;
        assert_eq!(log.look(&totals), ["limits.max-retained-messages, limits.max-retained-bytes"]);
    }
}
