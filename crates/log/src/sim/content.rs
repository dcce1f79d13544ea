//! The bytes of a file: sparse, and shared between copies until one of them is written.

use std::sync::Arc;

const PAGE: usize = 4096;
/// What a disk writes as a whole or not at all.
pub(super) const SECTOR: u64 = 512;

/// Bytes of a file; those never written are zero. It has no length of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Content {
    pub(super) fn read(&self, into: &mut [u8], offset: u64) {
        for (page, start, part) in pieces(into.len(), offset) {
            let target = &mut into[part.clone()];
            match self.pages.get(page).and_then(Option::as_ref) {
                Some(bytes) => target.copy_from_slice(&bytes[start..start + part.len()]),
                None => target.fill(0),
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (page, start, part) in pieces(bytes.len(), offset) {
            let source = &bytes[part.clone()];
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            let slot = &mut self.pages[page];
            if slot.is_none() && is_zero(source) {
                continue;
            }
            if part.len() == PAGE && is_zero(source) {
                *slot = None;
                continue;
            }
            let target = Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; PAGE])));
            target[start..start + part.len()].copy_from_slice(source);
        }
    }

    /// Forgets everything from `length` on.
    pub(super) fn truncate(&mut self, length: u64) {
        let (whole, rest) = ((length as usize) / PAGE, (length as usize) % PAGE);
        self.pages.truncate(whole + usize::from(rest > 0));
        if let Some(Some(last)) = self.pages.get_mut(whole) {
            Arc::make_mut(last)[rest..].fill(0);
        }
    }
}

/// Whether all bytes are zero, quickly also without optimisation.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PAGE] = [0; PAGE];
    bytes.chunks(PAGE).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Page, first byte in the page, range of the buffer.
fn pieces(length: usize, offset: u64) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset as usize + done;
        let start = at % PAGE;
        let part = (PAGE - start).min(length - done);
        done += part;
        Some((at / PAGE, start, done - part..done))
    })
}

/// Bytes kept for later; a long row of zeros takes no memory.
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    Data(Arc<[u8]>),
    Zeros(usize),
}

impl Bytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        if bytes.len() >= PAGE && is_zero(bytes) {
            Self::Zeros(bytes.len())
        } else {
            Self::Data(bytes.into())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Zeros(length) => *length,
        }
    }

    /// Writes the bytes of `range` to `content` at `offset`.
    pub(super) fn write_to(&self, content: &mut Content, range: std::ops::Range<usize>, offset: u64) {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        match self {
            Self::Data(bytes) => content.write(&bytes[range], offset),
            Self::Zeros(_) => {
                let mut at = range.start;
                while at < range.end {
                    // Up to the end of a page, so that whole pages become holes.
                    let position = offset + (at - range.start) as u64;
                    let part = (PAGE - (position as usize) % PAGE).min(range.end - at);
                    content.write(&ZEROS[..part], position);
                    at += part;
                }
            }
        }
    }
}
