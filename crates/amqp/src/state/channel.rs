//! A channel other than 0.

use crate::content::{Assembly, Progress};
use crate::error::{Error, ErrorKind};
use crate::frame::Payload;
use crate::method::{Method, MethodInfo};
use crate::state::answers::Answers;
use crate::state::{Role, Verdict};

/// The class of methods that belong to channel 0.
pub(crate) const CONNECTION: u16 = 10;

/// The state of one channel: whether it is open, what of a message has arrived, which answers are to come.
///
/// Pass every frame of the channel to [`receive`](Self::receive), and every method that is written to
/// [`sent`](Self::sent). A channel that [`is_closed`](Self::is_closed) need not be kept: its number is free, and a new
/// `Channel` behaves alike. The server forgets a channel before it writes channel.close-ok.
#[derive(Clone, Debug)]
pub struct Channel {
    number: u16,
    role: Role,
    state: State,
    assembly: Assembly,
    answers: Answers,
    flow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// The client has sent channel.open.
    Opening,
    Open,
    /// We have sent channel.close.
    Closing,
}

impl Channel {
    /// A closed channel.
    pub fn new(number: u16, role: Role) -> Self {
        Self {
            number,
            role,
            state: State::Closed,
            assembly: Assembly::new(),
            answers: Answers::default(),
            flow: true,
        }
    }

    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// It is not open, and no close is to be answered.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Methods may be sent: it is open, and we have not closed it.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The peer has not asked us, by channel.flow, to hold messages back.
    pub const fn may_send_content(&self) -> bool {
        self.flow
    }

    /// How many of our methods the peer has yet to answer.
    pub fn awaited_answers(&self) -> usize {
        self.answers.len()
    }

    /// Judges the next frame of the channel.
    ///
    /// # Errors
    /// When the frame must not come here and now; all these errors end the connection.
    #[inline]
    pub fn receive(&mut self, payload: &Payload<'_>) -> Result<Verdict, Error> {
        match (self.state, payload) {
            (State::Open, _) => self.receive_open(payload),
            (State::Closing, Payload::Method(Method::ChannelClose(_))) => Ok(Verdict::AnswerClose),
            (State::Closing, Payload::Method(Method::ChannelCloseOk(_))) => {
                self.state = State::Closed;
                Ok(Verdict::Closed)
            }
            (State::Closing, _) => Ok(Verdict::Discard),
            (State::Closed, Payload::Method(Method::ChannelOpen(_))) if self.role == Role::Server => {
                self.state = State::Open;
                Ok(Verdict::Take(Progress::Nothing))
            }
            (State::Opening, Payload::Method(Method::ChannelOpenOk(_))) => {
                self.answers.clear();
                self.state = State::Open;
                Ok(Verdict::Take(Progress::Nothing))
            }
            (State::Opening, Payload::Method(Method::ChannelClose(_))) => {
                self.forget();
                Ok(Verdict::AnswerClose)
            }
            (_, Payload::Method(method)) if method.info().id.class == CONNECTION => {
                Err(self.fail(ErrorKind::MethodNotAllowed(method.info().id), Some(method.info())))
            }
            (_, Payload::Method(method)) => Err(self.fail(ErrorKind::ChannelNotOpen, Some(method.info()))),
            _ => Err(self.fail(ErrorKind::ChannelNotOpen, None)),
        }
    }

    #[inline]
    fn receive_open(&mut self, payload: &Payload<'_>) -> Result<Verdict, Error> {
        let progress = self.assembly.receive(self.number, payload)?;
        let Payload::Method(method) = payload else { return Ok(Verdict::Take(progress)) };
        let info = method.info();
        match method {
            Method::ChannelOpen(_) if self.role == Role::Server => {
                return Err(self.fail(ErrorKind::ChannelOpen, Some(info)));
            }
            Method::ChannelClose(_) => {
                self.forget();
                return Ok(Verdict::AnswerClose);
            }
            Method::ChannelFlow(flow) => self.flow = flow.active,
            _ => {}
        }
        if info.id.class == CONNECTION || !self.role.takes_from(info.sender) {
            return Err(self.fail(ErrorKind::MethodNotAllowed(info.id), Some(info)));
        }
        if info.is_answer && !self.answers.received(info.id) {
            return Err(self.fail(ErrorKind::UnexpectedAnswer(info.id), Some(info)));
        }
        Ok(Verdict::Take(progress))
    }

    /// Notes a method that was written to the channel.
    pub fn sent(&mut self, method: &Method<'_>) {
        match method {
            Method::ChannelOpen(_) if self.state == State::Closed => self.state = State::Opening,
            Method::ChannelClose(_) => {
                self.forget();
                self.state = State::Closing;
            }
            _ if self.state == State::Open => self.answers.sent(method),
            _ => {}
        }
    }

    fn forget(&mut self) {
        self.state = State::Closed;
        self.assembly.reset();
        self.answers.clear();
        self.flow = true;
    }

    #[cold]
    fn fail(&self, kind: ErrorKind, method: Option<&MethodInfo>) -> Error {
        Error::new(kind, self.number, method.map(|info| info.id))
    }
}
