//! WebSocket framing between TLS or the socket and the application.
//!
//! Memory per connection: the codec, and what the layer below did not take of one frame of at most [`FRAME`] bytes
//! and one control frame.

use std::fmt;
use std::io::{self, IoSlice};

use crate::websocket::{Codec, Outcome, ProtocolError};

use super::{Received, invalid_data};

/// Longest payload put into one frame.
const FRAME: usize = 64 * 1024;
/// Most slices written at once, the frame's header included.
const SLICES: usize = 64;
/// Reads without a result before other connections get their turn.
const PATIENCE: usize = 8;

pub(super) struct WebSocketLayer {
    pub(super) codec: Codec,
    /// Bytes that arrived together with the HTTP request.
    leftover: Vec<u8>,
    /// Framed bytes that the layer below did not take, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Failed(ProtocolError),
}

impl WebSocketLayer {
    pub(super) fn new(codec: Codec, leftover: &[u8]) -> Self {
        Self { codec, leftover: leftover.to_vec(), out: Vec::new(), sent: 0, end: None }
    }

    pub(super) fn receive(
        &mut self,
        scratch: &mut [u8],
        mut lower: impl FnMut(&mut [u8]) -> io::Result<Received>,
    ) -> io::Result<Received> {
        for _ in 0..PATIENCE {
            match self.end {
                Some(End::Closed) => return Ok(Received::Closed),
                Some(End::Failed(error)) => return Err(invalid_data(error)),
                None => {}
            }
            let received =
                if self.leftover.is_empty() { lower(scratch)? } else { self.take_leftover(scratch) };
            let (Received::Data(n) | Received::More(n)) = received else { return Ok(received) };
            let decoded = self.codec.decode(scratch.get_mut(..n).unwrap_or_default());
            self.end = match decoded.outcome {
                Outcome::Open => None,
                Outcome::Closed => Some(End::Closed),
                Outcome::Failed(error) => Some(End::Failed(error)),
            };
            match received {
                // Only headers or control frames came: see whether there is more.
                _ if decoded.len == 0 => {}
                Received::Data(_) if self.end.is_none() => return Ok(Received::Data(decoded.len)),
                _ => return Ok(Received::More(decoded.len)),
            }
        }
        Ok(Received::More(0))
    }

    fn take_leftover(&mut self, scratch: &mut [u8]) -> Received {
        let n = self.leftover.len().min(scratch.len());
        for (to, from) in scratch.iter_mut().zip(self.leftover.drain(..n)) {
            *to = from;
        }
        if self.leftover.is_empty() {
            self.leftover = Vec::new();
        }
        Received::More(n)
    }

    /// Frames bytes from the front of `slices` and passes them to `write`. What of the frame is not taken below is
    /// kept, so that the bytes reported as taken always form a whole frame, whatever the caller offers next.
    pub(super) fn send(
        &mut self,
        slices: &[IoSlice<'_>],
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.codec.is_closing() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.flush(&mut write)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut gathered: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
        let (count, length) = gather(slices, gathered.split_at_mut(1).1);
        if length == 0 {
            return Ok(0);
        }
        let Some(header) = self.codec.binary_header(length as u64) else {
            let parts = gathered[1..=count].iter().map(|slice| &**slice);
            self.codec.encode_parts(parts, &mut self.out)?;
            self.flush(write)?;
            return Ok(length);
        };
        gathered[0] = IoSlice::new(&header);
        let frame = &gathered[..=count];
        let mut written = write(frame)?;
        for slice in frame {
            let taken = written.min(slice.len());
            self.out.extend_from_slice(&slice[taken..]);
            written -= taken;
        }
        Ok(length)
    }

    /// Passes kept bytes and control frames to `write`; true when none are left.
    pub(super) fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        loop {
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match write(&[IoSlice::new(rest)]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => self.sent += n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            self.sent = 0;
            // Given back: an idle connection keeps no buffer.
            self.out = Vec::new();
            if !self.codec.next_control(&mut self.out)? {
                return Ok(true);
            }
        }
    }

    /// Bytes of memory held for what waits.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.leftover.capacity() + self.out.capacity()
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.out.is_empty() || self.codec.has_control()
    }
}

impl fmt::Debug for WebSocketLayer {
    /// Leaves out bytes that wait: they may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketLayer")
            .field("codec", &self.codec)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Copies slices into `room` until it or the longest frame is full; gives their count and length.
fn gather<'a>(slices: &'a [IoSlice<'_>], room: &mut [IoSlice<'a>]) -> (usize, usize) {
    let (mut count, mut length) = (0, 0);
    for (slot, slice) in room.iter_mut().zip(slices.iter().filter(|slice| !slice.is_empty())) {
        let taken = slice.len().min(FRAME - length);
        *slot = IoSlice::new(&slice[..taken]);
        count += 1;
        length += taken;
        if length == FRAME {
            break;
        }
    }
    (count, length)
}
