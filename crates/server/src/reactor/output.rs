//! Writing: everything a connection has to say goes out in one vectored write; what the socket does not take
//! waits here.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use bytes::Bytes;
use tercet_broker::effects::BufferPool;
use tercet_broker::outbox::Drained;
use tercet_mqtt::{Limits, frame_length};
use tercet_net::Transport;

/// A run of bytes to write.
#[derive(Debug)]
enum Chunk {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// What a socket has not taken yet, in order.
#[derive(Debug, Default)]
pub struct Unwritten {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    offset: usize,
    len: usize,
}

/// Slices per write call.
const SLICES: usize = 64;

impl Unwritten {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a buffer at the end.
    pub fn push(&mut self, bytes: Vec<u8>, pool: &mut BufferPool) {
        if bytes.is_empty() {
            pool.give(bytes);
            return;
        }
        self.len += bytes.len();
        self.chunks.push_back(Chunk::Owned(bytes));
    }

    /// Adds what was taken out of an outbox, splicing shared payloads in.
    pub fn push_drained(&mut self, drained: &mut Drained, pool: &mut BufferPool) {
        let bytes = std::mem::take(&mut drained.bytes);
        if drained.shared.is_empty() {
            self.push(bytes, pool);
            return;
        }
        // Parts of one buffer: nothing is copied to take it apart.
        let bytes = Bytes::from(bytes);
        let mut taken = 0;
        for (offset, payload) in drained.shared.drain(..) {
            let offset = offset.clamp(taken, bytes.len());
            self.push_shared(bytes.slice(taken..offset));
            taken = offset;
            self.push_shared(payload);
        }
        self.push_shared(bytes.slice(taken..));
    }

    fn push_shared(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.chunks.push_back(Chunk::Shared(bytes));
        }
    }

    /// Writes as much as the transport takes. Returns the bytes written; whether anything is left tells
    /// [`Unwritten::is_empty`].
    pub fn write(&mut self, transport: &mut Transport, pool: &mut BufferPool) -> io::Result<usize> {
        let mut total = 0;
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slot, (index, chunk)) in slices.iter_mut().zip(self.chunks.iter().enumerate()) {
                let skip = if index == 0 { self.offset } else { 0 };
                *slot = IoSlice::new(chunk.as_slice().get(skip..).unwrap_or_default());
                count += 1;
            }
            match transport.send(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written;
                    self.consume(written, pool);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn consume(&mut self, written: usize, pool: &mut BufferPool) {
        self.len -= written;
        self.offset += written;
        while let Some(front) = self.chunks.front() {
            let len = front.as_slice().len();
            if self.offset < len {
                break;
            }
            self.offset -= len;
            if let Some(Chunk::Owned(bytes)) = self.chunks.pop_front() {
                pool.give(bytes);
            }
        }
    }
}

/// How many control packets there are in a run of whole ones.
pub fn packets(bytes: &[u8]) -> u64 {
    let limits = Limits { max_packet_size: u32::MAX, ..Limits::default() };
    let mut rest = bytes;
    let mut count = 0;
    while let Ok(Some(length)) = frame_length(rest, &limits) {
        let Some(behind) = rest.get(length..) else { break };
        rest = behind;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_payloads_are_spliced_in_where_they_belong() {
        let mut pool = BufferPool::default();
        let mut unwritten = Unwritten::default();
        let shared = vec![
            (2, Bytes::from_static(b"--")),
            (2, Bytes::from_static(b"++")),
            (4, Bytes::from_static(b"==")),
        ];
        let mut drained = Drained { bytes: b"abcdef".to_vec(), shared, ..Drained::default() };
        unwritten.push_drained(&mut drained, &mut pool);
        let all: Vec<u8> = unwritten.chunks.iter().flat_map(|chunk| chunk.as_slice().to_vec()).collect();
        assert_eq!(all, b"ab--++cd==ef");
        assert_eq!(unwritten.len(), 12);
        for step in [1, 4, 6, 1] {
            unwritten.consume(step, &mut pool);
        }
        assert!(unwritten.is_empty() && unwritten.chunks.is_empty());
    }
}
