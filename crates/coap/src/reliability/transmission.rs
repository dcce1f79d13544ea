//! The parameters of transmission and the times that follow from them (RFC 7252 §4.8).

use core::time::Duration;

/// MAX_LATENCY: how long a datagram may take through the network (RFC 7252 §4.8.2).
const MAX_LATENCY: Duration = Duration::from_secs(100);

/// How messages are retransmitted, and how fast a peer may be sent to.
///
/// Both ends have to agree on them, as one derives from them when the other stops: change them for a whole network only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transmission {
    /// ACK_TIMEOUT: the least time before the first retransmission; 2 s.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR: the first timeout is drawn from `ack_timeout` to this many times it; 1.5. Below 1 counts as 1.
    pub random_factor: f32,
    /// MAX_RETRANSMIT: retransmissions after the first transmission; 4.
    pub max_retransmit: u8,
    /// NSTART: Confirmable messages to one peer that wait for their acknowledgement at the same time; 1. Further ones wait
    /// for their turn.
    pub nstart: u16,
    /// DEFAULT_LEISURE: answers to a multicast request are spread over this time (§8.2); 5 s.
    pub leisure: Duration,
    /// PROBING_RATE in bytes per second: how much a peer that never answers is sent on average in Non-confirmable messages
    /// (§4.7); 1. `None` leaves that to the caller, as a server does that paces its notifications itself.
    pub probing_rate: Option<u32>,
}

impl Default for Transmission {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            random_factor: 1.5,
            max_retransmit: 4,
            nstart: 1,
            leisure: Duration::from_secs(5),
            probing_rate: None,
        }
    }
}

impl Transmission {
    /// MAX_TRANSMIT_SPAN: from the first transmission to the last retransmission; 45 s by default.
    pub fn max_transmit_span(&self) -> Duration {
        self.longest_timeout().saturating_mul((1_u32 << self.retransmissions()) - 1)
    }

    /// MAX_TRANSMIT_WAIT: from the first transmission to giving up; 93 s by default.
    pub fn max_transmit_wait(&self) -> Duration {
        self.longest_timeout().saturating_mul((2_u32 << self.retransmissions()) - 1)
    }

    /// MAX_RTT, with ACK_TIMEOUT as the PROCESSING_DELAY; 202 s by default.
    pub fn max_rtt(&self) -> Duration {
        MAX_LATENCY.saturating_mul(2).saturating_add(self.ack_timeout)
    }

    /// EXCHANGE_LIFETIME: from sending a Confirmable message to when its Message ID may be used again; 247 s by default.
    pub fn exchange_lifetime(&self) -> Duration {
        self.max_transmit_span().saturating_add(self.max_rtt())
    }

    /// NON_LIFETIME: the same for Non-confirmable messages; 145 s by default.
    pub fn non_lifetime(&self) -> Duration {
        self.max_transmit_span().saturating_add(MAX_LATENCY)
    }

    /// The longest first timeout: ACK_TIMEOUT × ACK_RANDOM_FACTOR.
    pub(crate) fn longest_timeout(&self) -> Duration {
        let factor = if self.random_factor.is_finite() { self.random_factor.clamp(1.0, 1000.0) } else { 1.0 };
        self.ack_timeout.min(Duration::from_secs(3600)).mul_f32(factor)
    }

    /// MAX_RETRANSMIT, kept where its powers of two still are numbers.
    pub(crate) fn retransmissions(&self) -> u32 {
        u32::from(self.max_retransmit.min(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7252 §4.8.2, table 3.
    #[test]
    fn rfc7252_4_8_2_derived_times() {
        let by_default = Transmission::default();
        for (name, time, seconds) in [
            ("MAX_TRANSMIT_SPAN", by_default.max_transmit_span(), 45),
            ("MAX_TRANSMIT_WAIT", by_default.max_transmit_wait(), 93),
            ("MAX_RTT", by_default.max_rtt(), 202),
            ("EXCHANGE_LIFETIME", by_default.exchange_lifetime(), 247),
            ("NON_LIFETIME", by_default.non_lifetime(), 145),
        ] {
            assert_eq!(time, Duration::from_secs(seconds), "{name}");
        }
    }

    #[test]
    fn rule16_derived_times_follow_the_parameters() {
        let fast = Transmission {
            ack_timeout: Duration::from_secs(1),
            max_retransmit: 2,
            ..Transmission::default()
        };
        assert_eq!(fast.max_transmit_span(), Duration::from_millis(4500));
        assert_eq!(fast.exchange_lifetime(), Duration::from_millis(4500 + 201_000));
        let absurd = Transmission { random_factor: f32::NAN, max_retransmit: 255, ..fast };
        assert!(absurd.max_transmit_wait() > fast.max_transmit_wait());
    }
}
