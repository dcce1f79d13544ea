//! Keep alive (MQTT 5.0 §3.1.2.10): how long either side may be silent.
//!
//! The caller passes the time and does the waiting; several connections can share one coarse timer.

use core::time::Duration;
use std::time::Instant;

/// The server's side: a client that is silent for one and a half times its keep alive is gone [MQTT-3.1.2-22].
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    last_received: Instant,
    seconds: u16,
}

impl KeepAlive {
    /// A client that said CONNECT at `now` with this keep alive in seconds; 0 turns the mechanism off.
    pub const fn new(seconds: u16, now: Instant) -> Self {
        Self { last_received: now, seconds }
    }

    /// A packet arrived completely.
    pub const fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// When the client will be considered gone unless a packet arrives; `None` for never.
    pub fn deadline(&self) -> Option<Instant> {
        let limit = Duration::from_millis(u64::from(self.seconds) * 1500);
        if self.seconds == 0 { None } else { self.last_received.checked_add(limit) }
    }

    /// Whether the client is gone: close, in MQTT 5.0 with reason 0x8D.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }
}

/// The client's side: sends PINGREQ when it has sent nothing else for the keep alive, and expects an answer in time.
#[derive(Clone, Copy, Debug)]
pub struct PingSchedule {
    interval: Duration,
    answer_timeout: Duration,
    last_sent: Instant,
    ping_sent: Option<Instant>,
}

/// What a client has to do about its keep alive now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingAction {
    /// Nothing before this time; `None` for ever.
    Wait(Option<Instant>),
    /// Send PINGREQ and call [`PingSchedule::ping_sent`].
    SendPing,
    /// The server did not answer PINGREQ: close the connection.
    TimedOut,
}

impl PingSchedule {
    /// The schedule of a connection made at `now`. `seconds` is the keep alive in force: that of CONNECT, or the Server
    /// Keep Alive of CONNACK instead [MQTT-3.2.2-21]. Answers to PINGREQ are due within `answer_timeout`.
    pub const fn new(seconds: u16, answer_timeout: Duration, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(seconds as u64),
            answer_timeout,
            last_sent: now,
            ping_sent: None,
        }
    }

    /// A packet was sent.
    pub const fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// PINGREQ was sent.
    pub const fn ping_sent(&mut self, now: Instant) {
        self.last_sent = now;
        self.ping_sent = Some(now);
    }

    /// PINGRESP arrived. A caller may take any other packet, which shows as well that the server lives, for it.
    pub const fn pong_received(&mut self) {
        self.ping_sent = None;
    }

    /// What to do now.
    pub fn poll(&self, now: Instant) -> PingAction {
        if self.interval.is_zero() {
            return PingAction::Wait(None);
        }
        match self.ping_sent {
            Some(sent) => match sent.checked_add(self.answer_timeout) {
                Some(due) if now >= due => PingAction::TimedOut,
                due => PingAction::Wait(due),
            },
            None => match self.last_sent.checked_add(self.interval) {
                Some(due) if now >= due => PingAction::SendPing,
                due => PingAction::Wait(due),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_gone_after_one_and_a_half_intervals() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut alive = KeepAlive::new(1, start);
        assert_eq!(alive.deadline(), Some(at(1500)));
        assert!(!alive.is_expired(at(1499)));
        assert!(alive.is_expired(at(1500)));
        alive.received(at(1000));
        assert!(!alive.is_expired(at(2499)));
        assert!(alive.is_expired(at(2500)));
        assert!(KeepAlive::new(65_535, start).is_expired(at(98_302_500)));
        assert_eq!(KeepAlive::new(0, start).deadline(), None);
        assert!(size_of::<KeepAlive>() <= 24);
    }

    #[test]
    fn pings_fill_silence_only() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut pings = PingSchedule::new(10, Duration::from_secs(5), start);
        assert_eq!(pings.poll(at(9)), PingAction::Wait(Some(at(10))));
        pings.sent(at(9));
        assert_eq!(pings.poll(at(10)), PingAction::Wait(Some(at(19))));
        assert_eq!(pings.poll(at(19)), PingAction::SendPing);
        pings.ping_sent(at(19));
        assert_eq!(pings.poll(at(23)), PingAction::Wait(Some(at(24))));
        pings.pong_received();
        assert_eq!(pings.poll(at(24)), PingAction::Wait(Some(at(29))));
        pings.ping_sent(at(29));
        assert_eq!(pings.poll(at(34)), PingAction::TimedOut);
        assert_eq!(PingSchedule::new(0, Duration::ZERO, start).poll(at(1000)), PingAction::Wait(None));
    }
}
