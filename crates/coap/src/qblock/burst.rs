//! Sending a body in bursts: the client of Q-Block1, the server of Q-Block2 (RFC 9177 §4.3, §4.4, §7.2).

use alloc::collections::BTreeSet;

use super::Parameters;
use crate::{
    Time,
    block::{Block, BlockSize, Piece},
};

/// A body on its way.
#[derive(Debug)]
pub struct Burst {
    parameters: Parameters,
    length: usize,
    size: BlockSize,
    /// How many blocks the body has.
    count: u32,
    /// The first block that was not sent yet.
    next: u32,
    /// Blocks to send again.
    again: BTreeSet<u32>,
    /// Blocks that may still be sent before a pause.
    allowance: u32,
    /// When the pause is over.
    paused_until: Option<Time>,
    finished: bool,
}

impl Burst {
    /// A body of `length` bytes in blocks of `size`; `None` when it has more blocks than can be counted, or `size` is the
    /// reserved one.
    pub fn new(length: usize, size: BlockSize, parameters: Parameters) -> Option<Self> {
        let count = u32::try_from(length.div_ceil(size.bytes())).ok()?.max(1);
        if size.is_bert() || count - 1 > Block::MAX_NUMBER {
            return None;
        }
        let allowance = parameters.set_size();
        Some(Self {
            parameters,
            length,
            size,
            count,
            next: 0,
            again: BTreeSet::new(),
            allowance,
            paused_until: None,
            finished: false,
        })
    }

    /// The next piece to send at once, until there is none: then [`Self::next_due`] tells when to ask again. `random` is any
    /// random number. The length of the body goes with every piece.
    pub fn next_piece(&mut self, now: Time, random: u32) -> Option<Piece> {
        if self.paused_until.is_some_and(|until| now >= until) {
            self.open_set();
        }
        if self.allowance == 0 || self.finished {
            return None;
        }
        let number = match self.again.pop_first() {
            Some(number) => number,
            None if self.next < self.count => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        self.allowance -= 1;
        if self.allowance == 0 || self.again.is_empty() && self.next == self.parameters.end_of_set(number) + 1
        {
            self.allowance = 0;
            let spread = self.parameters.timeout.as_millis() as u64 / 2;
            let jitter = Time::from_millis(u64::from(random) % (spread + 1));
            self.paused_until = Some(now.saturating_add(self.parameters.timeout).saturating_add(jitter));
        }
        Some(self.piece(number))
    }

    /// When [`Self::next_piece`] has something again; `None` while it is the receiver's turn, or nothing is left.
    pub fn next_due(&self) -> Option<Time> {
        let is_left = !self.again.is_empty() || self.next < self.count;
        self.paused_until.filter(|_| is_left && !self.finished)
    }

    /// The receiver has all blocks up to `number`: the next set may go out at once.
    pub fn on_continue(&mut self, number: u32) {
        self.again = self.again.split_off(&number.saturating_add(1));
        if number < self.next && number.saturating_add(1) >= self.next {
            self.open_set();
        }
    }

    /// The receiver lacks these blocks. What was not sent yet, or does not exist, is none of its business.
    pub fn on_missing(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let sent = self.next;
        self.again.extend(numbers.into_iter().filter(|&number| number < sent));
        if !self.again.is_empty() {
            self.open_set();
        }
    }

    /// The client asks for blocks with a Q-Block2 (§4.4): without M for one it lacks; with M for the rest of a set, which
    /// at the beginning of a set says that it has all before. `false` when there is no such block, which is 4.00.
    pub fn on_request(&mut self, block: Block) -> bool {
        if block.size != self.size || block.number >= self.count {
            return false;
        }
        let set = self.parameters.set_size();
        if block.more && block.number.is_multiple_of(set) && block.number == self.next && block.number > 0 {
            self.on_continue(block.number - 1);
        } else if block.more {
            self.on_missing(block.number..=self.parameters.end_of_set(block.number));
        } else if block.number < self.next {
            self.on_missing([block.number]);
        } else {
            return false;
        }
        true
    }

    /// The other side has all, or gave up: nothing more is sent.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    fn open_set(&mut self) {
        self.paused_until = None;
        self.allowance = self.parameters.set_size();
    }

