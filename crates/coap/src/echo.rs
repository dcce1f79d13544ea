//! Echo: asking a client to show that it receives what is sent to its address, without keeping anything (RFC 9175 §2).
//!
//! The value holds when it was made and a keyed hash over that and the peer's name, so that only who received it can send it
//! back, from the same address, while it is fresh.

use crate::{Time, keyed_hash::KeyedHash};

/// Bytes of an Echo value.
pub const ECHO_LENGTH: usize = 12;

/// Makes and checks Echo values.
#[derive(Debug)]
pub struct EchoMint {
    key: [u64; 2],
    freshness: Time,
}

/// What an Echo value proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The peer receives what is sent to it, and sent the request within the window.
    Fresh,
    /// The value was right but is too old: ask again.
    Stale,
    /// The value was never given to this peer.
    Foreign,
}

impl EchoMint {
    /// Values under `key`, which has to be unpredictable, that prove freshness for `freshness`.
    pub const fn new(key: [u64; 2], freshness: Time) -> Self {
        Self { key, freshness }
    }

    /// A value for the peer with this name: its address, or what else it is known by.
    pub fn mint(&self, peer: &[u8], now: Time) -> [u8; ECHO_LENGTH] {
        let made = (now.as_millis() as u64 / 100) as u32;
        let mut value = [0; ECHO_LENGTH];
        let (time, mac) = value.split_at_mut(4);
        time.copy_from_slice(&made.to_be_bytes());
        mac.copy_from_slice(&self.mac(peer, made).to_be_bytes());
        value
    }

    /// What `value`, which `peer` sent, proves.
    pub fn check(&self, peer: &[u8], value: &[u8], now: Time) -> Freshness {
        let Some((time, mac)) = value.split_first_chunk::<4>() else { return Freshness::Foreign };
        let Ok(mac) = <[u8; 8]>::try_from(mac) else { return Freshness::Foreign };
        let made = u32::from_be_bytes(*time);
        // Compared as one number: nothing is learned from how long it takes.
        if u64::from_be_bytes(mac) != self.mac(peer, made) {
            return Freshness::Foreign;
        }
        let age = ((now.as_millis() as u64 / 100) as u32).wrapping_sub(made);
        if Time::from_millis(u64::from(age) * 100) <= self.freshness {
            Freshness::Fresh
        } else {
            Freshness::Stale
        }
    }

    fn mac(&self, peer: &[u8], made: u32) -> u64 {
        let mut hash = KeyedHash::new(self.key);
        hash.write(&made.to_be_bytes());
        hash.write(peer);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule45_only_who_got_it_has_it_and_only_for_a_while() {
        let mint = EchoMint::new([1, 2], Time::from_secs(10));
        let now = Time::from_secs(5_000);
        let value = mint.mint(b"peer", now);
        assert!((1..=40).contains(&value.len()));
        let mut tampered = value;
        tampered[3] ^= 1;
        let mut forged = value;
        forged[11] ^= 1;
        for (name, peer, value, later, expected) in [
            ("at once", &b"peer"[..], &value[..], 0, Freshness::Fresh),
            ("in time", b"peer", &value, 10, Freshness::Fresh),
            ("too late", b"peer", &value, 11, Freshness::Stale),
            ("another peer", b"else", &value, 0, Freshness::Foreign),
            ("another time", b"peer", &tampered, 0, Freshness::Foreign),
            ("another hash", b"peer", &forged, 0, Freshness::Foreign),
            ("cut off", b"peer", &value[..11], 0, Freshness::Foreign),
            ("too short", b"peer", &value[..3], 0, Freshness::Foreign),
            ("empty", b"peer", &[], 0, Freshness::Foreign),
        ] {
            assert_eq!(mint.check(peer, value, now + Time::from_secs(later)), expected, "{name}");
        }
        let other = EchoMint::new([1, 3], Time::from_secs(10));
        assert_eq!(other.check(b"peer", &value, now), Freshness::Foreign);
        // Made in the future, as a restart with another clock could have it: not fresh.
        assert_eq!(mint.check(b"peer", &value, now - Time::from_secs(60)), Freshness::Stale);
    }
}
