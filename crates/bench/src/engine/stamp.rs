//! The payload: who sent it, which one it is, when it was sent, and a tail that shows it arrived whole.

/// The smallest payload that holds a stamp and its tail, in bytes.
pub const MIN_PAYLOAD: usize = HEAD + TAIL;

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
    /// Writes the stamp at both ends of `payload`, which must hold [`MIN_PAYLOAD`] bytes; a shorter one is
    /// left as it is (and will not read back).
    pub fn write(&self, payload: &mut [u8]) {
        let len = payload.len();
        if len < MIN_PAYLOAD {
            return;
        }
        payload[0..4].copy_from_slice(&self.run.to_le_bytes());
        payload[4..8].copy_from_slice(&self.stream.to_le_bytes());
        payload[8..16].copy_from_slice(&self.seq.to_le_bytes());
        payload[16..24].copy_from_slice(&self.sent_at.to_le_bytes());
        payload[len - TAIL..].copy_from_slice(&(!self.seq).to_le_bytes());
    }

    /// Reads the stamp back; `None` when the payload is too short or its tail does not fit its head.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (head, _) = payload.split_first_chunk::<HEAD>()?;
        let (rest, tail) = payload.split_last_chunk::<TAIL>()?;
        if rest.len() < HEAD {
            return None;
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 7, stream: 3, seq: 1 << 40, sent_at: 99 };

    #[test]
    fn reads_back_what_was_written() {
        for size in [MIN_PAYLOAD, 64, 16_384] {
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
        assert_eq!(Stamp::read(&[0; 31]), None);
        assert_eq!(Stamp::read(&[]), None);
    }
}
