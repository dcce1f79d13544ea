//! Bodies that clients send block by block (RFC 7959 §2.5), until they are complete: nothing happens before (atomic).
//!
//! Invariants: a body belongs to one peer and one [fingerprint](super::Fingerprints); its blocks come in order, without gaps;
//! bodies, bytes and bodies per peer are bounded; a body whose next block does not come within the lifetime is dropped.

use alloc::vec::Vec;
use core::hash::Hash;

use hashbrown::HashMap;

use super::{Block, BlockSize};
use crate::{Code, Number, Options, Time};

/// How much is collected at most.
#[derive(Clone, Copy, Debug)]
pub struct UploadBounds {
    /// Bytes of a body; 1 MiB.
    pub body: usize,
    /// Bytes of all bodies; 64 MiB.
    pub bytes: usize,
    /// Bodies of one peer; 4.
    pub per_peer: usize,
    /// Bodies of all peers; 4,096.
    pub bodies: usize,
    /// How long a body waits for its next block; 247 s, an EXCHANGE_LIFETIME.
    pub lifetime: Time,
    /// When there is no room, a body that waits this long for its next block makes room for a new one; 15 s. Otherwise the new
    /// one is refused: with 4.29 if it is its peer that has too many, with 5.03 if it is all of them together.
    pub stale: Time,
    /// Blocks larger than this are taken, but smaller ones asked for; 1024 bytes.
    pub block: BlockSize,
}

impl Default for UploadBounds {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            bytes: 64 << 20,
            per_peer: 4,
            bodies: 4096,
            lifetime: Time::from_secs(247),
            stale: Time::from_secs(15),
            block: BlockSize::MAX,
        }
    }
}

/// What a request with a payload means.
#[derive(Debug, PartialEq, Eq)]
pub enum Upload<'a> {
    /// The payload is the whole body, and Block1 was not used.
    Whole(&'a [u8]),
    /// This was the last block. The answer to the request carries the block as its Block1.
    Complete(Vec<u8>, Block),
    /// The block was taken; to be answered with 2.31 and this Block1.
    Continue(Block),
    /// The block was not taken.
    Refused(Refusal),
}

/// Why a block was not taken, as it is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The response code.
    pub code: Code,
    /// What Block1 is to say.
    pub block: Option<Block>,
    /// What Size1 is to say: the most bytes that a body may have.
    pub size1: Option<u32>,
    /// What Max-Age is to say: seconds until it may be tried again.
    pub max_age: Option<u32>,
    /// Why, in words.
    pub diagnostic: &'static str,
}

#[derive(Debug)]
struct Partial {
    fingerprint: u64,
    body: Vec<u8>,
    /// When its last block came.
    used: Time,
}

/// Bodies that are not complete.
#[derive(Debug)]
pub struct Uploads<P> {
    bounds: UploadBounds,
    by_peer: HashMap<P, Vec<Partial>>,
    bodies: usize,
    bytes: usize,
    /// Nothing is stale before this time, nor expired.
    stale_from: Time,
}

impl<P: Copy + Eq + Hash> Uploads<P> {
    /// No bodies yet.
    pub fn new(bounds: UploadBounds) -> Self {
        Self { bounds, by_peer: HashMap::new(), bodies: 0, bytes: 0, stale_from: Time::ZERO }
    }

    /// How many bodies are incomplete.
    pub fn len(&self) -> usize {
        self.bodies
    }

    /// There is no incomplete body.
    pub fn is_empty(&self) -> bool {
        self.bodies == 0
    }

