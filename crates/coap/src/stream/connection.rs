//! What a connection remembers of the signals of its peer (RFC 8323 §5).

use super::BASE_MESSAGE_SIZE;
use super::signal::{AbortReason, Signal, SignalError};
use crate::code::{Code, CodeKind};
use crate::message::Message;

/// The rules of one connection, for either side. It has no buffers: the caller decodes messages and gives each to
/// [`receive`](Self::receive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What the peer's CSMs said; `None` before the first.
    peer: Option<Peer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    max_message_size: u32,
    block_wise: bool,
    token: u32,
}

/// What to do with a message of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing: it was empty, a CSM that was taken note of, or a signal that is not known.
    Nothing,
    /// Deal with the request.
    Request(Message<'a>),
    /// Give the response to who asked for it.
    Response(Message<'a>),
    /// Answer with a Pong of the same token; with custody, once everything before it has been dealt with.
    Ping {
        /// The token for the Pong.
        token: &'a [u8],
        /// The Pong has to say that everything before it was dealt with.
        custody: bool,
    },
    /// The peer is there.
    Pong {
        /// The token of the Ping.
        token: &'a [u8],
        /// Everything before the Ping was dealt with.
        custody: bool,
    },
    /// Send what is due, no new requests, then close.
    Release {
        /// Where to connect to instead.
        alternative: Option<&'a str>,
        /// How many seconds to wait before connecting again.
        hold_off: Option<u32>,
    },
    /// The peer has given up: close.
    Aborted {
        /// The option of one's CSM that it did not understand.
        bad_csm_option: Option<u16>,
        /// Words for people.
        diagnostic: &'a [u8],
    },
    /// Send an Abort with this reason and close.
    Abort(AbortReason),
}

impl Connection {
    /// A connection on which nothing was received yet. One's own CSM has to be the first message that is sent.
    pub const fn new() -> Self {
        Self { peer: None }
    }

    /// The peer's first CSM has arrived.
    pub const fn is_ready(&self) -> bool {
        self.peer.is_some()
    }

    /// The greatest message that may be sent, in bytes.
    pub fn max_message_size(&self) -> u32 {
        self.peer.map_or(BASE_MESSAGE_SIZE, |peer| peer.max_message_size)
    }

    /// The peer understands block-wise transfer.
    pub fn is_block_wise(&self) -> bool {
        self.peer.is_some_and(|peer| peer.block_wise)
    }

    /// The peer takes blocks of SZX 7 (RFC 8323 §6).
    pub fn is_bert(&self) -> bool {
        self.is_block_wise() && self.max_message_size() > BASE_MESSAGE_SIZE
    }

    /// The greatest token that may be sent, in bytes (RFC 8974 §2.2.1).
    pub fn max_token(&self) -> usize {
        self.peer.map_or(8, |peer| peer.token as usize)
    }

    /// Takes note of a message that was received.
    pub fn receive<'a>(&mut self, message: &Message<'a>) -> Received<'a> {
        // RFC 8323 §5.3: the first message is a CSM.
        if self.peer.is_none() && !matches!(message.code, Code::CSM | Code::ABORT) {
            return Received::Abort(AbortReason::Diagnostic("the first message has to be a CSM"));
        }
        match message.code.kind() {
            CodeKind::Empty => Received::Nothing,
            CodeKind::Request => Received::Request(*message),
            CodeKind::Response => Received::Response(*message),
            CodeKind::Reserved => Received::Abort(AbortReason::Diagnostic("reserved code class")),
            CodeKind::Signal => self.signal(message),
        }
    }

    fn signal<'a>(&mut self, message: &Message<'a>) -> Received<'a> {
        let token = message.token;
        match Signal::read(message) {
            Ok(Signal::Csm { max_message_size, block_wise, token }) => {
                self.settings(message, Peer { max_message_size, block_wise, token });
                Received::Nothing
            }
            Ok(Signal::Ping { custody }) => Received::Ping { token, custody },
            Ok(Signal::Pong { custody }) => Received::Pong { token, custody },
            Ok(Signal::Release { alternative, hold_off }) => Received::Release { alternative, hold_off },
            Ok(Signal::Abort { bad_csm_option, diagnostic }) => {
                Received::Aborted { bad_csm_option, diagnostic }
            }
            Ok(Signal::Unknown(_)) | Err(SignalError::NotSignal) => Received::Nothing,
            Err(SignalError::BadOption { code: Code::CSM, number }) => {
                Received::Abort(AbortReason::BadCsmOption(number))
            }
            Err(SignalError::BadOption { .. }) => {
                Received::Abort(AbortReason::Diagnostic("critical option of a signal not understood"))
            }
        }
    }

    /// A later CSM changes only what it names (RFC 8323 §5.3).
    fn settings(&mut self, message: &Message<'_>, new: Peer) {
        use super::signal::SignalOption as O;
        let named = |option: O| message.options.iter().any(|(number, _)| number.0 == option.0);
        self.peer = Some(match self.peer {
            None => new,
            Some(old) => Peer {
                max_message_size: if named(O::MAX_MESSAGE_SIZE) {
                    new.max_message_size
                } else {
                    old.max_message_size
                },
                block_wise: old.block_wise || new.block_wise,
                token: if named(O::EXTENDED_TOKEN_LENGTH) { new.token } else { old.token },
            },
        });
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}
