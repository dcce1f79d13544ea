//! The order of method, header and body frames on one channel.

use crate::error::{Error, ErrorKind};
use crate::frame::{FrameType, Payload};
use crate::method::MethodId;

/// What of a message has arrived on a channel.
///
/// It holds no bytes, so that a message whose frames are all in one read needs no copy: the caller keeps method,
/// header and body as it likes, and is told when the message is complete. Because every body frame is checked against
/// the announced size before it is taken, a buffer for the parts never grows beyond that size; it should grow with what
/// arrives and not with what was announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assembly {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Method,
    Header(MethodId),
    Body {
        method: MethodId,
        announced: u64,
        left: u64,
    },
}

/// What a frame means for the message it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A method without content, or a heartbeat: no message is concerned.
    Nothing,
    /// A method with content: a header follows.
    Begun,
    /// A header or a part of the body, and this many bytes of body are still to come.
    More(u64),
    /// The last frame of a message. It is the header if the body is empty.
    Complete,
}

impl Assembly {
    /// No message is arriving.
    pub const fn new() -> Self {
        Self { state: State::Method }
    }

    /// A message has begun and is not complete.
    pub const fn in_progress(&self) -> bool {
        !matches!(self.state, State::Method)
    }

    /// Takes the next frame of the channel.
    ///
    /// # Errors
    /// When the frame does not belong here (505) or brings more body than announced (501); the error names the method
    /// whose content was expected.
    #[inline]
    pub fn receive(&mut self, channel: u16, payload: &Payload<'_>) -> Result<Progress, Error> {
        match (self.state, payload) {
            (State::Method, Payload::Method(method)) => {
                let info = method.info();
                if !info.has_content {
                    return Ok(Progress::Nothing);
                }
                self.state = State::Header(info.id);
                Ok(Progress::Begun)
            }
            (_, Payload::Heartbeat) => Ok(Progress::Nothing),
            (State::Method, _) => fail(ErrorKind::ExpectedMethod(payload.kind()), channel, None),
            (State::Header(method), Payload::Header(header)) => {
                if header.class != method.class {
                    let kind = ErrorKind::HeaderClass { expected: method.class, found: header.class };
                    return fail(kind, channel, Some(method));
                }
                Ok(self.go_on(method, header.body_size, header.body_size))
            }
            (State::Header(method), _) => {
                fail(ErrorKind::ExpectedHeader(payload.kind()), channel, Some(method))
            }
            (State::Body { method, announced, left }, Payload::Body(part)) => {
                let len = part.len() as u64;
                match left.checked_sub(len) {
                    Some(left) => Ok(self.go_on(method, announced, left)),
                    None => {
                        let kind = ErrorKind::BodyTooLong { announced, excess: len - left };
                        fail(kind, channel, Some(method))
                    }
                }
            }
            (State::Body { method, .. }, _) => {
                let kind: FrameType = payload.kind();
                fail(ErrorKind::ExpectedBody(kind), channel, Some(method))
            }
        }
    }

    /// Forgets a message that is arriving: the channel is being closed.
    pub fn reset(&mut self) {
        self.state = State::Method;
    }

    fn go_on(&mut self, method: MethodId, announced: u64, left: u64) -> Progress {
        if left == 0 {
            self.state = State::Method;
            return Progress::Complete;
        }
        self.state = State::Body { method, announced, left };
        Progress::More(left)
    }
}

#[cold]
fn fail(kind: ErrorKind, channel: u16, method: Option<MethodId>) -> Result<Progress, Error> {
    Err(Error::new(kind, channel, method))
}
