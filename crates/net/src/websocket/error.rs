//! How a WebSocket peer breaks the rules, and the close code that tells it so.

use std::fmt;

/// A close code (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: this end is going away, such as a server shutting down.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that is not accepted (text).
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that is not what it claims to be.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: against policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: too large.
    pub const TOO_BIG: Self = Self(1009);

    /// A code that may stand in a close frame: 1000-1003, 1007-1014 and 3000-4999.
    #[must_use]
    pub fn from_wire(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number on the wire.
    #[must_use]
    pub fn value(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The peer broke RFC 6455, or sent what is not accepted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set though no extension was negotiated (§5.2).
    #[error("reserved bits set in a WebSocket frame")]
    ReservedBits,
    /// An opcode without a meaning (§5.2).
    #[error("unknown WebSocket opcode 0x{0:X}")]
    UnknownOpcode(u8),
    /// A client sent an unmasked frame (§5.1).
    #[error("unmasked WebSocket frame from a client")]
    Unmasked,
    /// A server sent a masked frame (§5.1).
    #[error("masked WebSocket frame from a server")]
    Masked,
    /// A control frame without the FIN bit (§5.5).
    #[error("fragmented WebSocket control frame")]
    FragmentedControl,
    /// A control frame with more than 125 bytes (§5.5).
    #[error("WebSocket control frame longer than 125 bytes")]
    ControlTooLong,
    /// A length not in its shortest form, or with the top bit set (§5.2).
    #[error("malformed WebSocket frame length")]
    MalformedLength,
    /// A data frame longer than the limit.
    #[error("WebSocket frame of {length} bytes is over the limit of {limit}")]
    FrameTooLong {
        /// The length announced.
        length: u64,
        /// The limit in force.
        limit: u64,
    },
    /// A continuation frame with nothing to continue (§5.4).
    #[error("WebSocket continuation frame without a message")]
    UnexpectedContinuation,
    /// A new message inside an unfinished one (§5.4).
    #[error("new WebSocket message inside an unfinished one")]
    InterleavedMessage,
    /// A text message; only binary ones are accepted ([MQTT-6.0.0-1]).
    #[error("WebSocket text message, only binary ones are accepted")]
    TextMessage,
    /// A close frame with a body of one byte or a code that must not be sent (§5.5.1, §7.4).
    #[error("malformed WebSocket close frame")]
    MalformedClose,
    /// The reason in a close frame is not UTF-8 (§5.5.1).
    #[error("WebSocket close reason is not UTF-8")]
    CloseReasonNotUtf8,
}

impl ProtocolError {
    /// The code to close the connection with.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::TextMessage => CloseCode::UNSUPPORTED_DATA,
            Self::FrameTooLong { .. } => CloseCode::TOO_BIG,
            Self::CloseReasonNotUtf8 => CloseCode::INVALID_DATA,
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::MalformedLength
            | Self::UnexpectedContinuation
            | Self::InterleavedMessage
            | Self::MalformedClose => CloseCode::PROTOCOL_ERROR,
        }
    }
}
