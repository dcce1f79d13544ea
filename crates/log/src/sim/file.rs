//! One simulated file: what the system shows of it, what is on the platter, and what is in between.

use super::chance::Chance;
use super::content::{Bytes, Content, SECTOR};

/// A file, whatever its name.
#[derive(Clone, Debug, Default)]
pub(super) struct SimInode {
    /// What a read sees.
    cached: Content,
    length: u64,
    /// What is there after a power cut in any case.
    synced: Content,
    synced_length: u64,
    /// What may be there after a power cut, in the order in which it was done.
    pending: Vec<Pending>,
    /// Pending changes made so far, ever.
    changes: u64,
    /// Open handles: while there are any, the space stays taken after the name is gone.
    pub(super) handles: u32,
}

#[derive(Clone, Debug)]
enum Pending {
    /// Whole sectors.
    Write { sector: u64, bytes: Bytes, length: u64 },
    /// The length was set.
    Length(u64),
}

impl SimInode {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Changes so far: what a sync that begins now has to cover.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn read(&self, into: &mut [u8], offset: u64) -> usize {
        let there = self.length.saturating_sub(offset).min(into.len() as u64) as usize;
        self.cached.read(&mut into[..there], offset);
        there
    }

    pub(super) fn write(&mut self, bytes: &Bytes, offset: u64) {
        if bytes.len() == 0 {
            return;
        }
        bytes.write_to(&mut self.cached, 0..bytes.len(), offset);
        let end = offset + bytes.len() as u64;
        self.length = self.length.max(end);
        // A sector goes to the platter as it is in memory, with what was in it before.
        let sector = offset / SECTOR;
        let span = (end.div_ceil(SECTOR) - sector) * SECTOR;
        let bytes = match bytes {
            Bytes::Zeros(length) if *length as u64 == span => bytes.clone(),
            _ => {
                let mut whole = vec![0; span as usize];
                self.cached.read(&mut whole, sector * SECTOR);
                Bytes::new(&whole)
            }
        };
        self.change(Pending::Write { sector, bytes, length: self.length });
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.cached.truncate(length);
        }
        self.length = length;
        self.change(Pending::Length(length));
    }

    /// Makes the changes before `changes` durable.
    pub(super) fn sync(&mut self, changes: u64) {
        let before = self.changes - self.pending.len() as u64;
        let count = changes.saturating_sub(before).min(self.pending.len() as u64) as usize;
        for change in self.pending.drain(..count) {
            self.synced_length = change.apply(&mut self.synced);
        }
    }

    /// A sync that failed: some of the changes are on the platter, and the system forgets that the others are not.
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        let settled = self.settled(chance);
        (self.synced, self.synced_length) = (settled.synced, settled.synced_length);
        self.pending.clear();
    }

    /// The system drops what it holds of the file in memory and is clean: it reads it from the platter again.
    pub(super) fn drop_cache(&mut self) {
        let (mut content, mut length) = (self.synced.clone(), self.synced_length);
        for change in &self.pending {
            length = change.apply(&mut content);
        }
        (self.cached, self.length) = (content, length);
    }

    /// What a power cut leaves: everything synced, and of the rest what chance wants.
    pub(super) fn settled(&self, chance: &mut Chance) -> Self {
        let (mut content, mut length) = (self.synced.clone(), self.synced_length);
        if !self.pending.is_empty() {
            let fate = Fate::new(chance, self.sectors());
            // Lengths are metadata and keep their order: those of the first so many changes are there.
            let lengths = fate.lengths(chance, self.pending.len());
            let mut sector = 0;
            for (index, change) in self.pending.iter().enumerate() {
                change.apply_in_part(&mut content, index < lengths, || {
                    sector += 1;
                    fate.survives(sector - 1, chance)
                });
                if index < lengths {
                    length = change.length();
                }
            }
            content.truncate(length);
        }
        Self::settled_as(content, length)
    }

    /// A file that is on the platter as it is.
    pub(super) fn settled_as(content: Content, length: u64) -> Self {
        Self { cached: content.clone(), length, synced: content, synced_length: length, ..Self::default() }
    }

    /// Turns a bit over, in memory and on the platter. False if it is not in the file.
    pub(super) fn flip(&mut self, bit: u64) -> bool {
        let at = bit / 8;
        if at >= self.length {
            return false;
        }
        for content in [&mut self.cached, &mut self.synced] {
            let mut byte = [0];
            content.read(&mut byte, at);
            content.write(&[byte[0] ^ (1 << (bit % 8))], at);
        }
        true
    }

    fn change(&mut self, change: Pending) {
        self.changes += 1;
        self.pending.push(change);
    }

    fn sectors(&self) -> u64 {
        self.pending
            .iter()
            .map(|change| match change {
                Pending::Write { bytes, .. } => bytes.len() as u64 / SECTOR,
                Pending::Length(_) => 0,
            })
            .sum()
    }
}

impl Pending {
    fn length(&self) -> u64 {
        match self {
            Self::Write { length, .. } | Self::Length(length) => *length,
        }
    }

    /// Returns the length of the file then.
    fn apply(&self, content: &mut Content) -> u64 {
        self.apply_in_part(content, true, || true);
        self.length()
    }

    fn apply_in_part(&self, content: &mut Content, with_length: bool, mut survives: impl FnMut() -> bool) {
        match self {
            Self::Write { sector, bytes, .. } => {
                let count = bytes.len() / SECTOR as usize;
                let mut row = None;
                for at in 0..=count {
                    match (row, at < count && survives()) {
                        (None, true) => row = Some(at),
                        (Some(from), false) => {
                            let bounds = from * SECTOR as usize..at * SECTOR as usize;
                            bytes.write_to(content, bounds, (sector + from as u64) * SECTOR);
                            row = None;
                        }
                        _ => {}
                    }
                }
            }
            Self::Length(length) => {
                if with_length {
                    content.truncate(*length);
                }
            }
        }
    }
}

/// Which of the sectors that were not synced survive a power cut.
enum Fate {
    None,
    All,
    Coin,
    /// Those in this range of the order in which they were written.
    Within(u64, u64),
    /// Those outside.
    Without(u64, u64),
}

impl Fate {
    fn new(chance: &mut Chance, sectors: u64) -> Self {
        let (a, b) = (chance.below(sectors + 1), chance.below(sectors + 1));
        match chance.below(8) {
            0 => Self::None,
            1 => Self::All,
            2 | 3 => Self::Coin,
            4 => Self::Within(0, a),
            5 => Self::Within(a, sectors),
            6 => Self::Without(a, a + 1),
            _ => Self::Without(a.min(b), a.max(b)),
        }
    }

    fn survives(&self, sector: u64, chance: &mut Chance) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Coin => chance.one_in(2),
            Self::Within(from, to) => (*from..*to).contains(&sector),
            Self::Without(from, to) => !(*from..*to).contains(&sector),
        }
    }

    /// How many of the changes of the length survive.
    fn lengths(&self, chance: &mut Chance, changes: usize) -> usize {
        match self {
            Self::All => changes,
            _ if chance.one_in(2) => changes,
            _ => chance.below(changes as u64 + 1) as usize,
        }
    }
}
