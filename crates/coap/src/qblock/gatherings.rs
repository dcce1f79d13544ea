//! The bodies that clients send to a server in bursts, bounded as [`Uploads`](crate::block::Uploads) are.

use alloc::vec::Vec;
use core::hash::Hash;

use hashbrown::HashMap;

use super::{Gathered, Gathering, Overdue, Parameters, gathering::BadBlock};
use crate::{
    Code, Message, Number, Time, Token,
    block::{Block, Refusal, UploadBounds},
};

/// What a request with Q-Block1 means.
#[derive(Debug, PartialEq, Eq)]
pub enum QUpload {
    /// Nothing is answered yet.
    Wait,
    /// To be answered with 2.31 and this Q-Block1.
    Continue(Block),
    /// To be answered with 4.08 and these numbers, in content format 272.
    Missing(Vec<u32>),
    /// The body is complete; the request is to be carried out with it and answered.
    Complete(Vec<u8>),
    /// The block was not taken, and the body is dropped.
    Refused(Refusal),
}

/// What is to be sent without a request having come.
#[derive(Debug)]
pub struct Inform<P> {
    /// To whom.
    pub peer: P,
    /// The token of the last request that came for the body.
    pub token: Token,
    /// The blocks that are missing, for a 4.08 in content format 272. None when the body is given up: a 4.08 without them.
    pub missing: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    gathering: Gathering,
    token: Token,
}

/// Bodies that are not complete.
#[derive(Debug)]
pub struct Gatherings<P> {
    bounds: UploadBounds,
    parameters: Parameters,
    entries: HashMap<(P, u64), Entry>,
    per_peer: HashMap<P, usize>,
    /// Bytes that the bodies will have when they are complete.
    promised: usize,
}

impl<P: Copy + Eq + Hash> Gatherings<P> {
    /// No bodies yet. Of `bounds`, `body`, `bytes`, `per_peer` and `bodies` apply.
    pub fn new(bounds: UploadBounds, parameters: Parameters) -> Self {
        Self { bounds, parameters, entries: HashMap::new(), per_peer: HashMap::new(), promised: 0 }
    }

    /// How many bodies are incomplete.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There is no incomplete body.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in a request from `peer` that carries Q-Block1; `None` if it does not.
    pub fn receive(
        &mut self,
        peer: P,
        fingerprint: u64,
        request: &Message<'_>,
        now: Time,
    ) -> Option<QUpload> {
        let block = Block::of(request.options, Number::Q_BLOCK1)?;
        let key = (peer, fingerprint);
        let taken = self.entry(key, block, request, now).and_then(|entry| {
            entry.token = Token::new(request.token).unwrap_or_default();
            entry.gathering.on_block(block, request.payload, now).map_err(refuse)
        });
        Some(match taken {
            Ok(Gathered::Wait) => QUpload::Wait,
            Ok(Gathered::Continue(block)) => QUpload::Continue(block),
            Ok(Gathered::Missing(numbers)) => QUpload::Missing(numbers),
            Ok(Gathered::Complete) => match self.remove(key) {
                Some(entry) => QUpload::Complete(entry.gathering.into_body()),
                None => QUpload::Wait,
            },
            Err(refusal) => {
                self.remove(key);
                QUpload::Refused(refusal)
            }
        })
    }

    /// When [`Self::run_due`] is to be called next.
    pub fn next_due(&self) -> Option<Time> {
        self.entries.values().map(|entry| entry.gathering.next_due()).min()
    }

    /// Says what is missing of the bodies of which no block came for a while, and drops those that will not be completed.
    pub fn run_due(&mut self, now: Time, mut inform: impl FnMut(Inform<P>)) {
        let due: Vec<(P, u64)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.gathering.next_due() <= now)
            .map(|(&key, _)| key)
            .collect();
        for key in due {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let token = entry.token.clone();
            let missing = match entry.gathering.on_due(now) {
                Overdue::Missing(numbers) => numbers,
                Overdue::GiveUp => {
                    self.remove(key);
                    Vec::new()
                }
            };
            inform(Inform { peer: key.0, token, missing });
        }
    }

    fn entry(
        &mut self,
        key: (P, u64),
        block: Block,
        request: &Message<'_>,
        now: Time,
    ) -> Result<&mut Entry, Refusal> {
        // §4.3: without these two, blocks cannot be told apart nor counted.
        let length =
            request.options.uint(Number::SIZE1).filter(|_| request.options.contains(Number::REQUEST_TAG));
        let bad = || Refusal::new(Code::BAD_REQUEST, "Q-Block1 needs Request-Tag and Size1");
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
        if length > self.bounds.body {
            return Err(Refusal {
                size1: u32::try_from(self.bounds.body).ok(),
                ..Refusal::new(Code::REQUEST_ENTITY_TOO_LARGE, "the body is too large")
            });
        }
        if self.entries.get(&key).is_some_and(|entry| entry.gathering.length() != length) {
            return Err(Refusal::new(Code::BAD_REQUEST, "the body changed its length"));
        }
        if !self.entries.contains_key(&key) {
            let of_peer = self.per_peer.get(&key.0).copied().unwrap_or_default();
            let has_room = self.entries.len() < self.bounds.bodies
                && of_peer < self.bounds.per_peer
                && self.promised + length <= self.bounds.bytes;
            if !has_room {
                return Err(Refusal {
                    max_age: u32::try_from(self.parameters.receive_timeout.as_secs()).ok(),
                    ..Refusal::new(Code::SERVICE_UNAVAILABLE, "too many bodies are being received")
                });
            }
            let gathering = Gathering::new(length, block.size, self.parameters, now)
                .ok_or_else(|| refuse(BadBlock::Size))?;
            self.entries.insert(key, Entry { gathering, token: Token::empty() });
            *self.per_peer.entry(key.0).or_default() += 1;
            self.promised += length;
        }
        self.entries.get_mut(&key).ok_or_else(bad)
    }

    fn remove(&mut self, key: (P, u64)) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.promised -= entry.gathering.length();
        if let Some(count) = self.per_peer.get_mut(&key.0) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&key.0);
            }
        }
        Some(entry)
    }
}

