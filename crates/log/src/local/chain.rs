//! The batches of one file, read in big pieces.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::page::PAGE;
use crate::batch::{BATCH_HEADER, BATCH_MAGIC, BatchHeader, NotABatch, decode_batch};
use crate::disk::File;

/// Bytes read at once: a large batch makes it more.
const CHUNK: u64 = 4 << 20;
/// Bytes that are checked at most in search of batches behind a broken one, so that content which looks like batches
/// over and over cannot keep recovery busy.
const SEARCH_BUDGET: u64 = 1 << 30;

/// Reads batch after batch up to a limit.
#[derive(Debug)]
pub(crate) struct ChainReader {
    file: Arc<dyn File>,
    salt: u64,
    buffer: Vec<u8>,
    /// File offset of the buffer's first byte, and how much of it is filled.
    start: u64,
    filled: usize,
    /// File offset of the next batch.
    at: u64,
    limit: u64,
}

/// What is there.
#[derive(Debug)]
pub(crate) enum Found {
    /// A batch; its payload is in [`ChainReader::bytes`].
    Batch(BatchHeader, Range<usize>),
    /// The limit.
    Limit,
    /// Neither.
    Broken(NotABatch),
}

impl ChainReader {
    /// Begins at the file offset `at` and ends at `limit`, both multiples of 8.
    pub(crate) fn new(file: Arc<dyn File>, salt: u64, at: u64, limit: u64) -> Self {
        Self { file, salt, buffer: Vec::new(), start: at, filled: 0, at, limit }
    }

    /// Gives the memory for the next file.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    pub(crate) fn with_buffer(mut self, buffer: Vec<u8>) -> Self {
        self.buffer = buffer;
        self
    }

    /// File offset of what comes next.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of the last batch found.
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    /// Reads the next batch, and moves on behind it if it is one.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        if self.at >= self.limit {
            return Ok(Found::Limit);
        }
        match self.whole()? {
            Ok((header, payload)) => {
                let end = self.at + (BATCH_HEADER + header.length as usize) as u64;
                self.at = end.next_multiple_of(8);
                Ok(Found::Batch(header, payload))
            }
            Err(broken) => Ok(Found::Broken(broken)),
        }
    }

    /// Looks for a batch behind the broken one here; true for batches that `plausible` accepts by their header. Returns
    /// its file offset.
    pub(crate) fn search(&mut self, plausible: impl Fn(&BatchHeader) -> bool) -> io::Result<Option<u64>> {
        let mut budget = SEARCH_BUDGET;
        self.at += 8;
        while self.skip_to_magic()? {
            let length = match self.header()? {
                Some(header) if plausible(&header) => u64::from(header.length),
                _ => {
                    self.at += 8;
                    continue;
                }
            };
            if self.whole()?.is_ok() {
                return Ok(Some(self.at));
            }
            budget = budget.saturating_sub(length + BATCH_HEADER as u64);
            if budget == 0 {
                tracing::warn!("gave up looking for batches behind a broken one");
                return Ok(None);
            }
            self.at += 8;
        }
        Ok(None)
    }

    fn skip_to_magic(&mut self) -> io::Result<bool> {
        let magic = BATCH_MAGIC.to_le_bytes();
        while self.fill(BATCH_HEADER)? {
            let ahead = self.buffer.get((self.at - self.start) as usize..self.filled).unwrap_or_default();
            let words = ahead.chunks_exact(8);
            let skipped = words.len();
            match ahead.chunks_exact(8).position(|word| word.starts_with(&magic)) {
                Some(words) => {
                    self.at += 8 * words as u64;
                    return Ok(true);
                }
                None => self.at += 8 * skipped as u64,
            }
        }
        Ok(false)
    }

    fn header(&mut self) -> io::Result<Option<BatchHeader>> {
        if !self.fill(BATCH_HEADER)? {
            return Ok(None);
        }
        let ahead = self.buffer.get((self.at - self.start) as usize..self.filled).unwrap_or_default();
        Ok(BatchHeader::decode(ahead).ok())
    }

    /// The batch here, if it is whole and its checksum is right, without moving on.
    fn whole(&mut self) -> io::Result<Result<(BatchHeader, Range<usize>), NotABatch>> {
        if !self.fill(BATCH_HEADER)? {
            return Ok(Err(NotABatch::Incomplete));
        }
        let length = match BatchHeader::decode(self.ahead()) {
            Ok(header) => header.length as usize,
            Err(broken) => return Ok(Err(broken)),
        };
        if !self.fill(BATCH_HEADER + length)? {
            return Ok(Err(NotABatch::Incomplete));
        }
        let payload = (self.at - self.start) as usize + BATCH_HEADER;
        Ok(decode_batch(self.ahead(), self.salt).map(|(header, _)| (header, payload..payload + length)))
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get((self.at - self.start) as usize..self.filled).unwrap_or_default()
    }

    /// Makes at least `need` bytes from here on available; false if the limit or the file's end comes before.
    fn fill(&mut self, need: usize) -> io::Result<bool> {
        let need = need as u64;
        if need > self.limit.saturating_sub(self.at) {
            return Ok(false);
        }
        let behind = (self.at - self.start) as usize;
        if self.filled >= behind && (self.filled - behind) as u64 >= need {
            return Ok(true);
        }
        let kept = self.filled.saturating_sub(behind);
        self.buffer.copy_within(self.filled - kept..self.filled, 0);
        (self.start, self.filled) = (self.at, kept);
        let wanted = CHUNK.max(need).min(self.limit - self.at) as usize;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let Some(room) = self.buffer.get_mut(kept..wanted) else { return Ok(true) };
        self.filled += self.file.read_at(room, self.at + kept as u64)?;
        // The next piece comes while this one is parsed.
        let behind = self.at + wanted as u64;
        self.file.will_read(behind, CHUNK.min(self.limit - behind));
        Ok(self.filled as u64 >= need)
    }
}

