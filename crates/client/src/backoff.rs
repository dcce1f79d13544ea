//! How long to wait before the next attempt to connect: exponential growth with jitter.
//!
//! Jitter keeps a fleet that lost its broker at one moment from coming back at one moment.

use std::time::Duration;

/// The waiting times between attempts to connect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Wait before the first retry.
    pub min: Duration,
    /// The wait never grows beyond this.
    pub max: Duration,
    /// The wait is multiplied by this after each failure; values below 1 count as 1.
    pub factor: f32,
    /// Share of the wait that is random, 0 (none) to 1 (anything between nothing and the whole wait).
    pub jitter: f32,
    /// Give up after this many failures in a row; `None` never gives up.
    pub max_tries: Option<u32>,
}

impl Default for Backoff {
    /// 250 ms growing by 2 up to 30 s, half of it random, for ever.
    fn default() -> Self {
        Self {
            min: Duration::from_millis(250),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: 0.5,
            max_tries: None,
        }
    }
}

impl Backoff {
    /// The wait after `failures` failed attempts in a row (the first is 1), or `None` to give up.
    pub fn delay(&self, failures: u32) -> Option<Duration> {
        self.delay_with(failures, random_unit())
    }

    /// As [`delay`](Self::delay) with the random number (0 to 1) given.
    fn delay_with(&self, failures: u32, random: f32) -> Option<Duration> {
        if self.max_tries.is_some_and(|tries| failures > tries) {
            return None;
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.min.as_secs_f32() * self.factor.max(1.0).powi(exponent);
        let capped = grown.min(self.max.as_secs_f32()).max(0.0);
        let wait = capped * (1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0));
        Some(Duration::try_from_secs_f32(wait).unwrap_or(self.max))
    }
}

/// A number between 0 and 1 from the operating system; 0.5 when it has none to give.
fn random_unit() -> f32 {
    let mut bytes = [0u8; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f32::from(u16::from_ne_bytes(bytes)) / f32::from(u16::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit() {
        let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
        let waits: Vec<_> =
            [1, 2, 3, 8, 4_000_000_000].map(|n| backoff.delay_with(n, 0.0).unwrap().as_millis()).into();
        assert_eq!(waits, [250, 500, 1000, 30_000, 30_000]);
    }

    #[test]
    fn jitter_only_shortens() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay_with(1, 0.0), Some(Duration::from_millis(250)));
        assert_eq!(backoff.delay_with(1, 1.0), Some(Duration::from_millis(125)));
        for _ in 0..100 {
            let wait = backoff.delay(1).unwrap();
            assert!(wait >= Duration::from_millis(124) && wait <= Duration::from_millis(250), "{wait:?}");
        }
    }

    #[test]
    fn gives_up_when_told() {
        let backoff = Backoff { max_tries: Some(2), ..Backoff::default() };
        assert!(backoff.delay(2).is_some());
        assert_eq!(backoff.delay(3), None);
    }
}
