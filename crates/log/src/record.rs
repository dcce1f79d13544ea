//! The frame of a record: kind, version, whether it must be understood, length.
//!
//! ```text
//! kind u8 | must-understand 0x80, version 0x7f | length u32, little endian | body
//! ```
//! A reader that meets an unknown kind or version stops if the record must be understood, else it skips it.

/// Bytes before the body of a record.
pub const RECORD_HEADER: usize = 6;
const MUST_UNDERSTAND: u8 = 0x80;

/// What a record's frame says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the record is; numbers belong to the log's owner and are never reused.
    pub kind: u8,
    /// Layout of the body, up to 127.
    pub version: u8,
    /// Whether a reader that does not know the kind or version has to stop.
    pub must_understand: bool,
}

/// A record in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its header.
    pub header: RecordHeader,
    /// Bytes of the payload before the record's frame.
    pub offset: u32,
    /// The body.
    pub body: &'a [u8],
}

impl RawRecord<'_> {
    /// Bytes of frame and body.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        RECORD_HEADER + self.body.len()
    }
}

/// The payload is no sequence of records at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no record at offset {offset} of the batch")]
pub struct MalformedRecord {
    /// Bytes of the payload before it.
    pub offset: u32,
}

/// Appends a record whose body is written by `body`. Bodies are shorter than 4 GiB: their owner sees to that.
pub fn write_record<R>(out: &mut Vec<u8>, header: RecordHeader, body: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let start = out.len();
    let flag = if header.must_understand { MUST_UNDERSTAND } else { 0 };
    out.extend_from_slice(&[header.kind, flag | (header.version & !MUST_UNDERSTAND), 0, 0, 0, 0]);
    let result = body(out);
    let length = (out.len() - start - RECORD_HEADER) as u32;
    if let Some(field) = out.get_mut(start + 2..start + RECORD_HEADER) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    result
}

/// The records of a payload, in order. Ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    payload: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    /// The records of `payload`.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { payload, offset: 0 }
    }

    fn parse(&self) -> Option<RawRecord<'a>> {
        let rest = self.payload.get(self.offset..)?;
        let (&[kind, flags, a, b, c, d], rest) = rest.split_first_chunk::<RECORD_HEADER>()?;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let header = RecordHeader {
            kind,
            version: flags & !MUST_UNDERSTAND,
            must_understand: flags & MUST_UNDERSTAND != 0,
        };
        Some(RawRecord { header, offset: self.offset as u32, body: rest.get(..length)? })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RawRecord<'a>, MalformedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.payload.len() {
            return None;
        }
        let Some(record) = self.parse() else {
            let offset = self.offset as u32;
            self.offset = self.payload.len();
            return Some(Err(MalformedRecord { offset }));
        };
        self.offset += record.encoded_len();
        Some(Ok(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_as_they_were_written(
            records in prop::collection::vec((any::<u8>(), 0_u8..128, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cut in 1_usize..10,
        ) {
            let mut payload = Vec::new();
            for (kind, version, must_understand, body) in &records {
                let header = RecordHeader { kind: *kind, version: *version, must_understand: *must_understand };
                write_record(&mut payload, header, |out| out.extend_from_slice(body));
            }
            let read: Vec<_> = Records::new(&payload).map(|record| {
                let record = record.expect("whole");
                (record.header.kind, record.header.version, record.header.must_understand, record.body.to_vec())
            }).collect();
            prop_assert_eq!(&read, &records);
            let short = payload.len().saturating_sub(cut);
            let whole = Records::new(&payload[..short]).filter(Result::is_ok).count();
            prop_assert!(whole <= records.len());
        }
    }
}
