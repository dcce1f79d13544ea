//! Receiving a body in bursts: the server of Q-Block1, the client of Q-Block2 (RFC 9177 §4.3, §4.4, §7.2).

use alloc::{vec, vec::Vec};

use thiserror::Error;

use super::Parameters;
use crate::{
    Time,
    block::{Block, BlockSize},
};

/// What a block means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gathered {
    /// Nothing to say yet.
    Wait,
    /// All blocks up to this one are there, the last of its set: say so, and the next set comes. As a server with 2.31 and
    /// this Q-Block1, as a client with a request for the block after it, M set.
    Continue(Block),
    /// A later set has begun and these blocks of earlier ones are missing: say so.
    Missing(Vec<u32>),
    /// The body is complete: [`Gathering::into_body`].
    Complete,
}

/// What is to be done as no block came for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Say that these blocks are missing.
    Missing(Vec<u32>),
    /// It was said often enough: the body will not be completed.
    GiveUp,
}

/// Why a block is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadBlock {
    /// The size is reserved, not that of the other blocks, or not the length of the payload.
    #[error("a block of the wrong size")]
    Size,
    /// The block is not one of a body of this length.
    #[error("a block that does not belong to the body")]
    Number,
}

/// How many missing blocks are told at once.
const TOLD: usize = 32;

/// A body of known length that arrives in any order.
#[derive(Debug)]
pub struct Gathering {
    parameters: Parameters,
    length: usize,
    size: BlockSize,
    body: Vec<u8>,
    /// One bit per block: it came.
    came: Vec<u64>,
    left: u32,
    count: u32,
    /// The greatest number that came.
    highest: u32,
    /// Blocks below this number were asked for once, because a later set had begun.
    asked_below: u32,
    due: Time,
    told: u8,
}

impl Gathering {
    /// A body of `length` bytes, which the caller found acceptable, in blocks of `size`. `None` for the reserved size, and
    /// when the blocks cannot be counted. The memory for the body is taken as blocks arrive.
    pub fn new(length: usize, size: BlockSize, parameters: Parameters, now: Time) -> Option<Self> {
        let count = u32::try_from(length.div_ceil(size.bytes())).ok()?.max(1);
        if size.is_bert() || count - 1 > Block::MAX_NUMBER {
            return None;
        }
        Some(Self {
            parameters,
            length,
            size,
            body: Vec::new(),
            came: vec![0; count.div_ceil(64) as usize],
            left: count,
            count,
            highest: 0,
            asked_below: 0,
            due: now.saturating_add(parameters.receive_timeout),
            told: 0,
        })
    }

    /// Takes in a block.
    pub fn on_block(&mut self, block: Block, payload: &[u8], now: Time) -> Result<Gathered, BadBlock> {
        if block.number >= self.count || block.more != (block.number + 1 < self.count) {
            return Err(BadBlock::Number);
        }
        let end = self.length.min(block.offset() + self.size.bytes());
        if block.size != self.size || payload.len() != end - block.offset() {
            return Err(BadBlock::Size);
        }
        let Some(word) = self.came.get_mut(block.number as usize / 64) else { return Err(BadBlock::Number) };
        let bit = 1 << (block.number % 64);
        if *word & bit != 0 {
            return Ok(Gathered::Wait);
        }
        *word |= bit;
        self.left -= 1;
        if self.body.len() < end {
            self.body.resize(end, 0);
        }
        if let Some(place) = self.body.get_mut(block.offset()..end) {
            place.copy_from_slice(payload);
        }
        self.highest = self.highest.max(block.number);
        self.due = now.saturating_add(self.parameters.receive_timeout);
        self.told = 0;
        Ok(self.judge())
    }

    /// When [`Self::on_due`] is to be called.
    pub fn next_due(&self) -> Time {
        self.due
    }

    /// No block came for a while.
    pub fn on_due(&mut self, now: Time) -> Overdue {
        if self.told >= self.parameters.max_retransmit {
            return Overdue::GiveUp;
        }
        self.told += 1;
        let wait = self.parameters.receive_timeout.saturating_mul(1 << self.told.min(16));
        self.due = now.saturating_add(wait);
        let end = self.parameters.end_of_set(self.highest).saturating_add(1).min(self.count);
        let missing = self.missing_below(end);
        // All of the set is there: it is the next one that does not come.
        Overdue::Missing(if missing.is_empty() { vec![end.min(self.count - 1)] } else { missing })
    }

    /// The length of the body.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes of memory in use for it.
    pub fn memory(&self) -> usize {
        self.body.capacity() + self.came.len() * 8
    }

    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn judge(&mut self) -> Gathered {
        if self.left == 0 {
            return Gathered::Complete;
        }
        let set = self.parameters.set_size();
        let begun = self.highest / set * set;
        if begun > self.asked_below {
            self.asked_below = begun;
            let missing = self.missing_below(begun);
            if !missing.is_empty() {
                return Gathered::Missing(missing);
            }
        }
        let end = self.parameters.end_of_set(self.highest);
        if end + 1 < self.count && self.missing_below(end + 1).is_empty() {
            return Gathered::Continue(Block { number: end, more: true, size: self.size });
        }
        Gathered::Wait
    }

