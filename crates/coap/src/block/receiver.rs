//! Collecting a body that comes block by block with Block2, as a client (RFC 7959 §2.4).

use alloc::vec::Vec;

use smallvec::SmallVec;
use thiserror::Error;

use super::{Block, BlockSize};
use crate::{Message, Number};

/// What a response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The body is complete: [`Receiver::into_body`].
    Complete,
    /// Ask for this block next: with the same options otherwise, but without Observe, and without payload unless the method
    /// is FETCH.
    Ask(Block),
}

/// Why a body cannot be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It is larger than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// The response carries another block than the one asked for.
    #[error("not the block that was asked for")]
    WrongBlock,
    /// A block that is not the last does not fill its size.
    #[error("a block of the wrong length")]
    WrongLength,
    /// The representation keeps changing while it is read.
    #[error("the representation changed too often while it was read")]
    KeepsChanging,
}

/// How often reading begins anew because the representation changed.
const RESTARTS: u8 = 4;

/// A body on its way to a client.
#[derive(Debug)]
pub struct Receiver {
    body: Vec<u8>,
    /// Of the first block: all blocks have to have the same.
    etag: Option<SmallVec<[u8; 8]>>,
    limit: usize,
    bert: bool,
    restarts: u8,
}

impl Receiver {
    /// A body of at most `limit` bytes. Over a stream, where blocks of size 7 are allowed, `bert` is set.
    pub const fn new(limit: usize, bert: bool) -> Self {
        Self { body: Vec::new(), etag: None, limit, bert, restarts: 0 }
    }

    /// Takes in the response to the first request, or to the last one asked for.
    pub fn on_response(&mut self, response: &Message<'_>) -> Result<Step, ReceiveError> {
        let Some(block) = Block::of(response.options, Number::BLOCK2) else {
            // No blocks: the payload is all. In the middle of a body it is another body, which replaces it.
            self.body.clear();
            self.append(response.payload)?;
            return Ok(Step::Complete);
        };
        if block.size.is_bert() && !self.bert || !block.allows(response.payload.len()) {
            return Err(ReceiveError::WrongLength);
        }
        let etag = response.options.get(Number::ETAG).map(SmallVec::from_slice);
        if block.number == 0 {
            self.body.clear();
            self.etag = etag;
        } else if self.etag != etag {
            return self.restart(block.size);
        }
        if block.offset() != self.body.len() {
            return Err(ReceiveError::WrongBlock);
        }
        self.append(response.payload)?;
        if !block.more {
            return Ok(Step::Complete);
        }
        Block::at(self.body.len(), false, block.size).map(Step::Ask).ok_or(ReceiveError::TooLarge)
    }

    /// What has come so far.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The representation changed: what came belongs to another one (§2.4).
    fn restart(&mut self, size: BlockSize) -> Result<Step, ReceiveError> {
        if self.restarts >= RESTARTS {
            return Err(ReceiveError::KeepsChanging);
        }
        self.restarts += 1;
        self.body.clear();
        Ok(Step::Ask(Block { number: 0, more: false, size }))
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), ReceiveError> {
        if self.body.len() + payload.len() > self.limit {
            return Err(ReceiveError::TooLarge);
        }
        self.body.extend_from_slice(payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use crate::{Code, OptionBuf};

    use super::*;

    fn block(number: u32, more: bool, exponent: u8) -> Block {
        Block { number, more, size: BlockSize::from_exponent(exponent).expect("at most 7") }
    }

    fn take(
        receiver: &mut Receiver,
        block: Option<Block>,
        etag: &[u8],
        payload: &[u8],
    ) -> Result<Step, ReceiveError> {
        let mut options = OptionBuf::new();
        if !etag.is_empty() {
            options.add(Number::ETAG, etag);
        }
        if let Some(block) = block {
            options.add_uint(Number::BLOCK2, block.to_uint());
        }
        receiver.on_response(&Message {
            options: options.as_options(),
            payload,
            ..Message::new(Code::CONTENT)
        })
    }

    #[test]
    fn a_body_in_one_piece_and_in_several() {
        let mut receiver = Receiver::new(100, false);
        assert_eq!(take(&mut receiver, None, b"", b"whole"), Ok(Step::Complete));
        assert_eq!(receiver.into_body(), b"whole");

        let mut receiver = Receiver::new(100, false);
        assert_eq!(
            take(&mut receiver, Some(block(0, true, 1)), b"e", &[1; 32]),
            Ok(Step::Ask(block(1, false, 1)))
        );
        // The server goes on in smaller blocks.
        assert_eq!(
            take(&mut receiver, Some(block(2, true, 0)), b"e", &[2; 16]),
            Ok(Step::Ask(block(3, false, 0)))
        );
        assert_eq!(take(&mut receiver, Some(block(3, false, 0)), b"e", &[3; 5]), Ok(Step::Complete));
        assert_eq!(receiver.into_body(), [vec![1; 32], vec![2; 16], vec![3; 5]].concat());
    }

    #[test]
    fn rule40_another_etag_begins_anew() {
        let mut receiver = Receiver::new(1000, false);
        take(&mut receiver, Some(block(0, true, 0)), b"1", &[1; 16]).expect("first");
        assert_eq!(
            take(&mut receiver, Some(block(1, true, 0)), b"2", &[9; 16]),
            Ok(Step::Ask(block(0, false, 0)))
        );
        take(&mut receiver, Some(block(0, true, 0)), b"2", &[2; 16]).expect("first again");
        assert_eq!(take(&mut receiver, Some(block(1, false, 0)), b"2", b"end"), Ok(Step::Complete));
        assert_eq!(receiver.into_body(), [&[2; 16][..], b"end"].concat());
    }

    #[test]
    fn rule40_not_forever() {
        let mut receiver = Receiver::new(1000, false);
        let mut last = Ok(Step::Complete);
        for etag in 0..=RESTARTS {
            take(&mut receiver, Some(block(0, true, 0)), &[etag], &[1; 16]).expect("first");
            last = take(&mut receiver, Some(block(1, true, 0)), &[etag + 1], &[1; 16]);
        }
        assert_eq!(last, Err(ReceiveError::KeepsChanging));
    }

    #[test]
    fn what_a_server_must_not_do() {
        for (name, second, payload, expected) in [
            ("skip a block", block(2, true, 0), 16, ReceiveError::WrongBlock),
            ("a short block", block(1, true, 0), 15, ReceiveError::WrongLength),
            ("a long block", block(1, false, 0), 17, ReceiveError::WrongLength),
            ("reserved size", block(0, true, 7), 1024, ReceiveError::WrongLength),
            ("too much", block(1, false, 0), 5, ReceiveError::TooLarge),
        ] {
            let mut receiver = Receiver::new(20, false);
            take(&mut receiver, Some(block(0, true, 0)), b"", &[1; 16]).expect("first");
            assert_eq!(take(&mut receiver, Some(second), b"", &vec![0; payload]), Err(expected), "{name}");
        }
    }

    #[test]
    fn rfc8323_6_streams_carry_many_blocks_at_once() {
        let mut receiver = Receiver::new(10_000, true);
        let first = take(&mut receiver, Some(block(0, true, 7)), b"", &[1; 3072]);
        assert_eq!(first, Ok(Step::Ask(block(3, false, 7))));
        assert_eq!(take(&mut receiver, Some(block(3, false, 7)), b"", &[2; 1500]), Ok(Step::Complete));
        assert_eq!(receiver.body().len(), 4572);
    }
}
