//! Received bytes to application bytes, in place.
//!
//! Invariants: memory is bounded by one frame header and one control payload (125 bytes); the same stream gives the
//! same bytes and control frames however it is cut into reads.

use std::fmt;

use super::error::{CloseCode, ProtocolError};
use super::frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode};
use super::mask::{advance, apply_mask};
use super::{Limits, Role};

/// A control frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// A ping with its payload, to be returned in a pong.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// The peer closes; `None` when it gave no code.
    Close(Option<CloseCode>),
}

/// Whether the connection goes on after what was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Open,
    /// The peer sent a close frame; whatever follows it is ignored.
    Closed,
    /// The peer broke the protocol; whatever follows is ignored.
    Failed(ProtocolError),
}

/// The result of decoding one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decoded {
    /// Application bytes at the start of the buffer. Valid also when the connection ends after them.
    pub len: usize,
    /// Whether the connection goes on.
    pub outcome: Outcome,
}

/// Decodes one direction of a connection.
pub struct Decoder {
    role: Role,
    limits: Limits,
    state: State,
    /// An unfinished message is open: its next data frame must be a continuation.
    in_message: bool,
    /// Payload of the control frame that is arriving; empty (and unallocated) otherwise.
    control: Vec<u8>,
    ended: Option<Outcome>,
}

#[derive(Clone, Copy)]
enum State {
    Header { bytes: [u8; MAX_HEADER], length: usize },
    Payload { opcode: Opcode, key: [u8; 4], remaining: u64 },
}

const FRESH: State = State::Header { bytes: [0; MAX_HEADER], length: 0 };

impl Decoder {
    /// A decoder for what the peer of `role` sends.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Self { role, limits, state: FRESH, in_message: false, control: Vec::new(), ended: None }
    }

    /// Decodes all of `buffer`: application bytes are moved to its front, control frames go to `on_control` in
    /// order. Once the outcome is not [`Outcome::Open`] it stays what it is.
    pub fn decode(&mut self, buffer: &mut [u8], mut on_control: impl FnMut(Control<'_>)) -> Decoded {
        let mut read = 0;
        let mut len = 0;
        while self.ended.is_none() && read < buffer.len() {
            match self.state {
                State::Header { bytes, length } => match self.header(bytes, length, &buffer[read..]) {
                    Ok(used) => read += used,
                    Err(error) => self.ended = Some(Outcome::Failed(error)),
                },
                State::Payload { opcode, key, remaining } => {
                    let here = usize::try_from(remaining).unwrap_or(usize::MAX).min(buffer.len() - read);
                    let chunk = &mut buffer[read..read + here];
                    apply_mask(chunk, key);
                    if opcode.is_control() {
                        self.control.extend_from_slice(chunk);
                    } else {
                        buffer.copy_within(read..read + here, len);
                        len += here;
                    }
                    read += here;
                    let remaining = remaining - here as u64;
                    self.state = State::Payload { opcode, key: advance(key, here), remaining };
                }
            }
            self.finish_frame(&mut on_control);
        }
        Decoded { len, outcome: self.ended.unwrap_or(Outcome::Open) }
    }

    /// Completes the header with the front of `input`; gives how many of its bytes were used.
    fn header(
        &mut self,
        mut bytes: [u8; MAX_HEADER],
        length: usize,
        input: &[u8],
    ) -> Result<usize, ProtocolError> {
        let added = input.len().min(MAX_HEADER - length);
        bytes[length..length + added].copy_from_slice(&input[..added]);
        match FrameHeader::parse(&bytes[..length + added])? {
            None => {
                self.state = State::Header { bytes, length: length + added };
                Ok(added)
            }
            Some((header, header_length)) => {
                self.check(&header)?;
                self.state = State::Payload {
                    opcode: header.opcode,
                    key: header.mask.unwrap_or_default(),
                    remaining: header.length,
                };
                // What was collected before was not a whole header, so this cannot be negative.
                Ok(header_length.saturating_sub(length))
            }
        }
    }

    fn check(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(ProtocolError::Unmasked),
            (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        match (header.opcode, self.in_message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Text, _) => return Err(ProtocolError::TextMessage),
            (Opcode::Continuation, false) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Binary, true) => return Err(ProtocolError::InterleavedMessage),
            (Opcode::Continuation, true) | (Opcode::Binary, false) => {}
        }
        if header.length > self.limits.max_frame {
            return Err(ProtocolError::FrameTooLong { length: header.length, limit: self.limits.max_frame });
        }
        self.in_message = !header.fin;
        Ok(())
    }

    /// Ends the frame whose last payload byte was taken, which for an empty one is at once.
    fn finish_frame(&mut self, on_control: &mut impl FnMut(Control<'_>)) {
        let State::Payload { opcode, remaining: 0, .. } = self.state else { return };
        self.state = FRESH;
        if !opcode.is_control() {
            return;
        }
        let payload = std::mem::take(&mut self.control);
        debug_assert!(payload.len() <= MAX_CONTROL_PAYLOAD);
        match opcode {
            Opcode::Ping => on_control(Control::Ping(&payload)),
            Opcode::Pong => on_control(Control::Pong(&payload)),
            _ => match parse_close(&payload) {
                Ok(code) => {
                    self.ended = Some(Outcome::Closed);
                    on_control(Control::Close(code));
                }
                Err(error) => self.ended = Some(Outcome::Failed(error)),
            },
        }
    }
}

impl fmt::Debug for Decoder {
    /// Leaves out received bytes: they may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("role", &self.role)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// RFC 6455 §5.5.1: an empty body, or a code and a reason in UTF-8.
fn parse_close(payload: &[u8]) -> Result<Option<CloseCode>, ProtocolError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk().ok_or(ProtocolError::MalformedClose)?;
    let code = CloseCode::from_wire(u16::from_be_bytes(*code)).ok_or(ProtocolError::MalformedClose)?;
    std::str::from_utf8(reason).map_err(|_| ProtocolError::CloseReasonNotUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests;
