//! What a change of metadata looks like in the log.
//!
//! ```text
//! set       1   revision u64 | length of the key u32 | key | value
//! removed   2   revision u64 | key
//! revision  3   the last revision given out, at a checkpoint u64
//! ```
//! All version 1, little endian, and to be understood.

use crate::record::{RawRecord, RecordHeader, write_record};

const SET: u8 = 1;
const REMOVED: u8 = 2;
const REVISION: u8 = 3;
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Set { key: &'a str, revision: u64, value: &'a [u8] },
    Removed { key: &'a str, revision: u64 },
    Revision(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotARecord {
    #[error("a record is incomplete")]
    Incomplete,
    #[error("a record of kind {0}, version {1} is of a later version of Tercet")]
    Unknown(u8, u8),
    #[error("a key is not UTF-8")]
    Key,
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Set { .. } => SET,
            Self::Removed { .. } => REMOVED,
            Self::Revision(_) => REVISION,
        };
        let header = RecordHeader { kind, version: VERSION, must_understand: true };
        write_record(out, header, |out| match self {
            Self::Set { key, revision, value } => {
                out.extend_from_slice(&revision.to_le_bytes());
                out.extend_from_slice(&(key.len() as u32).to_le_bytes());
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(value);
            }
            Self::Removed { key, revision } => {
                out.extend_from_slice(&revision.to_le_bytes());
                out.extend_from_slice(key.as_bytes());
            }
            Self::Revision(revision) => out.extend_from_slice(&revision.to_le_bytes()),
        });
    }

    /// `None` for a record that is not known and need not be.
    pub(super) fn decode(raw: &RawRecord<'a>) -> Result<Option<Self>, NotARecord> {
        let RecordHeader { kind, version, must_understand } = raw.header;
        if version != VERSION || !(SET..=REVISION).contains(&kind) {
            return if must_understand { Err(NotARecord::Unknown(kind, version)) } else { Ok(None) };
        }
        let (revision, rest) = raw.body.split_first_chunk().ok_or(NotARecord::Incomplete)?;
        let revision = u64::from_le_bytes(*revision);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| NotARecord::Key);
        Ok(Some(match kind {
            SET => {
                let (length, rest) = rest.split_first_chunk().ok_or(NotARecord::Incomplete)?;
                let length = u32::from_le_bytes(*length) as usize;
                let (key, value) = rest.split_at_checked(length).ok_or(NotARecord::Incomplete)?;
                Self::Set { key: text(key)?, revision, value }
            }
            REMOVED => Self::Removed { key: text(rest)?, revision },
            _ => Self::Revision(revision),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Records;

    #[test]
    fn records_come_back_and_short_ones_are_refused() {
        let records = [
            Record::Set { key: "users/ada", revision: 7, value: b"hash" },
            Record::Set { key: "", revision: 8, value: b"" },
            Record::Removed { key: "users/ada", revision: u64::MAX },
            Record::Revision(9),
        ];
        for record in records {
            let mut bytes = vec![];
            record.encode(&mut bytes);
            let raw = Records::new(&bytes).next().expect("one").expect("whole");
            assert_eq!(Record::decode(&raw), Ok(Some(record)));
            let short = RawRecord { body: &raw.body[..7], ..raw };
            assert_eq!(Record::decode(&short), Err(NotARecord::Incomplete));
            for (must_understand, expected) in
                [(true, Err(NotARecord::Unknown(raw.header.kind, 2))), (false, Ok(None))]
            {
                let header = RecordHeader { version: 2, must_understand, ..raw.header };
                assert_eq!(Record::decode(&RawRecord { header, ..raw }), expected);
            }
        }
    }
}
