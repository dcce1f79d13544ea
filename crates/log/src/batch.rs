//! A batch: the unit that is appended, made durable and checked as a whole.
//!
//! ```text
//! magic u32 | payload length u32 | epoch u64 | number u64 | previous number u64 | CRC32C u32 | reserved u32 | payload
//! ```
//! All little endian. The checksum covers a salt of the file's life, the header but the checksum, and the payload:
//! what an earlier life of a recycled file left behind can never be taken for a batch.

/// Bytes before the payload.
pub const BATCH_HEADER: usize = 40;
/// The first bytes of a batch.
pub const BATCH_MAGIC: u32 = 0x5452_4331;

/// What a batch's header says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Bytes of payload.
    pub length: u32,
    /// The claim under which it was appended.
    pub epoch: u64,
    /// Its number; batches are numbered without a gap.
    pub number: u64,
    /// The number of the batch before it; 0 for the first.
    pub previous: u64,
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotABatch {
    /// Fewer bytes than the header says, or than a header has.
    #[error("it is incomplete")]
    Incomplete,
    /// Something else, or nothing, is there.
    #[error("no batch begins there")]
    NoMagic,
    /// The checksum does not fit.
    #[error("its checksum is wrong")]
    Checksum,
}

/// A batch while it is filled: payload with room for the header before it, so that it is written in one piece.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: vec![0; BATCH_HEADER] }
    }
}

impl Batch {
    /// The payload, to append records to (never to cut below what is there).
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(BATCH_HEADER)
    }

    /// Whether there is no payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(BATCH_HEADER..).unwrap_or_default()
    }

    /// Empties the batch; keeps up to `capacity` bytes of its memory.
    pub fn clear(&mut self, capacity: usize) {
        if self.bytes.capacity() > capacity.max(BATCH_HEADER) {
            *self = Self::default();
        } else {
            self.bytes.truncate(BATCH_HEADER);
        }
    }

    /// Fills the header in and returns the whole as it is written.
    pub fn seal(&mut self, epoch: u64, number: u64, previous: u64, salt: u64) -> &[u8] {
        let length = self.len() as u32;
        let header = BatchHeader { length, epoch, number, previous };
        let mut fields = header.encode();
        let crc = checksum(salt, &fields, self.payload());
        if let Some(field) = fields.get_mut(32..36) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        if let Some(start) = self.bytes.get_mut(..BATCH_HEADER) {
            start.copy_from_slice(&fields);
        }
        &self.bytes
    }
}

impl BatchHeader {
    /// Reads a header without checking the payload.
    ///
    /// # Errors
    /// There is no header.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotABatch> {
        if u32_at(bytes, 0)? != BATCH_MAGIC {
            return Err(NotABatch::NoMagic);
        }
        let header = Self {
            length: u32_at(bytes, 4)?,
            epoch: u64_at(bytes, 8)?,
            number: u64_at(bytes, 16)?,
            previous: u64_at(bytes, 24)?,
        };
        if bytes.len() < BATCH_HEADER { Err(NotABatch::Incomplete) } else { Ok(header) }
    }

    fn encode(&self) -> [u8; BATCH_HEADER] {
        let mut fields = [0; BATCH_HEADER];
        let parts = [
            (0, &BATCH_MAGIC.to_le_bytes()[..]),
            (4, &self.length.to_le_bytes()),
            (8, &self.epoch.to_le_bytes()),
            (16, &self.number.to_le_bytes()),
            (24, &self.previous.to_le_bytes()),
        ];
        for (at, part) in parts {
            if let Some(field) = fields.get_mut(at..at + part.len()) {
                field.copy_from_slice(part);
            }
        }
        fields
    }
}

/// Reads a whole batch from the beginning of `bytes`. Returns its header and payload.
///
/// # Errors
/// What is there is no batch of this salt.
pub fn decode_batch(bytes: &[u8], salt: u64) -> Result<(BatchHeader, &[u8]), NotABatch> {
    let header = BatchHeader::decode(bytes)?;
    let end = BATCH_HEADER.checked_add(header.length as usize).ok_or(NotABatch::Incomplete)?;
    let payload = bytes.get(BATCH_HEADER..end).ok_or(NotABatch::Incomplete)?;
    if checksum(salt, &header.encode(), payload) != u32_at(bytes, 32)? {
        return Err(NotABatch::Checksum);
    }
    Ok((header, payload))
}

fn checksum(salt: u64, header: &[u8; BATCH_HEADER], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, header.get(..32).unwrap_or_default());
    crc32c::crc32c_append(crc, payload)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, NotABatch> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    field.map(|field| u32::from_le_bytes(*field)).ok_or(NotABatch::Incomplete)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, NotABatch> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    field.map(|field| u64::from_le_bytes(*field)).ok_or(NotABatch::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_batch_comes_back_only_whole_unchanged_and_with_its_salt(
            payload in prop::collection::vec(any::<u8>(), 0..200), salt in any::<u64>(),
            epoch in any::<u64>(), number in 1..u64::MAX, flip in any::<prop::sample::Index>(),
        ) {
            let mut batch = Batch::default();
            batch.out().extend_from_slice(&payload);
            let mut bytes = batch.seal(epoch, number, number - 1, salt).to_vec();
            let (header, read) = decode_batch(&bytes, salt).expect("whole");
            prop_assert_eq!((header.epoch, header.number, header.previous), (epoch, number, number - 1));
            prop_assert_eq!(read, &payload[..]);
            prop_assert!(decode_batch(&bytes, salt ^ 1).is_err());
            prop_assert!(decode_batch(&bytes[..bytes.len() - 1], salt).is_err());
            let at = flip.index(bytes.len());
            if !(36..40).contains(&at) {
                bytes[at] ^= 0x10;
                prop_assert!(decode_batch(&bytes, salt).is_err());
            }
        }
    }
}