    /// Takes in the payload of a request from `peer` with these options. Over a stream, where blocks of size 7 are allowed, `bert` is set.
    pub fn receive<'a>(
        &mut self,
        peer: P,
        fingerprint: u64,
        options: Options<'_>,
        payload: &'a [u8],
        bert: bool,
        now: Time,
    ) -> Upload<'a> {
        let Some(block) = Block::of(options, Number::BLOCK1) else {
            if payload.len() > self.bounds.body {
                return Upload::Refused(self.too_large(None));
            }
            return Upload::Whole(payload);
        };
        match self.take(peer, fingerprint, (block, payload), announced(options), bert, now) {
            Ok(upload) => upload,
            Err(refusal) => {
                self.remove(peer, fingerprint);
                Upload::Refused(refusal)
            }
        }
    }

    /// Drops what waits too long for its next block. To be called now and then.
    pub fn expire(&mut self, now: Time) {
        let lifetime = self.bounds.lifetime;
        self.drop_unused(now.saturating_sub(lifetime));
    }

    /// Drops all bodies of `peer`.
    pub fn forget(&mut self, peer: P) {
        for partial in self.by_peer.remove(&peer).unwrap_or_default() {
            self.bodies -= 1;
            self.bytes -= partial.body.capacity();
        }
    }

    fn take<'a>(
        &mut self,
        peer: P,
        fingerprint: u64,
        (block, payload): (Block, &[u8]),
        announced: usize,
        bert: bool,
        now: Time,
    ) -> Result<Upload<'a>, Refusal> {
        let bad = |diagnostic| Refusal::new(Code::BAD_REQUEST, diagnostic);
        if block.size.is_bert() && !bert {
            return Err(bad("block size 7 is reserved"));
        }
        if !block.allows(payload.len()) {
            return Err(bad("a block that is not the last has to be full"));
        }
        let end = block.offset().saturating_add(payload.len());
        if end.max(announced) > self.bounds.body {
            return Err(self.too_large(Some(block)));
        }
        if block.number == 0 {
            self.remove(peer, fingerprint);
            if !block.more {
                return Ok(Upload::Complete(payload.to_vec(), block));
            }
            self.begin(peer, fingerprint, payload, now)?;
            return Ok(Upload::Continue(self.to_continue(block)));
        }
        let incomplete = Refusal {
            block: Some(block),
            ..Refusal::new(Code::REQUEST_ENTITY_INCOMPLETE, "blocks are missing")
        };
        let partial = self.find(peer, fingerprint).ok_or(incomplete)?;
        partial.used = now;
        if block.more && partial.body.len() == end {
            // The same block again, in a message of its own: the answer got lost.
            return Ok(Upload::Continue(self.to_continue(block)));
        }
        if partial.body.len() != block.offset() {
            return Err(incomplete);
        }
        let before = partial.body.capacity();
        partial.body.extend_from_slice(payload);
        let after = partial.body.capacity();
        self.bytes = self.bytes + after - before;
        if block.more {
            if self.bytes > self.bounds.bytes {
                return Err(self.no_room());
            }
            return Ok(Upload::Continue(self.to_continue(block)));
        }
        let body = self.remove(peer, fingerprint).ok_or(incomplete)?;
        Ok(Upload::Complete(body, block))
    }

    /// Begins a body with its first block, if there is room.
    fn begin(&mut self, peer: P, fingerprint: u64, payload: &[u8], now: Time) -> Result<(), Refusal> {
        let body = payload.to_vec();
        if !self.has_room(body.capacity()) && now >= self.stale_from {
            let stale = self.bounds.stale;
            self.drop_unused(now.saturating_sub(stale));
            self.stale_from = self.oldest_use().map_or(now, |used| used.saturating_add(stale));
        }
        if !self.has_room(body.capacity()) {
            return Err(self.no_room());
        }
        let stale = now.saturating_sub(self.bounds.stale);
        let of_peer = self.by_peer.entry(peer).or_default();
        if of_peer.len() >= self.bounds.per_peer.max(1) {
            let Some(oldest) = of_peer.iter().position(|partial| partial.used <= stale) else {
                return Err(Refusal {
                    max_age: u32::try_from(self.bounds.stale.as_secs()).ok(),
                    ..Refusal::new(Code::TOO_MANY_REQUESTS, "complete the other bodies first")
                });
            };
            let dropped = of_peer.swap_remove(oldest);
            self.bodies -= 1;
            self.bytes -= dropped.body.capacity();
        }
        self.bodies += 1;
        self.bytes += body.capacity();
        of_peer.push(Partial { fingerprint, body, used: now });
        Ok(())
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bodies < self.bounds.bodies && self.bytes.saturating_add(bytes) <= self.bounds.bytes
    }

    fn find(&mut self, peer: P, fingerprint: u64) -> Option<&mut Partial> {
        self.by_peer.get_mut(&peer)?.iter_mut().find(|partial| partial.fingerprint == fingerprint)
    }

    fn remove(&mut self, peer: P, fingerprint: u64) -> Option<Vec<u8>> {
        let of_peer = self.by_peer.get_mut(&peer)?;
        let position = of_peer.iter().position(|partial| partial.fingerprint == fingerprint)?;
        let partial = of_peer.swap_remove(position);
        if of_peer.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.bodies -= 1;
        self.bytes -= partial.body.capacity();
        Some(partial.body)
    }

    fn drop_unused(&mut self, before: Time) {
        let Self { by_peer, bodies, bytes, .. } = self;
        by_peer.retain(|_, of_peer| {
            of_peer.retain(|partial| {
                let keep = partial.used > before;
                if !keep {
                    *bodies -= 1;
                    *bytes -= partial.body.capacity();
                }
                keep
            });
            !of_peer.is_empty()
        });
    }

    fn oldest_use(&self) -> Option<Time> {
        self.by_peer.values().flatten().map(|partial| partial.used).min()
    }

    /// The Block1 of a 2.31: the block, in the size that later ones are to have.
    fn to_continue(&self, block: Block) -> Block {
        let size = if block.size.is_bert() { block.size } else { block.size.min(self.bounds.block) };
        Block { size, ..block }
    }

    /// §2.9.3: 4.13 with the greatest size that is taken.
    fn too_large(&self, block: Option<Block>) -> Refusal {
        Refusal {
            block,
            size1: u32::try_from(self.bounds.body).ok(),
            ..Refusal::new(Code::REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        }
    }

    fn no_room(&self) -> Refusal {
        Refusal {
            max_age: u32::try_from(self.bounds.stale.as_secs()).ok(),
            ..Refusal::new(Code::SERVICE_UNAVAILABLE, "too many bodies are being received")
        }
    }
}

