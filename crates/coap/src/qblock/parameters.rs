//! The parameters of RFC 9177 §7.2.

use crate::Time;

/// How bodies are sent in bursts. Both ends have to agree.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// MAX_PAYLOADS: blocks of a set; 10. Zero counts as one.
    pub max_payloads: u32,
    /// NON_TIMEOUT: the least time between two sets when the receiver does not say that it has the first; 2 s. Half as much
    /// again is added at random.
    pub timeout: Time,
    /// NON_RECEIVE_TIMEOUT: how long to wait for the next block before saying what is missing; 4 s. Doubled each time, so that a body of which
    /// nothing more comes is given up after 124 s.
    pub receive_timeout: Time,
    /// NON_MAX_RETRANSMIT: how often to say what is missing; 4.
    pub max_retransmit: u8,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            max_payloads: 10,
            timeout: Time::from_secs(2),
            receive_timeout: Time::from_secs(4),
            max_retransmit: 4,
        }
    }
}

impl Parameters {
    /// MAX_PAYLOADS, at least one.
    pub(super) fn set_size(&self) -> u32 {
        self.max_payloads.max(1)
    }

    /// The last block of the set that `number` belongs to.
    pub(super) fn end_of_set(&self, number: u32) -> u32 {
        let set = self.set_size();
        number / set * set + (set - 1)
    }
}
