//! The first page of a segment or a checkpoint.
//!
//! ```text
//! 0   magic, 8 bytes | format version u32 | shard u32 | first position u64 | number of the batch before u64
//! 32  epoch u64 | salt u64 | flags u32 | CRC32C of bytes 0..52 u32
//! 512, 1024   claims, written alternately: epoch u64 | CRC32C of salt and epoch u32
//! ```
//! All little endian, the rest zero. The salt is drawn at random for every life of the file; the checksums of all that
//! is written behind the page contain it.

use crate::position::Position;

/// Bytes of the page, a multiple of every usual sector and block.
pub(crate) const PAGE: u64 = 4096;
/// The latest layout of segments and checkpoints known.
pub(crate) const FORMAT: u32 = 1;
const CHECKED: usize = 52;
const CLAIMS: [usize; 2] = [512, 1024];
const WITHOUT_SYNC: u32 = 1;

/// What a file with such a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    Segment,
    Checkpoint,
}

impl PageKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Segment => b"tercetSG",
            Self::Checkpoint => b"tercetCP",
        }
    }
}

/// What the page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) kind: PageKind,
    pub(crate) shard: u32,
    /// Position of the first byte behind the page.
    pub(crate) first: Position,
    /// Number of the batch before the first.
    pub(crate) before: u64,
    /// The latest claim when the page was written, or since.
    pub(crate) epoch: u64,
    pub(crate) salt: u64,
    /// Whether batches were confirmed without being synced, so that a power cut can take any of them.
    pub(crate) without_sync: bool,
}

/// Why a page is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAPage {
    #[error("its header is incomplete")]
    Incomplete,
    #[error("it does not begin like a file of this kind")]
    NoMagic,
    #[error("the checksum of its header is wrong")]
    Checksum,
    #[error("it belongs elsewhere: its header names another shard or position")]
    Misplaced,
    #[error("it was written by a later version, in format {0}")]
    Newer(u32),
}

impl Page {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE as usize);
        page.extend_from_slice(self.kind.magic());
        page.extend_from_slice(&FORMAT.to_le_bytes());
        page.extend_from_slice(&self.shard.to_le_bytes());
        for field in [self.first.number(), self.before, self.epoch, self.salt] {
            page.extend_from_slice(&field.to_le_bytes());
        }
        page.extend_from_slice(&(if self.without_sync { WITHOUT_SYNC } else { 0 }).to_le_bytes());
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        page.resize(PAGE as usize, 0);
        page
    }

    pub(crate) fn decode(kind: PageKind, page: &[u8]) -> Result<Self, NotAPage> {
        let checked = page.get(..CHECKED).ok_or(NotAPage::Incomplete)?;
        if !checked.starts_with(kind.magic()) {
            return Err(NotAPage::NoMagic);
        }
        if u32_at(page, CHECKED)? != crc32c::crc32c(checked) {
            return Err(NotAPage::Checksum);
        }
        let version = u32_at(page, 8)?;
        if version != FORMAT {
            return Err(NotAPage::Newer(version));
        }
        let mut decoded = Self {
            kind,
            shard: u32_at(page, 12)?,
            first: Position::new(u64_at(page, 16)?),
            before: u64_at(page, 24)?,
            epoch: u64_at(page, 32)?,
            salt: u64_at(page, 40)?,
            without_sync: u32_at(page, 48)? & WITHOUT_SYNC != 0,
        };
        for at in CLAIMS {
            let epoch = u64_at(page, at)?;
            if u32_at(page, at + 8)? == claim_checksum(decoded.salt, epoch) {
                decoded.epoch = decoded.epoch.max(epoch);
            }
        }
        Ok(decoded)
    }

    /// Where the claim `epoch` is noted, and the bytes. Claims alternate between two sectors, so that one which is torn
    /// by a power cut leaves the one before it.
    pub(crate) fn claim(&self, epoch: u64) -> (u64, Vec<u8>) {
        let [even, odd] = CLAIMS;
        let mut bytes = epoch.to_le_bytes().to_vec();
        bytes.extend_from_slice(&claim_checksum(self.salt, epoch).to_le_bytes());
        (if epoch.is_multiple_of(2) { even } else { odd } as u64, bytes)
    }
}

fn claim_checksum(salt: u64, epoch: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &epoch.to_le_bytes())
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, NotAPage> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    field.map(|field| u32::from_le_bytes(*field)).ok_or(NotAPage::Incomplete)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, NotAPage> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    field.map(|field| u64::from_le_bytes(*field)).ok_or(NotAPage::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Page = Page {
        kind: PageKind::Segment,
        shard: 3,
        first: Position::new(64),
        before: 7,
        epoch: 5,
        salt: 0x1234_5678_9abc_def0,
        without_sync: true,
    };

    #[test]
    fn a_page_comes_back_and_every_flipped_bit_of_it_is_noticed() {
        let page = SAMPLE.encode();
        assert_eq!(page.len() as u64, PAGE);
        assert_eq!(Page::decode(PageKind::Segment, &page), Ok(SAMPLE));
        assert_eq!(Page::decode(PageKind::Checkpoint, &page), Err(NotAPage::NoMagic));
        for bit in 0..(CHECKED + 4) * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Page::decode(PageKind::Segment, &flipped).is_err(), "bit {bit}");
        }
        for short in 0..CLAIMS[1] + 12 {
            assert_eq!(Page::decode(PageKind::Segment, &page[..short]), Err(NotAPage::Incomplete));
        }
    }

    #[test]
    fn claims_raise_the_epoch_and_a_torn_one_leaves_the_one_before() {
        let mut page = SAMPLE.encode();
        for epoch in [6, 7, 8] {
            let (at, bytes) = SAMPLE.claim(epoch);
            page[at as usize..][..bytes.len()].copy_from_slice(&bytes);
            assert_eq!(Page::decode(PageKind::Segment, &page).expect("a page").epoch, epoch);
        }
        let (at, _) = SAMPLE.claim(8);
        page[at as usize] ^= 1;
        assert_eq!(Page::decode(PageKind::Segment, &page).expect("a page").epoch, 7);
    }
}
