//! Signals: messages about the connection itself (RFC 8323 §5).

use alloc::vec::Vec;

use thiserror::Error;

use super::BASE_MESSAGE_SIZE;
use crate::code::Code;
use crate::message::{Message, Writer};
use crate::option::{Number, wire};

/// Numbers of the options of signals; each signal has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalOption(pub u16);

impl SignalOption {
    /// CSM: the greatest message that the sender takes, in bytes.
    pub const MAX_MESSAGE_SIZE: Self = Self(2);
    /// CSM: the sender understands block-wise transfer, and BERT if its messages may be larger than 1,152 bytes.
    pub const BLOCK_WISE_TRANSFER: Self = Self(4);
    /// CSM: the greatest token that the sender takes (RFC 8974 §2.2.1).
    pub const EXTENDED_TOKEN_LENGTH: Self = Self(6);
    /// Ping and Pong: what came before has been dealt with.
    pub const CUSTODY: Self = Self(2);
    /// Release: another address of the server.
    pub const ALTERNATIVE_ADDRESS: Self = Self(2);
    /// Release: how many seconds to stay away.
    pub const HOLD_OFF: Self = Self(4);
    /// Abort: the option of a CSM that was not understood.
    pub const BAD_CSM_OPTION: Self = Self(2);
}

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal<'a> {
    /// Capabilities and settings.
    Csm {
        /// The greatest message that the sender takes, in bytes.
        max_message_size: u32,
        /// The sender understands block-wise transfer.
        block_wise: bool,
        /// The greatest token that the sender takes, in bytes; at least 8.
        token: u32,
    },
    /// Asks for a Pong.
    Ping {
        /// Asks to wait until what came before has been dealt with.
        custody: bool,
    },
    /// Answers a Ping.
    Pong {
        /// What came before the Ping has been dealt with.
        custody: bool,
    },
    /// The sender will close the connection; answers that are due may still be sent.
    Release {
        /// Where to connect to instead, the first of the addresses.
        alternative: Option<&'a str>,
        /// How many seconds to wait before connecting again.
        hold_off: Option<u32>,
    },
    /// The sender closes the connection at once.
    Abort {
        /// The option of the CSM that it did not understand.
        bad_csm_option: Option<u16>,
        /// Words for people.
        diagnostic: &'a [u8],
    },
    /// A signal that is not known, which is ignored (RFC 8323 §5.2).
    Unknown(Code),
}

/// Why a connection is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// This option of a CSM was not understood.
    BadCsmOption(u16),
    /// These words say why.
    Diagnostic(&'static str),
}

/// A signal that cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignalError {
    /// The message is no signal.
    #[error("not a signal")]
    NotSignal,
    /// A critical option that is not known or has a wrong value (RFC 8323 §5.2).
    #[error("critical option {number} of {code} not understood")]
    BadOption {
        /// The signal.
        code: Code,
        /// The option.
        number: u16,
    },
}

impl<'a> Signal<'a> {
    /// Reads a signal. Elective options that are unknown or have wrong values are ignored.
    pub fn read(message: &Message<'a>) -> Result<Self, SignalError> {
        if !message.code.is_signal() {
            return Err(SignalError::NotSignal);
        }
        // RFC 8323 §5.2: no critical option of any signal is defined yet.
        if let Some((number, _)) = message.options.iter().find(|(number, _)| number.is_critical()) {
            return Err(SignalError::BadOption { code: message.code, number: number.0 });
        }
        let first = |wanted: SignalOption, max_len: usize| {
            message
                .options
                .iter()
                .find(|&(number, value)| number.0 == wanted.0 && value.len() <= max_len)
                .map(|(_, value)| value)
        };
        let uint = |wanted, max_len| first(wanted, max_len).and_then(wire::read_uint);
        Ok(match message.code {
            Code::CSM => Self::Csm {
                max_message_size: uint(SignalOption::MAX_MESSAGE_SIZE, 4).unwrap_or(BASE_MESSAGE_SIZE),
                block_wise: first(SignalOption::BLOCK_WISE_TRANSFER, 0).is_some(),
                token: uint(SignalOption::EXTENDED_TOKEN_LENGTH, 3).unwrap_or(8).max(8),
            },
            Code::PING => Self::Ping { custody: first(SignalOption::CUSTODY, 0).is_some() },
            Code::PONG => Self::Pong { custody: first(SignalOption::CUSTODY, 0).is_some() },
            Code::RELEASE => Self::Release {
                alternative: first(SignalOption::ALTERNATIVE_ADDRESS, 255)
                    .filter(|address| !address.is_empty())
                    .and_then(|address| core::str::from_utf8(address).ok()),
                hold_off: uint(SignalOption::HOLD_OFF, 3),
            },
            Code::ABORT => Self::Abort {
                bad_csm_option: uint(SignalOption::BAD_CSM_OPTION, 2)
                    .and_then(|number| u16::try_from(number).ok()),
                diagnostic: message.payload,
            },
            code => Self::Unknown(code),
        })
    }

    /// The code of the signal.
    pub const fn code(&self) -> Code {
        match self {
            Self::Csm { .. } => Code::CSM,
            Self::Ping { .. } => Code::PING,
            Self::Pong { .. } => Code::PONG,
            Self::Release { .. } => Code::RELEASE,
            Self::Abort { .. } => Code::ABORT,
            Self::Unknown(code) => *code,
        }
    }

    /// Appends the signal as a frame of a TCP or TLS connection. A Pong has the token of its Ping.
    pub fn encode_stream(&self, token: &[u8], out: &mut Vec<u8>) {
        self.write_to(Writer::stream(out, self.code(), token));
    }

    /// Appends the signal as the payload of a WebSocket message.
    pub fn encode_websocket(&self, token: &[u8], out: &mut Vec<u8>) {
        self.write_to(Writer::websocket(out, self.code(), token));
    }

    fn write_to(&self, mut writer: Writer<'_>) {
        match *self {
            Self::Csm { max_message_size, block_wise, token } => {
                writer.uint(SignalOption::MAX_MESSAGE_SIZE.into(), max_message_size);
                if block_wise {
                    writer.option(SignalOption::BLOCK_WISE_TRANSFER.into(), &[]);
                }
                if token > 8 {
                    writer.uint(SignalOption::EXTENDED_TOKEN_LENGTH.into(), token);
                }
            }
            Self::Ping { custody } | Self::Pong { custody } => {
                if custody {
                    writer.option(SignalOption::CUSTODY.into(), &[]);
                }
            }
            Self::Release { alternative, hold_off } => {
                if let Some(address) = alternative {
                    writer.text(SignalOption::ALTERNATIVE_ADDRESS.into(), address);
                }
                if let Some(seconds) = hold_off {
                    writer.uint(SignalOption::HOLD_OFF.into(), seconds);
                }
            }
            Self::Abort { bad_csm_option, diagnostic } => {
                if let Some(number) = bad_csm_option {
                    writer.uint(SignalOption::BAD_CSM_OPTION.into(), number.into());
                }
                writer.payload(diagnostic);
            }
            Self::Unknown(_) => {}
        }
    }
}

impl From<SignalOption> for Number {
    fn from(option: SignalOption) -> Self {
        Self(option.0)
    }
}

impl From<AbortReason> for Signal<'static> {
    fn from(reason: AbortReason) -> Self {
        match reason {
            AbortReason::BadCsmOption(number) => {
                Self::Abort { bad_csm_option: Some(number), diagnostic: &[] }
            }
            AbortReason::Diagnostic(words) => {
                Self::Abort { bad_csm_option: None, diagnostic: words.as_bytes() }
            }
        }
    }
}
