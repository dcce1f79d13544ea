//! Bounds on what is sent to addresses that nobody has proven to be theirs.
//!
//! Whoever asks with a forged address has the answer sent to somebody else. Answers that are not much larger than their
//! requests do no harm. Of the larger ones an address gets so many bytes a minute; then it has to show that it receives what
//! is sent to it, by repeating an Echo option (RFC 9175 §2.6). The first block of each minute is free, as most clients do not
//! know Echo.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;
use tercet_coap::Time;
use tercet_coap::block::BlockSize;
use tercet_coap::echo::{ECHO_LENGTH, EchoMint, Freshness};

/// Answers up to so many times the size of their requests count for nothing, as in QUIC (RFC 9000 §8).
const FACTOR: usize = 3;
/// Over which bytes are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// How long an address that was shown to be its client's stays so after the last proof.
const VERIFIED_FOR: Duration = Duration::from_secs(600);
/// How long a client may take to repeat an Echo value.
const FRESH_FOR: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the oldest is forgotten.
const MOST: usize = 65_536;

/// What is known of addresses.
pub struct Amplification {
    mint: EchoMint,
    addresses: HashMap<IpAddr, Address>,
    /// In the order in which they came to be known.
    order: VecDeque<IpAddr>,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Address {
    window_ends: Time,
    bytes: u64,
    verified_until: Time,
}

/// A request of a client whose address may be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The address.
    pub address: IpAddr,
    /// Bytes of the request.
    pub size: usize,
}

impl Amplification {
    /// Nothing is known. The key has to be unpredictable.
    #[must_use]
    pub fn new(key: [u64; 2]) -> Self {
        Self { mint: EchoMint::new(key, FRESH_FOR), addresses: HashMap::new(), order: VecDeque::new() }
    }

    /// A client repeats an Echo value: if it is right its address is proven for a while.
    pub fn repeated(&mut self, address: IpAddr, echo: &[u8], now: Time) {
        if self.mint.check(&name(address), echo, now) == Freshness::Fresh {
            self.entry(address).verified_until = now + VERIFIED_FOR;
        }
    }

    /// Whether an answer with this many bytes of payload may be sent, with `budget` bytes a minute.
    pub fn allows(&mut self, request: Unproven, bytes: usize, budget: u64, now: Time) -> bool {
        let Some(excess) =
            bytes.checked_sub(request.size.saturating_mul(FACTOR)).filter(|excess| *excess > 0)
        else {
            return true;
        };
        let known = self.entry(request.address);
        if now < known.verified_until {
            return true;
        }
        if now >= known.window_ends {
            (known.window_ends, known.bytes) = (now + WINDOW, 0);
        }
        let most = budget.saturating_add(BlockSize::MAX.bytes() as u64);
        let bytes = known.bytes.saturating_add(excess as u64);
        if bytes <= most {
            known.bytes = bytes;
        }
        bytes <= most
    }

    /// An Echo value that the client at this address has to repeat.
    #[must_use]
    pub fn challenge(&self, address: IpAddr, now: Time) -> [u8; ECHO_LENGTH] {
        self.mint.mint(&name(address), now)
    }

    fn entry(&mut self, address: IpAddr) -> &mut Address {
        if !self.addresses.contains_key(&address) {
            if self.order.len() >= MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.addresses.remove(&oldest);
            }
            self.order.push_back(address);
        }
        self.addresses.entry(address).or_default()
    }
}

/// What an Echo value is bound to.
fn name(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1000);

    fn request(last: u8) -> Unproven {
        Unproven { address: IpAddr::from([192, 0, 2, last]), size: 20 }
    }

    #[test]
    fn small_answers_are_free_and_large_ones_cost_until_the_minute_is_over() {
        let mut amplification = Amplification::new([1, 2]);
        for _ in 0..10_000 {
            assert!(amplification.allows(request(1), 60, 0, NOW));
        }
        assert!(amplification.addresses.is_empty());
        assert!(amplification.allows(request(1), 1024, 0, NOW));
        assert!(!amplification.allows(request(1), 1024, 0, NOW));
        assert!(amplification.allows(request(1), 1024, 0, NOW + WINDOW));
        assert!(amplification.allows(request(2), 1024, 0, NOW));
    }

    #[test]
    fn who_repeats_its_own_echo_value_gets_all() {
        let mut amplification = Amplification::new([1, 2]);
        let echo = amplification.challenge(request(1).address, NOW);
        amplification.repeated(request(2).address, &echo, NOW);
        amplification.repeated(request(1).address, &echo, NOW);
        for _ in 0..10 {
            assert!(amplification.allows(request(1), 1024, 0, NOW));
        }
        assert!(
            amplification.allows(request(2), 1024, 0, NOW) && !amplification.allows(request(2), 1024, 0, NOW)
        );
        assert!(amplification.allows(request(1), 1024, 0, NOW + VERIFIED_FOR));
        assert!(!amplification.allows(request(1), 1024, 0, NOW + VERIFIED_FOR));
    }

    #[test]
    fn forged_addresses_do_not_fill_the_memory() {
        let mut amplification = Amplification::new([1, 2]);
        for n in 0..100_000_u32 {
            let address = IpAddr::from(n.to_be_bytes());
            amplification.allows(Unproven { address, size: 20 }, 1024, 0, NOW);
        }
        assert_eq!((amplification.addresses.len(), amplification.order.len()), (MOST, MOST));
    }
}
