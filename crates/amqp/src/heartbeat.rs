//! Signs of life (§4.2.7): when to send one, and when the other side is gone.

use std::time::{Duration, Instant};

/// Both directions of the heartbeat of a connection.
///
/// Call [`sent`](Self::sent) and [`received`](Self::received) with every write and read, whatever it was: any byte
/// counts. Call [`poll`](Self::poll) when [`next`](Self::next) is reached.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    interval: Duration,
    last_sent: Instant,
    last_received: Instant,
    paused: bool,
}

/// What a [`Heartbeat`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing yet.
    Rest,
    /// Send a heartbeat, and say so.
    Send,
    /// Nothing was received for two intervals: the connection is to be dropped without a word.
    Dead,
}

impl Heartbeat {
    /// Begins with the agreed interval in seconds; 0 turns both directions off.
    pub fn new(seconds: u16, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(seconds.into()),
            last_sent: now,
            last_received: now,
            paused: false,
        }
    }

    /// Something was written.
    #[inline]
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Something was read.
    #[inline]
    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Nothing is being read, by our own will: silence says nothing about the peer.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Reading goes on; silence counts from now.
    pub fn resume(&mut self, now: Instant) {
        if self.paused {
            self.paused = false;
            self.last_received = now;
        }
    }

    /// When [`poll`](Self::poll) will next ask for something; `None` for never.
    pub fn next(&self) -> Option<Instant> {
        if self.interval.is_zero() {
            return None;
        }
        let send = self.last_sent + self.interval / 2;
        let dead = self.last_received + self.interval * 2;
        Some(if self.paused { send } else { send.min(dead) })
    }

    /// What is to be done at `now`.
    pub fn poll(&self, now: Instant) -> Beat {
        if self.interval.is_zero() {
            Beat::Rest
        } else if !self.paused && now >= self.last_received + self.interval * 2 {
            Beat::Dead
        } else if now >= self.last_sent + self.interval / 2 {
            Beat::Send
        } else {
            Beat::Rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_interval_of_silence_asks_for_a_beat_and_two_are_death() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Heartbeat::new(10, start);
        assert_eq!((beat.poll(at(4)), beat.next()), (Beat::Rest, Some(at(5))));
        assert_eq!(beat.poll(at(5)), Beat::Send);
        beat.sent(at(5));
        assert_eq!(beat.poll(at(9)), Beat::Rest);
        beat.sent(at(19));
        assert_eq!((beat.poll(at(19)), beat.next()), (Beat::Rest, Some(at(20))));
        assert_eq!(beat.poll(at(20)), Beat::Dead);
        beat.received(at(20));
        assert_eq!(beat.poll(at(20)), Beat::Rest);
    }

    #[test]
    fn a_pause_forgives_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Heartbeat::new(10, start);
        beat.pause();
        assert_eq!(beat.poll(at(100)), Beat::Send);
        beat.sent(at(100));
        beat.resume(at(100));
        assert_eq!(beat.poll(at(100)), Beat::Rest);
        assert_eq!(beat.poll(at(120)), Beat::Dead);
    }

    #[test]
    fn zero_turns_it_off() {
        let start = Instant::now();
        let beat = Heartbeat::new(0, start);
        assert_eq!((beat.next(), beat.poll(start + Duration::from_secs(1 << 20))), (None, Beat::Rest));
    }
}