    /// The first blocks below `end` that did not come.
    fn missing_below(&self, end: u32) -> Vec<u32> {
        (0_u32..)
            .step_by(64)
            .zip(&self.came)
            .filter(|&(_, &word)| word != u64::MAX)
            .flat_map(|(first, &word)| {
                (0..64).filter(move |bit| word >> bit & 1 == 0).map(move |bit| first + bit)
            })
            .take_while(|&number| number < end)
            .take(TOLD)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Burst;
    use super::*;

    use proptest::prelude::*;

    const NOW: Time = Time::from_secs(10);
    const PARAMETERS: Parameters = Parameters {
        max_payloads: 3,
        timeout: Time::from_secs(2),
        receive_timeout: Time::from_secs(4),
        max_retransmit: 4,
    };

    fn gathering(length: usize) -> Gathering {
        Gathering::new(length, BlockSize::MIN, PARAMETERS, NOW).expect("countable")
    }

    fn take(gathering: &mut Gathering, number: u32, more: bool) -> Result<Gathered, BadBlock> {
        let length = if more { 16 } else { 4 };
        gathering.on_block(Block { number, more, size: BlockSize::MIN }, &vec![number as u8; length], NOW)
    }

    #[test]
    fn rule42_a_complete_set_is_continued_and_a_gap_told() {
        let mut gathering = gathering(16 * 7 + 4);
        let end = |number| Gathered::Continue(Block { number, more: true, size: BlockSize::MIN });
        let told = |numbers: &[u32]| Gathered::Missing(numbers.to_vec());
        for (number, expected) in [
            (0, Gathered::Wait),
            (2, Gathered::Wait),
            (2, Gathered::Wait),
            (1, end(2)),
            (4, Gathered::Wait),
            (6, told(&[3, 5])),
            (3, Gathered::Wait),
            (5, Gathered::Wait),
        ] {
            assert_eq!(take(&mut gathering, number, true), Ok(expected), "{number}");
        }
        assert_eq!(take(&mut gathering, 7, false), Ok(Gathered::Complete));
        let expected: Vec<u8> = (0..7).flat_map(|number| [number; 16]).chain([7; 4]).collect();
        assert_eq!(gathering.into_body(), expected);
    }

    #[test]
    fn rule42_what_is_missing_is_told_ever_more_rarely_and_then_given_up() {
        let mut gathering = gathering(16 * 7 + 4);
        take(&mut gathering, 0, true).expect("taken");
        let mut waits = Vec::new();
        let mut now = NOW;
        loop {
            waits.push((gathering.next_due() - now).as_secs());
            now = gathering.next_due();
            match gathering.on_due(now) {
                Overdue::Missing(numbers) => assert_eq!(numbers, [1, 2]),
                Overdue::GiveUp => break,
            }
        }
        assert_eq!(waits, [4, 8, 16, 32, 64]);
    }

    #[test]
    fn blocks_that_do_not_belong() {
        for (number, more, expected) in [
            (8, true, BadBlock::Number),
            (Block::MAX_NUMBER, true, BadBlock::Number),
            (7, true, BadBlock::Number),
            (3, false, BadBlock::Number),
        ] {
            assert_eq!(take(&mut gathering(16 * 7 + 4), number, more), Err(expected), "{number}");
        }
        let other_size = Block { number: 0, more: true, size: BlockSize::MAX };
        assert_eq!(gathering(200).on_block(other_size, &[0; 1024], NOW), Err(BadBlock::Size));
        assert!(Gathering::new(10, BlockSize::BERT, PARAMETERS, NOW).is_none());
        assert!(Gathering::new(usize::MAX, BlockSize::MIN, PARAMETERS, NOW).is_none());
    }

    proptest! {
        /// A body arrives whole over a network that loses blocks and answers, as long as it does not lose them all.
        #[test]
        fn bodies_arrive_despite_losses(
            length in 0..2_000_usize, losses in proptest::collection::vec(any::<bool>(), 40..41),
        ) {
            let body: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut burst = Burst::new(length, BlockSize::MIN, PARAMETERS).expect("countable");
            let mut gathering = gathering(length);
            let mut now = NOW;
            let mut lost = losses.into_iter().chain(core::iter::repeat(false));
            let complete = 'complete: loop {
                while let Some(piece) = burst.next_piece(now, 0) {
                    if lost.next() == Some(true) {
                        continue;
                    }
                    let gathered = gathering.on_block(piece.block, &body[piece.range], now).expect("well-formed");
                    let answer_lost = gathered != Gathered::Complete && lost.next() == Some(true);
                    match gathered {
                        Gathered::Complete => break 'complete true,
                        Gathered::Continue(block) if !answer_lost => burst.on_continue(block.number),
                        Gathered::Missing(numbers) if !answer_lost => burst.on_missing(numbers),
                        _ => {}
                    }
                }
                match burst.next_due() {
                    Some(due) if due < gathering.next_due() => now = due,
                    _ => {
                        now = gathering.next_due();
                        match gathering.on_due(now) {
                            Overdue::Missing(numbers) => burst.on_missing(numbers),
                            Overdue::GiveUp => break false,
                        }
                    }
                }
            };
            prop_assert!(complete || now > NOW + Time::from_secs(100));
            if complete {
                prop_assert_eq!(gathering.into_body(), body);
            }
        }
    }
}
