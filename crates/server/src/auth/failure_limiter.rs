//! Slows down password guessing: failures are counted per peer address.
//!
//! Each address (IPv6: each /64 network, since a host owns one whole) has a bucket of failures that refills with
//! time. While it is empty, requests from that address are refused without any hashing; others never notice.
//! Logins that the success cache knows are not affected, so that one device with a wrong password does not lock out
//! its working neighbours behind the same address.

use super::identity::PeerOrigin;
use super::recent_map::RecentMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How many failures an address may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureLimit {
    /// Failures in a row before an address has to wait, at least 1.
    pub burst: u32,
    /// Time after which one more failure is allowed. Zero switches the limit off.
    pub refill: Duration,
    /// Addresses remembered, at least; at most twice as many.
    pub addresses: usize,
}

impl Default for FailureLimit {
    /// 30 failures in a row, then one every two seconds, for 16,384 addresses.
    fn default() -> Self {
        Self { burst: 30, refill: Duration::from_secs(2), addresses: 16_384 }
    }
}

/// The unit that is counted: an IPv4 address, an IPv6 /64 network, or all Unix sockets together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PeerKey(Option<IpAddr>);

impl From<PeerOrigin> for PeerKey {
    fn from(origin: PeerOrigin) -> Self {
        Self(origin.ip.map(|ip| match ip.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 => v4,
        }))
    }
}

#[derive(Debug)]
pub(super) struct FailureLimiter {
    limit: FailureLimit,
    /// The moment at which all failures of an address will be forgiven.
    forgiven_at: RecentMap<PeerKey, Instant>,
}

impl FailureLimiter {
    pub(super) fn new(limit: FailureLimit) -> Self {
        Self { limit, forgiven_at: RecentMap::new(limit.addresses) }
    }

    /// Whether the address must be refused now.
    pub(super) fn is_exhausted(&mut self, peer: PeerKey, now: Instant) -> bool {
        let Some(forgiven_at) = self.forgiven_at.touch(&peer) else { return false };
        let debt = forgiven_at.saturating_duration_since(now);
        if debt.is_zero() {
            self.forgiven_at.remove(&peer);
        }
        // One more failure must fit below the burst.
        debt > self.limit.refill * (self.limit.burst.max(1) - 1)
    }

    /// Counts a failure.
    pub(super) fn record_failure(&mut self, peer: PeerKey, now: Instant) {
        if self.limit.refill.is_zero() {
            return;
        }
        let full = now + self.limit.refill * self.limit.burst.max(1);
        match self.forgiven_at.touch(&peer) {
            Some(at) => *at = ((*at).max(now) + self.limit.refill).min(full),
            None => self.forgiven_at.insert(peer, now + self.limit.refill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: FailureLimit = FailureLimit { burst: 3, refill: Duration::from_secs(10), addresses: 8 };

    fn key(ip: &str) -> PeerKey {
        PeerOrigin::direct(ip.parse().unwrap()).into()
    }

    #[test]
    fn a_burst_exhausts_one_address_and_time_heals_it() {
        let (mut limiter, start) = (FailureLimiter::new(LIMIT), Instant::now());
        let (bad, good) = (key("192.0.2.1"), key("192.0.2.2"));
        for _ in 0..3 {
            assert!(!limiter.is_exhausted(bad, start));
            limiter.record_failure(bad, start);
        }
        assert!(limiter.is_exhausted(bad, start));
        assert!(!limiter.is_exhausted(good, start));
        assert!(limiter.is_exhausted(bad, start + Duration::from_millis(9_999)));
        let healed = start + Duration::from_secs(10);
        assert!(!limiter.is_exhausted(bad, healed));
        limiter.record_failure(bad, healed);
        assert!(limiter.is_exhausted(bad, healed));
    }

    #[test]
    fn failures_beyond_the_burst_do_not_lengthen_the_wait() {
        let (mut limiter, start) = (FailureLimiter::new(LIMIT), Instant::now());
        for _ in 0..1_000 {
            limiter.record_failure(key("192.0.2.1"), start);
        }
        assert!(!limiter.is_exhausted(key("192.0.2.1"), start + Duration::from_secs(10)));
    }

    #[test]
    fn a_v6_network_is_one_address_and_mapped_v4_is_v4() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn zero_refill_switches_the_limit_off() {
        let mut limiter = FailureLimiter::new(FailureLimit { refill: Duration::ZERO, ..LIMIT });
        let now = Instant::now();
        for _ in 0..100 {
            limiter.record_failure(key("192.0.2.1"), now);
        }
        assert!(!limiter.is_exhausted(key("192.0.2.1"), now));
    }
}