/// The file offset behind the header page.
pub(crate) const BODY: u64 = PAGE;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::disk::Disk;
    use crate::std_disk::StdDisk;
    use std::path::Path;

    fn file_of(payloads: &[usize], salt: u64) -> (tempfile::TempDir, Arc<dyn File>, u64) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = StdDisk::new(dir.path()).create(Path::new("f")).expect("created");
        let mut at = BODY;
        for (n, payload) in payloads.iter().enumerate() {
            let mut batch = Batch::default();
            batch.out().resize(BATCH_HEADER + payload, n as u8);
            let bytes = batch.seal(1, n as u64 + 1, n as u64, salt);
            file.write_at(bytes, at).expect("written");
            at = (at + bytes.len() as u64).next_multiple_of(8);
        }
        (dir, file, at)
    }

    #[test]
    fn batches_smaller_and_larger_than_a_piece_are_read_in_order() {
        let payloads = [0, 1, 5 << 20, 3, 4 << 20, (4 << 20) - 40, 100];
        let (_dir, file, end) = file_of(&payloads, 9);
        let mut reader = ChainReader::new(file, 9, BODY, end);
        for (n, payload) in payloads.iter().enumerate() {
            let Ok(Found::Batch(header, range)) = reader.next() else { panic!("batch {n} is there") };
            assert_eq!((header.number, header.length as usize), (n as u64 + 1, *payload));
            assert!(reader.bytes(&range).iter().all(|byte| *byte == n as u8));
            assert_eq!(range.len(), *payload);
        }
        assert!(matches!(reader.next(), Ok(Found::Limit)));
    }

    #[test]
    fn a_batch_behind_a_broken_one_is_found_but_none_of_another_life() {
        let (_dir, file, end) = file_of(&[100, 200, 300], 9);
        file.write_at(&[0xff], BODY + 60).expect("written");
        let second = BODY + 144;
        let search = |salt| {
            let mut reader = ChainReader::new(Arc::clone(&file), salt, BODY, end);
            assert!(matches!(reader.next(), Ok(Found::Broken(NotABatch::Checksum))));
            reader.search(|_| true).expect("readable")
        };
        assert_eq!(search(9), Some(second));
        assert_eq!(search(8), None);
        let mut reader = ChainReader::new(Arc::clone(&file), 9, BODY, end);
        assert_eq!(reader.search(|header| header.number > 5).expect("readable"), None);
    }
}