    fn piece(&self, number: u32) -> Piece {
        let block = Block { number, more: number + 1 < self.count, size: self.size };
        let end = self.length.min(block.offset() + self.size.bytes());
        Piece { range: block.offset()..end, block, size1: u32::try_from(self.length).ok() }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const NOW: Time = Time::from_secs(10);

    fn burst(length: usize) -> Burst {
        let parameters = Parameters { max_payloads: 3, ..Parameters::default() };
        Burst::new(length, BlockSize::MIN, parameters).expect("countable")
    }

    fn numbers(burst: &mut Burst, now: Time) -> Vec<u32> {
        core::iter::from_fn(|| burst.next_piece(now, 0)).map(|piece| piece.block.number).collect()
    }

    #[test]
    fn rule42_sets_with_pauses_in_between() {
        let mut burst = burst(16 * 7);
        assert_eq!(numbers(&mut burst, NOW), [0, 1, 2]);
        assert_eq!(burst.next_due(), Some(NOW + Time::from_secs(2)));
        assert_eq!(numbers(&mut burst, NOW + Time::from_secs(1)), []);
        assert_eq!(numbers(&mut burst, NOW + Time::from_secs(2)), [3, 4, 5]);
        assert_eq!(numbers(&mut burst, NOW + Time::from_secs(4)), [6]);
        assert_eq!(burst.next_due(), None);
    }

    #[test]
    fn rule42_continue_ends_a_pause() {
        let mut burst = burst(16 * 7);
        numbers(&mut burst, NOW);
        burst.on_continue(1);
        assert_eq!(numbers(&mut burst, NOW), [], "not all of the set");
        burst.on_continue(2);
        assert_eq!(numbers(&mut burst, NOW), [3, 4, 5]);
        burst.on_continue(Block::MAX_NUMBER);
        assert_eq!(numbers(&mut burst, NOW), [], "not sent yet");
    }

    #[test]
    fn rule42_missing_blocks_go_first() {
        let mut burst = burst(16 * 7);
        numbers(&mut burst, NOW);
        burst.on_missing([1, 5, 900]);
        assert_eq!(numbers(&mut burst, NOW), [1]);
        assert_eq!(numbers(&mut burst, NOW + Time::from_secs(3)), [3, 4, 5]);
    }

    #[test]
    fn rfc9177_4_4_requests_of_a_client() {
        let block = |number, more| Block { number, more, size: BlockSize::MIN };
        let mut burst = burst(16 * 7);
        assert_eq!(numbers(&mut burst, NOW), [0, 1, 2]);
        assert!(burst.on_request(block(3, true)), "continue");
        assert_eq!(numbers(&mut burst, NOW), [3, 4, 5]);
        assert!(burst.on_request(block(1, false)) && burst.on_request(block(4, true)));
        assert_eq!(numbers(&mut burst, NOW), [1, 4, 5]);
        assert!(!burst.on_request(block(7, false)) && !burst.on_request(block(6, false)));
        assert!(!burst.on_request(Block { size: BlockSize::MAX, ..block(0, false) }));
        burst.finish();
        assert!(burst.on_request(block(0, true)));
        assert_eq!(numbers(&mut burst, NOW), []);
    }

    #[test]
    fn pieces_cover_the_body() {
        for length in [0, 1, 16, 17, 100] {
            let mut burst = burst(length);
            let mut covered = 0;
            let mut now = NOW;
            loop {
                while let Some(piece) = burst.next_piece(now, 7) {
                    assert_eq!(piece.range.start, covered);
                    assert_eq!(piece.size1, Some(length as u32));
                    assert_eq!(piece.block.more, piece.range.end < length);
                    covered = piece.range.end;
                }
                let Some(due) = burst.next_due() else { break };
                now = due;
            }
            assert_eq!(covered, length);
        }
    }
}
