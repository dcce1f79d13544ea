//! A client's interest in a resource (RFC 7641 §3).

use super::is_newer;
use crate::{Message, Number, Time};

/// What a response with the token of the registration means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// The state of the resource, newer than all before.
    Fresh,
    /// Overtaken by a newer one: not to be shown.
    Outdated,
    /// The answer, and the server does not, or no longer, send notifications (§3.1, §3.2): it carried no Observe option or
    /// an error.
    Ended,
}

/// Freshness of a response without Max-Age (RFC 7252 §5.10.5).
const DEFAULT_MAX_AGE: u32 = 60;
/// How long after the end of freshness one registers anew: at least this, and up to as much again twice (§3.3.1).
const RENEWAL: Time = Time::from_secs(5);

/// One observation, from the first response on.
#[derive(Debug)]
pub struct Registration {
    /// Over a reliable transport: the order is that of arrival (RFC 8323 §7.1).
    reliable: bool,
    last: Option<(u32, Time)>,
    fresh_until: Time,
}

impl Registration {
    /// A registration that was just requested.
    pub const fn new(reliable: bool) -> Self {
        Self { reliable, last: None, fresh_until: Time::ZERO }
    }

    /// Says what `response` means that has the registration's token.
    pub fn on_response(&mut self, response: &Message<'_>, now: Time) -> Notification {
        let number = response.options.uint(Number::OBSERVE).filter(|_| response.code.is_success());
        let Some(number) = number else { return Notification::Ended };
        if !self.reliable
            && let Some(last) = self.last
            && !is_newer(last, (number, now))
        {
            return Notification::Outdated;
        }
        self.last = Some((number, now));
        let max_age = response.options.uint(Number::MAX_AGE).unwrap_or(DEFAULT_MAX_AGE);
        self.fresh_until = now.saturating_add(Time::from_secs(u64::from(max_age)));
        Notification::Fresh
    }

    /// When to register anew, with the same token, unless a notification comes before: some time after the representation
    /// is no longer fresh. `random` is any random number, by which clients keep from doing so all at once.
    pub fn renew_at(&self, random: u32) -> Time {
        let spread = Time::from_millis(u64::from(random) % 10_001);
        self.fresh_until.saturating_add(RENEWAL).saturating_add(spread)
    }

    /// Until when the last representation is fresh.
    pub fn fresh_until(&self) -> Time {
        self.fresh_until
    }

    /// Forgets the order of notifications, as the server is another one now or was restarted.
    pub fn restart(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use crate::{Code, OptionBuf};

    use super::*;

    fn receive(
        registration: &mut Registration,
        code: Code,
        observe: Option<u32>,
        seconds: u64,
    ) -> Notification {
        let mut options = OptionBuf::new();
        if let Some(observe) = observe {
            options.add_uint(Number::OBSERVE, observe);
        }
        options.add_uint(Number::MAX_AGE, 30);
        let response = Message { options: options.as_options(), ..Message::new(code) };
        registration.on_response(&response, Time::from_secs(seconds))
    }

    #[test]
    fn rule32_notifications_may_overtake_each_other() {
        let mut registration = Registration::new(false);
        for (observe, seconds, expected) in [
            (0xFF_FFFE, 0, Notification::Fresh),
            (0, 1, Notification::Fresh),
            (0xFF_FFFF, 1, Notification::Outdated),
            (0, 2, Notification::Outdated),
            (1, 2, Notification::Fresh),
            (0, 131, Notification::Fresh),
        ] {
            assert_eq!(
                receive(&mut registration, Code::CONTENT, Some(observe), seconds),
                expected,
                "{observe}"
            );
        }
    }

    #[test]
    fn rfc8323_7_1_streams_keep_the_order() {
        let mut registration = Registration::new(true);
        for observe in [5, 5, 4, 0] {
            assert_eq!(receive(&mut registration, Code::CONTENT, Some(observe), 1), Notification::Fresh);
        }
    }

    #[test]
    fn rule36_what_ends_an_observation() {
        for (code, observe) in [(Code::CONTENT, None), (Code::NOT_FOUND, None), (Code::NOT_FOUND, Some(7))] {
            let mut registration = Registration::new(false);
            assert_eq!(
                receive(&mut registration, code, observe, 1),
                Notification::Ended,
                "{code} {observe:?}"
            );
        }
    }

    #[test]
    fn rfc7641_3_3_1_renewed_some_time_after_freshness() {
        let mut registration = Registration::new(false);
        receive(&mut registration, Code::CONTENT, Some(1), 100);
        assert_eq!(registration.fresh_until(), Time::from_secs(130));
        for random in [0, 1, 77_777, u32::MAX] {
            let renewal = registration.renew_at(random);
            assert!((Time::from_secs(135)..=Time::from_secs(145)).contains(&renewal), "{renewal:?}");
        }
    }
}
