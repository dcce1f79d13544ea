//! Listening sockets: accepting, refusing beyond the limits, and choosing a reactor.
//!
//! All listeners belong to the first reactor; a connection goes to the reactor that suits it by load. Both ends
//! of a busy pair on one core cost about half of what they cost on two, so connections are placed in blocks on
//! the least busy reactor rather than spread one by one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tercet_net::listen::is_exhaustion;
use tercet_net::{Listener, Transport};

use crate::mqtt::settings::ListenerSettings;
use crate::reactor::inbox::Inbox;

/// A listening socket with its current settings.
pub struct BoundSocket {
    /// The socket.
    pub socket: Listener,
    /// Settings for new connections; replaced on reload.
    pub settings: Arc<ArcSwap<ListenerSettings>>,
}

/// Accepts connections for all reactors.
pub struct Acceptor {
    /// The listening sockets, in the order of their tokens.
    pub sockets: Vec<BoundSocket>,
    reactors: Vec<Arc<Inbox>>,
    max_connections: usize,
    rate: Option<Rate>,
    retry_at: Option<Instant>,
    failure_reported: bool,
}

/// What accepting came to.
pub enum Accepted {
    /// A connection and the reactor it goes to.
    Connection(usize, Transport, Arc<ListenerSettings>),
    /// A connection was closed because a limit is reached.
    Refused,
    /// Nobody is waiting.
    Nobody,
    /// Accepting has to pause; the listener must be asked again later.
    Later(Duration),
}

/// Connections that a reactor gets in one go before the next one is considered.
const BLOCK: usize = 512;

impl Acceptor {
    /// An acceptor for these sockets.
    pub fn new(
        sockets: Vec<BoundSocket>,
        reactors: Vec<Arc<Inbox>>,
        max_connections: usize,
        connect_rate: Option<u32>,
        now: Instant,
    ) -> Self {
        let rate = connect_rate.map(|per_second| Rate::new(f64::from(per_second), now));
        Self { sockets, reactors, max_connections, rate, retry_at: None, failure_reported: false }
    }

    /// Takes the next connection from one listening socket.
    pub fn accept(&mut self, index: usize, now: Instant) -> Accepted {
        if let Some(wait) = self.rate.as_mut().and_then(|rate| rate.take(now)) {
            return Accepted::Later(wait);
        }
        let Some(bound) = self.sockets.get(index) else { return Accepted::Nobody };
        let transport = match bound.socket.accept_transport() {
            Ok(Some(transport)) => transport,
            Ok(None) => {
                if let Some(rate) = &mut self.rate {
                    rate.give_back();
                }
                return Accepted::Nobody;
            }
            Err(error) => {
                if !self.failure_reported {
                    self.failure_reported = true;
                    tracing::warn!(%error, exhausted = is_exhaustion(&error),
                            "cannot accept connections; raise the open-file limit (LimitNOFILE, ulimit -n)");
                }
                return Accepted::Later(Duration::from_millis(100));
            }
        };
        let settings = bound.settings.load_full();
        let open: usize = self.reactors.iter().map(|inbox| inbox.connections.load(Relaxed)).sum();
        if open >= self.max_connections || !settings.admit() {
            return Accepted::Refused;
        }
        Accepted::Connection(self.place(), transport, settings)
    }

    /// When to try again after a failure.
    pub fn retry_at(&mut self) -> &mut Option<Instant> {
        &mut self.retry_at
    }

    /// The reactor for the next connection: the least busy one in steps of a quarter, then the one with fewest
    /// blocks of connections.
    fn place(&self) -> usize {
        place(self.reactors.iter().map(|inbox| (inbox.load.load(Relaxed), inbox.connections.load(Relaxed))))
    }
}

/// Chooses among reactors by (load in thousandths, connections).
pub fn place(reactors: impl Iterator<Item = (u32, usize)>) -> usize {
    let scored =
        reactors.enumerate().map(|(index, (load, connections))| ((load / 250, connections / BLOCK), index));
    scored.min().map_or(0, |(_, index)| index)
}

/// A token bucket over wall time.
pub struct Rate {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket that holds one second's worth.
    pub fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, tokens: per_second, at: now }
    }

    /// Takes one token, or tells how long to wait for it.
    pub fn take(&mut self, now: Instant) -> Option<Duration> {
        self.take_many(1.0, now)
    }

    /// Takes `count` tokens. They are taken even if the bucket runs into debt; then the answer tells how long
    /// it takes to pay it off.
    pub fn take_many(&mut self, count: f64, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second);
        if count == 1.0 && self.tokens < 1.0 {
            return Some(Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.001)));
        }
        self.tokens -= count;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64((-self.tokens / self.per_second).max(0.001)))
    }

    /// Returns a token that was not used.
    pub fn give_back(&mut self) {
        self.tokens += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_the_less_busy_reactor_in_blocks() {
        assert_eq!(place([(0, 0), (0, 0)].into_iter()), 0);
        assert_eq!(place([(0, BLOCK - 1), (0, 0)].into_iter()), 0);
        assert_eq!(place([(0, BLOCK), (0, 0)].into_iter()), 1);
        assert_eq!(place([(900, 2), (100, 400)].into_iter()), 1);
        assert_eq!(place([(200, 2), (0, 2)].into_iter()), 0);
    }

    #[test]
    fn a_rate_lets_a_second_through_and_then_waits() {
        let start = Instant::now();
        let mut rate = Rate::new(10.0, start);
        assert!((0..10).all(|_| rate.take(start).is_none()));
        let wait = rate.take(start).expect("the bucket is empty");
        assert!(wait <= Duration::from_millis(101) && wait >= Duration::from_millis(99), "{wait:?}");
        assert!(rate.take(start + wait).is_none());
    }

    #[test]
    fn debt_has_to_be_paid_off() {
        let start = Instant::now();
        let mut rate = Rate::new(100.0, start);
        let wait = rate.take_many(300.0, start).expect("more than a second's worth");
        assert!((1.9..2.1).contains(&wait.as_secs_f64()), "{wait:?}");
    }
}