impl Refusal {
    pub(crate) const fn new(code: Code, diagnostic: &'static str) -> Self {
        Self { code, block: None, size1: None, max_age: None, diagnostic }
    }
}

/// The size that the client says the body has, if it does.
fn announced(options: Options<'_>) -> usize {
    options.uint(Number::SIZE1).map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use crate::OptionBuf;

    use super::*;

    const NOW: Time = Time::from_secs(1000);

    fn send<'a>(
        uploads: &mut Uploads<char>,
        (peer, fingerprint): (char, u64),
        (number, more, exponent): (u32, bool, u8),
        payload: &'a [u8],
        now: Time,
    ) -> Upload<'a> {
        let size = BlockSize::from_exponent(exponent).expect("at most 7");
        let mut options = OptionBuf::new();
        options.add_uint(Number::BLOCK1, Block { number, more, size }.to_uint());
        uploads.receive(peer, fingerprint, options.as_options(), payload, false, now)
    }

    fn code(upload: &Upload<'_>) -> Option<Code> {
        match upload {
            Upload::Whole(_) | Upload::Complete(..) => None,
            Upload::Continue(_) => Some(Code::CONTINUE),
            Upload::Refused(refusal) => Some(refusal.code),
        }
    }

    fn small() -> Uploads<char> {
        Uploads::new(UploadBounds {
            body: 100,
            bytes: 400,
            per_peer: 2,
            bodies: 4,
            ..UploadBounds::default()
        })
    }

    #[test]
    fn rule39_nothing_happens_before_the_last_block() {
        let mut uploads = small();
        let first = send(&mut uploads, ('a', 1), (0, true, 0), &[1; 16], NOW);
        assert_eq!(code(&first), Some(Code::CONTINUE));
        // Another body of the same peer, and the same one of another peer, do not mix.
        send(&mut uploads, ('a', 2), (0, true, 0), &[7; 16], NOW);
        send(&mut uploads, ('b', 1), (0, true, 0), &[8; 16], NOW);
        let repeated = send(&mut uploads, ('a', 1), (0, true, 0), &[1; 16], NOW);
        assert_eq!(code(&repeated), Some(Code::CONTINUE));
        send(&mut uploads, ('a', 1), (1, true, 0), &[2; 16], NOW);
        let repeated = send(&mut uploads, ('a', 1), (1, true, 0), &[2; 16], NOW);
        assert_eq!(code(&repeated), Some(Code::CONTINUE));
        // The client may go on in smaller or larger blocks, as long as they are in order.
        match send(&mut uploads, ('a', 1), (1, false, 1), &[3; 5], NOW) {
            Upload::Complete(body, block) => {
                assert_eq!(body, [vec![1; 16], vec![2; 16], vec![3; 5]].concat());
                assert_eq!((block.number, block.more), (1, false));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(uploads.len(), 2);
    }

    #[test]
    fn rule39_what_is_refused() {
        type Sent = ((u32, bool, u8), usize);
        let cases: [(&str, &[Sent], Code); 8] = [
            ("out of the blue", &[((1, true, 0), 16)], Code::REQUEST_ENTITY_INCOMPLETE),
            ("a gap", &[((0, true, 0), 16), ((2, true, 0), 16)], Code::REQUEST_ENTITY_INCOMPLETE),
            ("a gap at the end", &[((0, true, 0), 16), ((2, false, 0), 3)], Code::REQUEST_ENTITY_INCOMPLETE),
            (
                "after a refusal",
                &[((0, true, 0), 16), ((5, true, 0), 16), ((1, true, 0), 16)],
                Code::REQUEST_ENTITY_INCOMPLETE,
            ),
            ("too large", &[((0, true, 2), 64), ((1, true, 2), 64)], Code::REQUEST_ENTITY_TOO_LARGE),
            ("far too large", &[((Block::MAX_NUMBER, true, 6), 1024)], Code::REQUEST_ENTITY_TOO_LARGE),
            ("not full", &[((0, true, 0), 15)], Code::BAD_REQUEST),
            ("reserved size", &[((0, true, 7), 1024)], Code::BAD_REQUEST),
        ];
        for (name, sent, expected) in cases {
            let mut uploads = small();
            let mut last = None;
            for &(block, length) in sent {
                last = code(&send(&mut uploads, ('a', 1), block, &vec![0; length], NOW));
            }
            assert_eq!(last, Some(expected), "{name}");
            assert!(uploads.is_empty() && uploads.bytes == 0, "{name}");
        }
    }

    #[test]
    fn rule39_too_large_by_its_own_word() {
        let mut uploads = small();
        let mut options = OptionBuf::new();
        options.add_uint(Number::BLOCK1, 0x08).add_uint(Number::SIZE1, u32::MAX);
        match uploads.receive('a', 1, options.as_options(), &[0; 16], false, NOW) {
            Upload::Refused(refusal) => {
                assert_eq!((refusal.code, refusal.size1), (Code::REQUEST_ENTITY_TOO_LARGE, Some(100)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_may_ask_for_smaller_blocks() {
        let mut uploads: Uploads<char> =
            Uploads::new(UploadBounds { block: BlockSize::within(64), ..UploadBounds::default() });
        match send(&mut uploads, ('a', 1), (0, true, 6), &[0; 1024], NOW) {
            Upload::Continue(block) => assert_eq!((block.number, block.size.bytes()), (0, 64)),
            other => panic!("{other:?}"),
        }
        let next = send(&mut uploads, ('a', 1), (16, true, 2), &[0; 64], NOW);
        assert_eq!(code(&next), Some(Code::CONTINUE));
    }

    #[test]
    fn bodies_that_nobody_completes_make_room() {
        let mut uploads = small();
        let begin = |uploads: &mut Uploads<char>, peer, fingerprint, seconds| {
            let now = NOW + Time::from_secs(seconds);
            code(&send(uploads, (peer, fingerprint), (0, true, 0), &[0; 16], now))
        };
        for fingerprint in 0..2 {
            assert_eq!(begin(&mut uploads, 'a', fingerprint, fingerprint), Some(Code::CONTINUE));
        }
        assert_eq!(begin(&mut uploads, 'a', 2, 14), Some(Code::TOO_MANY_REQUESTS));
        assert_eq!(begin(&mut uploads, 'a', 2, 15), Some(Code::CONTINUE), "in place of the stale one");
        assert_eq!(begin(&mut uploads, 'a', 3, 15), Some(Code::TOO_MANY_REQUESTS));
        assert_eq!(uploads.len(), 2);
        uploads.forget('a');
        assert_eq!(begin(&mut uploads, 'a', 3, 5), Some(Code::CONTINUE));
        assert_eq!(begin(&mut uploads, 'a', 4, 5), Some(Code::CONTINUE));
        assert_eq!(begin(&mut uploads, 'b', 0, 5), Some(Code::CONTINUE));
        assert_eq!(begin(&mut uploads, 'c', 0, 5), Some(Code::CONTINUE));
        assert_eq!(begin(&mut uploads, 'd', 0, 5), Some(Code::SERVICE_UNAVAILABLE));
        assert_eq!(begin(&mut uploads, 'd', 0, 20), Some(Code::CONTINUE));
        uploads.expire(NOW + Time::from_secs(20 + 246));
        assert_eq!(uploads.len(), 1);
        uploads.forget('d');
        assert!(uploads.is_empty() && uploads.bytes == 0);
    }

    proptest! {
        /// Whatever comes, the bounds hold and the counts are right.
        #[test]
        fn bounds_hold(
            steps in proptest::collection::vec((0..6_u8, 0..4_u64, 0..6_u32, any::<bool>(), 0..8_u8, 0..70_usize, 0..20_u64), 0..200),
        ) {
            let mut uploads = small();
            let mut now = NOW;
            for (peer, fingerprint, number, more, exponent, length, wait) in steps {
                now += Time::from_secs(wait);
                send(&mut uploads, (char::from(b'a' + peer), fingerprint), (number, more, exponent), &vec![0; length], now);
                let bodies: Vec<&Partial> = uploads.by_peer.values().flatten().collect();
                prop_assert!(bodies.len() == uploads.bodies && bodies.len() <= 4);
                prop_assert_eq!(bodies.iter().map(|partial| partial.body.capacity()).sum::<usize>(), uploads.bytes);
                prop_assert!(uploads.bytes <= 400 + 2 * 100);
                prop_assert!(uploads.by_peer.values().all(|of_peer| (1..=2).contains(&of_peer.len())));
            }
        }
    }
}
