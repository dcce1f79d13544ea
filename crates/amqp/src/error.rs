//! Why bytes are not a frame, why a frame is wrong here, and why a value has no bytes.

use crate::frame::FrameType;
use crate::method::MethodId;
use crate::reply_code::ReplyCode;

/// Something the peer must not send, with the answer to it.
///
/// After an error that [`ends_connection`](Self::ends_connection) the stream is not to be read further but for a
/// connection.close or connection.close-ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {kind}", .code.name())]
pub struct Error {
    /// The rule that was violated.
    pub kind: ErrorKind,
    /// The reply code to answer with.
    pub code: ReplyCode,
    /// The channel that it happened on; 0 for the connection.
    pub channel: u16,
    /// The method that failed, for the answer's class and method id; `None` stands for 0 and 0.
    pub method: Option<MethodId>,
}

impl Error {
    #[cold]
    pub(crate) fn new(kind: ErrorKind, channel: u16, method: Option<MethodId>) -> Self {
        Self { kind, code: kind.code(), channel, method }
    }

    /// The connection is to be closed, not only the channel. On channel 0 every error is one of the connection.
    pub const fn ends_connection(&self) -> bool {
        self.channel == 0 || !matches!(self.code.scope(), crate::reply_code::Scope::Channel)
    }

    /// The reply text: the code's name and the explanation, at most 255 bytes.
    pub fn text(&self) -> String {
        self.code.text(self.kind)
    }

    /// The connection.close that answers, with `text` from [`text`](Self::text).
    pub fn connection_close<'a>(&self, text: &'a str) -> crate::method::connection::Close<'a> {
        let MethodId { class, method } = self.method.unwrap_or(MethodId { class: 0, method: 0 });
        crate::method::connection::Close {
            reply_code: self.code.number(),
            reply_text: text,
            class_id: class,
            method_id: method,
        }
    }

    /// The channel.close that answers, with `text` from [`text`](Self::text).
    pub fn channel_close<'a>(&self, text: &'a str) -> crate::method::channel::Close<'a> {
        let close = self.connection_close(text);
        crate::method::channel::Close {
            reply_code: close.reply_code,
            reply_text: close.reply_text,
            class_id: close.class_id,
            method_id: close.method_id,
        }
    }
}

/// The rule that was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The first byte of a frame names no type.
    #[error("unknown frame type {0}")]
    FrameType(u8),
    /// The frame is larger than negotiated.
    #[error("frame payload of {size} bytes, at most {limit} are accepted")]
    FrameTooLarge {
        /// Size of the payload in bytes.
        size: u32,
        /// Greatest payload accepted.
        limit: u32,
    },
    /// The frame does not end with 0xCE.
    #[error("frame ends with octet {0}, expected 206")]
    FrameEnd(u8),
    /// A heartbeat with a payload.
    #[error("heartbeat frame with a payload of {0} bytes")]
    HeartbeatPayload(u32),
    /// A heartbeat on a channel other than 0.
    #[error("heartbeat frame on a channel other than 0")]
    HeartbeatChannel,
    /// Content on channel 0.
    #[error("{0} frame on channel 0")]
    ContentOnChannelZero(FrameType),
    /// A field reaches beyond the end of its frame or table.
    #[error("a field reaches beyond its end")]
    Truncated,
    /// Bytes follow the last field.
    #[error("bytes follow the last field")]
    TrailingBytes,
    /// A short string is not well-formed UTF-8.
    #[error("Malformed UTF-8 in shortstr")]
    InvalidUtf8,
    /// A field's type is none of AMQP's or RabbitMQ's.
    #[error("unknown field type {0}")]
    FieldType(u8),
    /// Tables or arrays are nested more deeply than accepted.
    #[error("tables or arrays are nested too deeply")]
    TooDeep,
    /// Property flags that no class defines.
    #[error("undefined property flags {0:#06x}")]
    PropertyFlags(u16),
    /// No class or method has this number.
    #[error("unknown method")]
    UnknownMethod,
    /// A content header of another class than the method before it.
    #[error("expected content header for class {expected}, got one for class {found} instead")]
    HeaderClass {
        /// The class of the method.
        expected: u16,
        /// The class in the header.
        found: u16,
    },
    /// A content header with a weight other than 0.
    #[error("content header with weight {0}")]
    HeaderWeight(u16),
    /// A frame other than a content header after a method with content.
    #[error("expected content header for class 60, got non content header frame instead")]
    ExpectedHeader(FrameType),
    /// A frame other than a body before the content is complete.
    #[error("expected content body, got non content body frame instead")]
    ExpectedBody(FrameType),
    /// A header or body without a method before it.
    #[error("expected method frame, got non method frame instead")]
    ExpectedMethod(FrameType),
    /// More body than the header announced.
    #[error("content body exceeds the announced size of {announced} bytes by {excess}")]
    BodyTooLong {
        /// Size that the header announced.
        announced: u64,
        /// Bytes beyond it in this frame.
        excess: u64,
    },
    /// The header announces more than accepted.
    #[error("content body of {size} bytes, at most {limit} are accepted")]
    BodyTooLarge {
        /// Size announced.
        size: u64,
        /// Greatest size accepted.
        limit: u64,
    },
    /// A method on a channel that is not open.
    #[error("expected 'channel.open'")]
    ChannelNotOpen,
    /// A second channel.open.
    #[error("second 'channel.open' seen")]
    ChannelOpen,
    /// The number of the channel is above the negotiated maximum.
    #[error("channel number is above the negotiated maximum of {0}")]
    ChannelMax(u16),
    /// A frame on a channel before connection.open-ok.
    #[error("{0} frame before the connection is open")]
    ConnectionNotOpen(FrameType),
    /// A method that this side does not take, not now or not on this channel.
    #[error("unimplemented method")]
    MethodNotAllowed(MethodId),
    /// A method that does not belong on channel 0, or not while the connection is in this state.
    #[error("unexpected method in connection state {0}")]
    UnexpectedMethod(&'static str),
    /// An answer that nobody asked for.
    #[error("unexpected answer {0}")]
    UnexpectedAnswer(MethodId),
    /// The peer's parameters of connection.tune-ok are outside what was offered.
    #[error("negotiated {what} = {value}{} is {} than the {} allowed value ({limit})",
        if *.value == 0 && *.what == "channel_max" { " (no limit)" } else { "" },
        if *.above { "higher" } else { "lower" },
        if *.above { "maximum" } else { "minimum" })]
    Tuning {
        /// The parameter, `channel_max` or `frame_max`.
        what: &'static str,
        /// Its value.
        value: u32,
        /// The bound that it breaks.
        limit: u32,
        /// It is above the bound, not below it.
        above: bool,
    },
    /// A delivery tag that is not outstanding.
    #[error("unknown delivery tag {0}")]
    DeliveryTag(u64),
}

