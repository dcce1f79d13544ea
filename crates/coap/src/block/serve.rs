//! Cutting the block that a client wants out of a body (RFC 7959 §2.4, RFC 8323 §6).

use core::ops::Range;

use thiserror::Error;

use super::{Block, BlockSize};

/// How much a message can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A datagram, with blocks of at most this size.
    Datagram(BlockSize),
    /// A message on a stream, with at most this many bytes of payload: the peer's Max-Message-Size less what else the message
    /// holds. Both sides announced Block-Wise-Transfer.
    Stream(usize),
}

/// The part of a body that a response carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The part.
    pub range: Range<usize>,
    /// What Block2 says; absent when the response carries all and the client asked for no block.
    pub block: Option<Block>,
    /// What Size2 is to say, with the first of several blocks: the length of the body.
    pub size2: Option<u32>,
}

/// Why no block can be given; the answer is 4.00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoSuchBlock {
    /// SZX 7 over datagrams.
    #[error("block size 7 is reserved")]
    ReservedSize,
    /// The block begins behind the end of the body.
    #[error("the body has no such block")]
    BeyondEnd,
}

/// The part of a body of `length` bytes to answer with, when the client asked for the block `wanted` (whose M is ignored) or
/// for none.
///
/// The client may choose a smaller block at any time. The server makes blocks smaller that do not fit the carrier: then the
/// block given is the one of the smaller size that begins where the wanted one does.
pub fn serve(length: usize, wanted: Option<Block>, carrier: Carrier) -> Result<Slice, NoSuchBlock> {
    let offset = wanted.map_or(0, Block::offset);
    let (size, most) = match (carrier, wanted.map(|block| block.size)) {
        (Carrier::Datagram(_), Some(size)) if size.is_bert() => return Err(NoSuchBlock::ReservedSize),
        (Carrier::Datagram(largest), size) => {
            let size = size.map_or(largest, |size| size.min(largest)).min(BlockSize::MAX);
            (size, size.bytes())
        }
        (Carrier::Stream(bytes), Some(size)) if !size.is_bert() => {
            let size = size.min(BlockSize::within(bytes));
            (size, size.bytes())
        }
        (Carrier::Stream(bytes), wanted) if wanted.is_some() || length > bytes => bert(bytes),
        (Carrier::Stream(bytes), _) => (BlockSize::BERT, bytes),
    };
    if offset > 0 && offset >= length {
        return Err(NoSuchBlock::BeyondEnd);
    }
    let end = length.min(offset.saturating_add(most));
    let more = end < length;
    let block = Block::at(offset, more, size).ok_or(NoSuchBlock::BeyondEnd)?;
    let size2 = (more && offset == 0).then(|| u32::try_from(length).ok()).flatten();
    Ok(Slice { range: offset..end, block: (more || wanted.is_some()).then_some(block), size2 })
}

/// As many blocks of 1024 bytes as fit; a smaller block where not even one does.
fn bert(bytes: usize) -> (BlockSize, usize) {
    let unit = BlockSize::BERT.bytes();
    if bytes >= unit {
        (BlockSize::BERT, bytes / unit * unit)
    } else {
        let size = BlockSize::within(bytes);
        (size, size.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32, more: bool, exponent: u8) -> Block {
        Block { number, more, size: BlockSize::from_exponent(exponent).expect("at most 7") }
    }

    #[test]
    fn rule38_blocks_of_a_body() {
        let udp = Carrier::Datagram(BlockSize::MAX);
        let small = Carrier::Datagram(BlockSize::within(64));
        let tcp = Carrier::Stream(5000);
        let cases = [
            ("fits, no block asked for", 10, None, udp, Ok((0..10, None))),
            ("empty body", 0, None, udp, Ok((0..0, None))),
            (
                "empty body, block 0 asked for",
                0,
                Some(block(0, false, 2)),
                udp,
                Ok((0..0, Some(block(0, false, 2)))),
            ),
            ("does not fit", 1025, None, udp, Ok((0..1024, Some(block(0, true, 6))))),
            ("exactly one block", 1024, None, udp, Ok((0..1024, None))),
            (
                "smaller blocks asked for",
                100,
                Some(block(0, false, 0)),
                udp,
                Ok((0..16, Some(block(0, true, 0)))),
            ),
            ("the last block", 100, Some(block(6, false, 0)), udp, Ok((96..100, Some(block(6, false, 0))))),
            (
                "random access",
                4096,
                Some(block(3, false, 6)),
                udp,
                Ok((3072..4096, Some(block(3, false, 6)))),
            ),
            ("server shrinks", 300, Some(block(0, false, 6)), small, Ok((0..64, Some(block(0, true, 2))))),
            (
                "server shrinks later",
                5000,
                Some(block(2, false, 6)),
                small,
                Ok((2048..2112, Some(block(32, true, 2)))),
            ),
            ("beyond the end", 64, Some(block(1, false, 2)), udp, Err(NoSuchBlock::BeyondEnd)),
            (
                "far beyond the end",
                64,
                Some(block(Block::MAX_NUMBER, true, 6)),
                udp,
                Err(NoSuchBlock::BeyondEnd),
            ),
            ("reserved size", 64, Some(block(0, false, 7)), udp, Err(NoSuchBlock::ReservedSize)),
            ("stream, fits", 5000, None, tcp, Ok((0..5000, None))),
            ("stream, BERT", 9000, None, tcp, Ok((0..4096, Some(block(0, true, 7))))),
            (
                "stream, next BERT",
                9000,
                Some(block(4, false, 7)),
                tcp,
                Ok((4096..8192, Some(block(4, true, 7)))),
            ),
            (
                "stream, last BERT",
                9000,
                Some(block(8, false, 7)),
                tcp,
                Ok((8192..9000, Some(block(8, false, 7)))),
            ),
            (
                "stream, plain block",
                9000,
                Some(block(1, false, 2)),
                tcp,
                Ok((64..128, Some(block(1, true, 2)))),
            ),
            ("stream, tiny", 900, None, Carrier::Stream(200), Ok((0..128, Some(block(0, true, 3))))),
        ];
        for (name, length, wanted, carrier, expected) in cases {
            let slice = serve(length, wanted, carrier).map(|slice| (slice.range, slice.block));
            assert_eq!(slice, expected, "{name}");
        }
    }

    #[test]
    fn rule41_the_first_of_several_blocks_tells_the_size() {
        let udp = Carrier::Datagram(BlockSize::MAX);
        assert_eq!(serve(2000, None, udp).expect("block 0").size2, Some(2000));
        assert_eq!(serve(2000, Some(block(1, false, 6)), udp).expect("block 1").size2, None);
        assert_eq!(serve(20, None, udp).expect("all").size2, None);
    }
}