fn refuse(bad: BadBlock) -> Refusal {
    let diagnostic = match bad {
        BadBlock::Size => "a block of the wrong size",
        BadBlock::Number => "a block that does not belong to the body",
    };
    Refusal::new(Code::BAD_REQUEST, diagnostic)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use crate::{OptionBuf, block::BlockSize};

    use super::*;

    const NOW: Time = Time::from_secs(10);

    fn send(
        gatherings: &mut Gatherings<char>,
        peer: char,
        (number, more): (u32, bool),
        size1: Option<u32>,
        now: Time,
    ) -> QUpload {
        let mut options = OptionBuf::new();
        let block = Block { number, more, size: BlockSize::MIN };
        options.add_uint(Number::Q_BLOCK1, block.to_uint()).add(Number::REQUEST_TAG, b"r");
        if let Some(size1) = size1 {
            options.add_uint(Number::SIZE1, size1);
        }
        let token = [number as u8];
        let request = Message {
            options: options.as_options(),
            token: &token,
            payload: &[7; 16],
            ..Message::new(Code::PUT)
        };
        gatherings.receive(peer, 1, &request, now).expect("it carries Q-Block1")
    }

    fn small() -> Gatherings<char> {
        let bounds =
            UploadBounds { body: 200, bytes: 300, per_peer: 1, bodies: 2, ..UploadBounds::default() };
        Gatherings::new(bounds, Parameters { max_payloads: 2, ..Parameters::default() })
    }

    #[test]
    fn rule42_a_body_in_bursts() {
        let mut gatherings = small();
        assert_eq!(send(&mut gatherings, 'a', (0, true), Some(64), NOW), QUpload::Wait);
        let end = Block { number: 1, more: true, size: BlockSize::MIN };
        assert_eq!(send(&mut gatherings, 'a', (1, true), Some(64), NOW), QUpload::Continue(end));
        assert_eq!(send(&mut gatherings, 'a', (3, false), Some(64), NOW), QUpload::Wait);
        let mut informed = Vec::new();
        let due = gatherings.next_due().expect("waiting");
        gatherings.run_due(due, |inform| informed.push((inform.peer, inform.token.to_vec(), inform.missing)));
        assert_eq!(informed, [('a', vec![3], vec![2])]);
        assert_eq!(send(&mut gatherings, 'a', (2, true), Some(64), due), QUpload::Complete(vec![7; 64]));
        assert!(gatherings.is_empty() && gatherings.promised == 0 && gatherings.per_peer.is_empty());
    }

    #[test]
    fn rule42_what_is_refused() {
        let code = |upload| match upload {
            QUpload::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        let mut gatherings = small();
        assert_eq!(code(send(&mut gatherings, 'a', (0, true), None, NOW)), Some(Code::BAD_REQUEST));
        let too_large = code(send(&mut gatherings, 'a', (0, true), Some(201), NOW));
        assert_eq!(too_large, Some(Code::REQUEST_ENTITY_TOO_LARGE));
        assert_eq!(code(send(&mut gatherings, 'a', (9, true), Some(64), NOW)), Some(Code::BAD_REQUEST));
        assert!(gatherings.is_empty());
        assert_eq!(code(send(&mut gatherings, 'a', (0, true), Some(200), NOW)), None);
        let no_room = code(send(&mut gatherings, 'b', (0, true), Some(200), NOW));
        assert_eq!(no_room, Some(Code::SERVICE_UNAVAILABLE));
        assert_eq!(code(send(&mut gatherings, 'b', (0, true), Some(100), NOW)), None);
        assert_eq!(code(send(&mut gatherings, 'a', (1, true), Some(64), NOW)), Some(Code::BAD_REQUEST));
        assert_eq!(gatherings.len(), 1);
    }

    #[test]
    fn bodies_that_nobody_completes_end() {
        let mut gatherings = small();
        send(&mut gatherings, 'a', (0, true), Some(64), NOW);
        let mut told = Vec::new();
        while let Some(due) = gatherings.next_due() {
            gatherings.run_due(due, |inform| told.push(inform.missing.len()));
        }
        assert_eq!(told, [1, 1, 1, 1, 0]);
        assert!(gatherings.promised == 0 && gatherings.per_peer.is_empty());
    }
}
