//! Sending a body block by block with Block1, as a client (RFC 7959 §2.5, §2.9).

use core::ops::Range;

use super::{Block, BlockSize};
use crate::{Code, Message, Number};

/// The part of the body that the next request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The part.
    pub range: Range<usize>,
    /// What Block1 says.
    pub block: Block,
    /// What Size1 says, in the first request: the length of the body.
    pub size1: Option<u32>,
}

/// What a response to a block means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send this piece next, in a request with the same options otherwise.
    Next(Piece),
    /// The response is the answer to the whole, be it success or failure.
    Finished,
}

/// How often a body is begun anew when the server lost blocks of it.
const RESTARTS: u8 = 2;

/// A body on its way to a server.
#[derive(Debug)]
pub struct Sender {
    length: usize,
    offset: usize,
    size: BlockSize,
    /// Most bytes that a request carries: more than a block only with BERT.
    most: usize,
    restarts: u8,
}

impl Sender {
    /// A body of `length` bytes in blocks of `size`; over a stream, `size` is [`BlockSize::BERT`] and `most` says how many
    /// bytes of payload a message may carry.
    pub fn new(length: usize, size: BlockSize, most: usize) -> Self {
        let unit = size.bytes();
        let most = if size.is_bert() { (most / unit).max(1) * unit } else { unit };
        Self { length, offset: 0, size, most, restarts: 0 }
    }

    /// The piece to send first, or again. `None` when the body has more blocks than can be counted.
    pub fn piece(&self) -> Option<Piece> {
        let end = self.length.min(self.offset.saturating_add(self.most));
        let block = Block::at(self.offset, end < self.length, self.size)?;
        let size1 = (self.offset == 0).then(|| u32::try_from(self.length).ok()).flatten();
        Some(Piece { range: self.offset..end, block, size1 })
    }

    /// Says how to go on after `response` to the last piece.
    pub fn on_response(&mut self, response: &Message<'_>) -> Progress {
        let Some(sent) = self.piece() else { return Progress::Finished };
        let answered = Block::of(response.options, Number::BLOCK1);
        let smaller = answered.map(|block| block.size).filter(|&size| size < self.size);
        match response.code {
            // §2.9.3: too large, but smaller blocks may do.
            Code::REQUEST_ENTITY_TOO_LARGE if sent.range.start == 0 && smaller.is_some() => {
                self.shrink(smaller)
            }
            // §2.9.2: the server lost what it had.
            Code::REQUEST_ENTITY_INCOMPLETE if sent.range.start > 0 && self.restarts < RESTARTS => {
                self.restarts += 1;
                self.offset = 0;
            }
            code if code.is_success() && sent.block.more => {
                // Without Block1 the server took no notice of it, and answers the whole.
                if answered.is_none_or(|block| block.offset() != sent.range.start) {
                    return Progress::Finished;
                }
                self.offset = sent.range.end;
                self.shrink(smaller);
            }
            _ => return Progress::Finished,
        }
        self.piece().map_or(Progress::Finished, Progress::Next)
    }

    /// Goes on in smaller blocks. What was sent ends where one of them begins.
    fn shrink(&mut self, size: Option<BlockSize>) {
        if let Some(size) = size {
            self.size = size;
            self.most = size.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::OptionBuf;

    use super::*;

    fn respond(sender: &mut Sender, code: Code, block: Option<(u32, bool, u8)>) -> Progress {
        let mut options = OptionBuf::new();
        if let Some((number, more, exponent)) = block {
            let size = BlockSize::from_exponent(exponent).expect("at most 7");
            options.add_uint(Number::BLOCK1, Block { number, more, size }.to_uint());
        }
        sender.on_response(&Message { options: options.as_options(), ..Message::new(code) })
    }

    fn next(progress: Progress) -> (Range<usize>, u32, bool) {
        match progress {
            Progress::Next(piece) => (piece.range, piece.block.number, piece.block.more),
            Progress::Finished => panic!("finished"),
        }
    }

    #[test]
    fn rfc7959_3_2_simple_transfer() {
        let mut sender = Sender::new(300, BlockSize::within(128), 0);
        let first = sender.piece().expect("countable");
        assert_eq!((first.range, first.block.more, first.size1), (0..128, true, Some(300)));
        assert_eq!(next(respond(&mut sender, Code::CONTINUE, Some((0, true, 3)))), (128..256, 1, true));
        assert_eq!(next(respond(&mut sender, Code::CONTINUE, Some((1, true, 3)))), (256..300, 2, false));
        assert_eq!(respond(&mut sender, Code::CHANGED, Some((2, false, 3))), Progress::Finished);
    }

    /// RFC 7959 §3.2, figure 9: the server asks for 32 bytes after it took 128.
    #[test]
    fn rfc7959_3_2_late_negotiation() {
        let mut sender = Sender::new(300, BlockSize::within(128), 0);
        assert_eq!(next(respond(&mut sender, Code::CONTINUE, Some((0, true, 1)))), (128..160, 4, true));
        assert_eq!(next(respond(&mut sender, Code::CONTINUE, Some((4, true, 1)))), (160..192, 5, true));
    }

    #[test]
    fn rule39_too_large_with_a_smaller_size_begins_anew() {
        let mut sender = Sender::new(300, BlockSize::MAX, 0);
        assert_eq!(sender.piece().map(|piece| piece.range), Some(0..300));
        let again = next(respond(&mut sender, Code::REQUEST_ENTITY_TOO_LARGE, Some((0, false, 2))));
        assert_eq!(again, (0..64, 0, true));
        assert_eq!(
            respond(&mut sender, Code::REQUEST_ENTITY_TOO_LARGE, Some((0, false, 2))),
            Progress::Finished
        );
    }

    #[test]
    fn rule39_lost_blocks_begin_anew_a_few_times() {
        let mut sender = Sender::new(300, BlockSize::within(128), 0);
        for _ in 0..RESTARTS {
            respond(&mut sender, Code::CONTINUE, Some((0, true, 3)));
            assert_eq!(next(respond(&mut sender, Code::REQUEST_ENTITY_INCOMPLETE, None)), (0..128, 0, true));
        }
        respond(&mut sender, Code::CONTINUE, Some((0, true, 3)));
        assert_eq!(respond(&mut sender, Code::REQUEST_ENTITY_INCOMPLETE, None), Progress::Finished);
    }

    #[test]
    fn answers_that_end_a_transfer() {
        for (code, block) in [
            (Code::NOT_FOUND, None),
            (Code::CHANGED, None),
            (Code::CONTINUE, Some((5, true, 3))),
            (Code::SERVICE_UNAVAILABLE, Some((0, true, 3))),
        ] {
            let mut sender = Sender::new(300, BlockSize::within(128), 0);
            assert_eq!(respond(&mut sender, code, block), Progress::Finished, "{code}");
        }
    }

    #[test]
    fn rfc8323_6_streams_carry_many_blocks_at_once() {
        let mut sender = Sender::new(5000, BlockSize::BERT, 2500);
        assert_eq!(sender.piece().map(|piece| piece.range), Some(0..2048));
        assert_eq!(next(respond(&mut sender, Code::CONTINUE, Some((0, true, 7)))), (2048..4096, 2, true));
        assert_eq!(next(respond(&mut sender, Code::CONTINUE, Some((2, true, 7)))), (4096..5000, 4, false));
    }
}
