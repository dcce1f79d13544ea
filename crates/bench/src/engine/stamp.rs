//! The payload: who sent it, which one it is, when it was sent, and a tail that shows it arrived whole.
//!
//! A payload of [`FULL`] bytes or more has room for all of it at both ends. A smaller one, down to
//! [`MIN_PAYLOAD`], holds the same in fewer bits behind each other, with a check of all of them at the end.

/// The smallest payload that holds a stamp, in bytes.
pub const MIN_PAYLOAD: usize = 16;

/// The smallest payload that holds every field in full, in bytes.
const FULL: usize = HEAD + TAIL;
const HEAD: usize = 24;
const TAIL: usize = 8;

/// Identifies one message of one run.
///
/// A *stream* is one publisher's messages to one topic: the unit in which MQTT promises order
/// (MQTT 5.0 §4.6). The run number tells messages left over from an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which run of the load generator sent it.
    pub run: u32,
    /// Which stream it belongs to.
    pub stream: u32,
    /// Its position in the stream, from zero.
    pub seq: u64,
    /// When it was handed to the socket, in nanoseconds of the run's clock.
    pub sent_at: u64,
}

impl Stamp {
    /// Writes the stamp into `payload`, which must hold [`MIN_PAYLOAD`] bytes; a shorter one is left as it is
    /// (and will not read back).
    ///
    /// Below 32 bytes only the low 16 bits of run and stream, 32 of the position and 48 of the time are kept.
    #[inline]
    pub fn write(&self, payload: &mut [u8]) {
        let len = payload.len();
        if len < FULL {
            return self.write_compact(payload);
        }
        payload[0..4].copy_from_slice(&self.run.to_le_bytes());
        payload[4..8].copy_from_slice(&self.stream.to_le_bytes());
        payload[8..16].copy_from_slice(&self.seq.to_le_bytes());
        payload[16..24].copy_from_slice(&self.sent_at.to_le_bytes());
        payload[len - TAIL..].copy_from_slice(&(!self.seq).to_le_bytes());
    }

    /// Reads the stamp back; `None` when the payload is too short or its check does not fit.
    #[inline]
    pub fn read(payload: &[u8]) -> Option<Self> {
        if payload.len() < FULL {
            return Stamp::read_compact(payload);
        }
        let (head, _) = payload.split_first_chunk::<HEAD>()?;
        let (_, tail) = payload.split_last_chunk::<TAIL>()?;
        let seq = u64::from_le_bytes(head[8..16].try_into().ok()?);
        if u64::from_le_bytes(*tail) != !seq {
            return None;
        }
        Some(Stamp {
            run: u32::from_le_bytes(head[0..4].try_into().ok()?),
            stream: u32::from_le_bytes(head[4..8].try_into().ok()?),
            seq,
            sent_at: u64::from_le_bytes(head[16..24].try_into().ok()?),
        })
    }

    fn write_compact(&self, payload: &mut [u8]) {
        let len = payload.len();
        if len < MIN_PAYLOAD {
            return;
        }
        let who = u64::from(self.run as u16) | u64::from(self.stream as u16) << 16 | self.seq << 32;
        let when = self.sent_at & TIME;
        payload[0..8].copy_from_slice(&who.to_le_bytes());
        payload[len - 8..].copy_from_slice(&(when | u64::from(check(who, when, len)) << 48).to_le_bytes());
    }

    fn read_compact(payload: &[u8]) -> Option<Self> {
        if payload.len() < MIN_PAYLOAD {
            return None;
        }
        let who = u64::from_le_bytes(*payload.first_chunk()?);
        let last = u64::from_le_bytes(*payload.last_chunk()?);
        let when = last & TIME;
        (check(who, when, payload.len()) == (last >> 48) as u16).then_some(Stamp {
            run: u32::from(who as u16),
            stream: u32::from((who >> 16) as u16),
            seq: who >> 32,
            sent_at: when,
        })
    }
}

/// 78 hours in nanoseconds.
const TIME: u64 = (1 << 48) - 1;

/// Sixteen bits that change with any bit of a compact stamp, or with its length.
fn check(who: u64, when: u64, len: usize) -> u16 {
    let mixed = (who ^ when.rotate_left(21) ^ (len as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    !((mixed >> 48) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 7, stream: 3, seq: 1 << 40, sent_at: 99 };

    #[test]
    fn reads_back_what_was_written() {
        for size in [FULL, 64, 16_384] {
            let mut payload = vec![0xAA; size];
            STAMP.write(&mut payload);
            assert_eq!(Stamp::read(&payload), Some(STAMP), "size {size}");
        }
    }

    #[test]
    fn a_damaged_or_cut_payload_does_not_read() {
        let mut payload = vec![0; 64];
        STAMP.write(&mut payload);
        assert_eq!(Stamp::read(&payload[..63]), None);
        payload[63] ^= 1;
        assert_eq!(Stamp::read(&payload), None);
        assert_eq!(Stamp::read(&[0; FULL]), None);
        assert_eq!(Stamp::read(&[]), None);
    }

    #[test]
    fn a_small_payload_holds_a_stamp_too() {
        let stamp = Stamp { run: 0xFFFE, stream: 0xFFFD, seq: 0xFFFF_FFFC, sent_at: TIME - 1 };
        for size in MIN_PAYLOAD..FULL {
            let mut payload = vec![0xAA; size];
            stamp.write(&mut payload);
            assert_eq!(Stamp::read(&payload), Some(stamp), "size {size}");
            for bit in (0..64).chain((size - 8) * 8..size * 8) {
                payload[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Stamp::read(&payload), None, "size {size}, bit {bit}");
                payload[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(Stamp::read(&payload[..size - 1]), None, "size {size}");
            assert_eq!(Stamp::read(&[0; FULL][..size]), None);
        }
    }
}
