//! Channel 0: from the handshake to the close.

use crate::content::Progress;
use crate::error::{Error, ErrorKind};
use crate::frame::{FrameType, Payload};
use crate::method::Method;
use crate::state::answers::Answers;
use crate::state::{Role, Verdict};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The protocol header is exchanged; connection.start and connection.start-ok come.
    Start,
    /// The client has introduced itself; challenges may follow, then connection.tune.
    Authentication,
    /// The server has proposed parameters.
    Tune,
    /// The parameters are settled; connection.open comes, or its answer.
    Open,
    /// Channels may be used.
    Running,
    /// We have sent connection.close and wait for the answer.
    Closing,
    /// Nothing more is to be read.
    Closed,
}

impl Phase {
    /// What a server calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Authentication => "securing",
            Self::Tune => "tuning",
            Self::Open => "opening",
            Self::Running => "running",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// The state of channel 0.
///
/// Pass every frame of channel 0 to [`receive`](Self::receive), every method that is written to it to
/// [`sent`](Self::sent), and ask [`admit`](Self::admit) before any frame of another channel is looked at.
#[derive(Clone, Debug)]
pub struct Connection {
    role: Role,
    phase: Phase,
    /// The server owes an answer to connection.open, or the client one to connection.secure.
    owed: bool,
    answers: Answers,
}

impl Connection {
    /// A connection after the protocol header.
    pub fn new(role: Role) -> Self {
        Self { role, phase: Phase::Start, owed: false, answers: Answers::default() }
    }

    /// How far it has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether frames of other channels are to be looked at.
    ///
    /// # Errors
    /// When the connection is not open yet: 505.
    #[inline]
    pub fn admit(&self, channel: u16, kind: FrameType) -> Result<Verdict, Error> {
        match self.phase {
            Phase::Running => Ok(Verdict::Take(Progress::Nothing)),
            Phase::Closing | Phase::Closed => Ok(Verdict::Discard),
            _ => Err(Error::new(ErrorKind::ConnectionNotOpen(kind), channel, None)),
        }
    }

    /// Judges the next frame of channel 0.
    ///
    /// # Errors
    /// When the frame must not come here and now.
    pub fn receive(&mut self, payload: &Payload<'_>) -> Result<Verdict, Error> {
        let method = match payload {
            Payload::Method(method) => method,
            Payload::Heartbeat => {
                let closed = self.phase == Phase::Closed;
                return Ok(if closed { Verdict::Discard } else { Verdict::Take(Progress::Nothing) });
            }
            Payload::Header(_) | Payload::Body(_) => {
                return Err(Error::new(ErrorKind::ContentOnChannelZero(payload.kind()), 0, None));
            }
        };
        match (self.phase, method) {
            (Phase::Closed, _) => Ok(Verdict::Discard),
            (Phase::Closing, Method::ConnectionClose(_)) => Ok(Verdict::AnswerClose),
            (Phase::Closing, Method::ConnectionCloseOk(_)) => {
                self.phase = Phase::Closed;
                Ok(Verdict::Closed)
            }
            (Phase::Closing, _) => Ok(Verdict::Discard),
            (_, Method::ConnectionClose(_)) => {
                self.phase = Phase::Closed;
                Ok(Verdict::AnswerClose)
            }
            _ => self.advance(method).map(|()| Verdict::Take(Progress::Nothing)),
        }
    }

    fn advance(&mut self, method: &Method<'_>) -> Result<(), Error> {
        use Method as M;
        let info = method.info();
        match (self.role, self.phase, method) {
            (Role::Server, Phase::Start, M::ConnectionStartOk(_)) => self.phase = Phase::Authentication,
            (Role::Server, Phase::Authentication, M::ConnectionSecureOk(_)) if self.owed => {
                self.owed = false;
            }
            (Role::Server, Phase::Tune, M::ConnectionTuneOk(_)) => self.phase = Phase::Open,
            // The server runs when it has answered.
            (Role::Server, Phase::Open, M::ConnectionOpen(_)) if !self.owed => self.owed = true,
            (Role::Server, Phase::Running, M::ConnectionUpdateSecret(_)) => {}
            (Role::Client, Phase::Start, M::ConnectionStart(_)) => self.phase = Phase::Authentication,
            (Role::Client, Phase::Authentication, M::ConnectionSecure(_)) => {}
            (Role::Client, Phase::Authentication, M::ConnectionTune(_)) => self.phase = Phase::Tune,
            (Role::Client, Phase::Open, M::ConnectionOpenOk(_)) => self.phase = Phase::Running,
            (Role::Client, Phase::Running, M::ConnectionBlocked(_) | M::ConnectionUnblocked(_)) => {}
            (Role::Client, Phase::Running, M::ConnectionUpdateSecretOk(_)) => {
                if !self.answers.received(info.id) {
                    return Err(Error::new(ErrorKind::UnexpectedAnswer(info.id), 0, Some(info.id)));
                }
            }
            (Role::Server, phase, _) => {
                return Err(Error::new(ErrorKind::UnexpectedMethod(phase.name()), 0, Some(info.id)));
            }
            _ => return Err(Error::new(ErrorKind::MethodNotAllowed(info.id), 0, Some(info.id))),
        }
        Ok(())
    }

    /// Notes a method that was written to channel 0.
    pub fn sent(&mut self, method: &Method<'_>) {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        match method {
            Method::ConnectionSecure(_) => self.owed = true,
            Method::ConnectionTune(_) => (self.phase, self.owed) = (Phase::Tune, false),
            Method::ConnectionOpen(_) => self.phase = Phase::Open,
            Method::ConnectionOpenOk(_) => self.phase = Phase::Running,
            Method::ConnectionClose(_) => self.phase = Phase::Closing,
            Method::ConnectionUpdateSecret(_) => self.answers.sent(method),
            _ => {}
        }
    }
}