impl ErrorKind {
    /// The reply code to answer with.
    ///
    /// What cannot be decoded is a frame error (501), what can and has an illegal value a syntax error (502). Unknown
    /// methods are functionality that is not implemented (540); known ones in the wrong place are invalid (503).
    pub const fn code(self) -> ReplyCode {
        use ReplyCode as R;
        match self {
            Self::FrameType(_)
            | Self::FrameTooLarge { .. }
            | Self::FrameEnd(_)
            | Self::HeartbeatPayload(_)
            | Self::Truncated
            | Self::TrailingBytes
            | Self::InvalidUtf8
            | Self::BodyTooLong { .. }
            | Self::BodyTooLarge { .. } => R::FrameError,
            Self::FieldType(_) | Self::TooDeep | Self::PropertyFlags(_) => R::SyntaxError,
            Self::MethodNotAllowed(_) | Self::UnexpectedAnswer(_) => R::CommandInvalid,
            Self::ChannelNotOpen | Self::ChannelOpen | Self::UnexpectedMethod(_) => R::ChannelError,
            Self::HeartbeatChannel
            | Self::ConnectionNotOpen(_)
            | Self::ContentOnChannelZero(_)
            | Self::HeaderClass { .. }
            | Self::HeaderWeight(_)
            | Self::ExpectedHeader(_)
            | Self::ExpectedBody(_)
            | Self::ExpectedMethod(_) => R::UnexpectedFrame,
            Self::ChannelMax(_) | Self::Tuning { .. } => R::NotAllowed,
            Self::UnknownMethod => R::NotImplemented,
            Self::DeliveryTag(_) => R::PreconditionFailed,
        }
    }
}

/// A value that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A short string or the key of a field is longer than 255 bytes.
    #[error("a short string is longer than 255 bytes")]
    ShortStringTooLong,
    /// A long string, table or frame is longer than its 32-bit length can say.
    #[error("a field or frame is longer than 4 GiB")]
    TooLong,
    /// A frame is larger than negotiated.
    #[error("a frame is larger than the negotiated maximum")]
    FrameTooLarge,
    /// A property has a value of another type.
    #[error("the property has another type")]
    PropertyType,
    /// The properties to rewrite are malformed.
    #[error("the properties are malformed")]
    Malformed,
}
