//! Reply codes: why a message came back, a channel or a connection was closed.

use core::fmt;

/// How far the trouble that a [`ReplyCode`] reports reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One message: the code stands in a basic.return, or reports success.
    Message,
    /// The channel is closed, the connection goes on.
    Channel,
    /// The connection is closed.
    Connection,
}

macro_rules! reply_codes {
    ($( $(#[$meta:meta])* $name:ident = $code:literal, $text:literal, $scope:ident; )*) => {
        /// A reply code of AMQP 0-9-1 (§1.2, constants).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ReplyCode {
            $( $(#[$meta])* $name = $code, )*
        }

        impl ReplyCode {
            /// The code with this number, if AMQP 0-9-1 defines it.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $( $code => Some(Self::$name), )*
                    _ => None,
                }
            }

            /// The name as it begins a reply text, such as `FRAME_ERROR`.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$name => $text, )*
                }
            }

            /// How far the trouble reaches. On channel 0 every error is one of the connection.
            pub const fn scope(self) -> Scope {
                match self {
                    $( Self::$name => Scope::$scope, )*
                }
            }
        }
    };
}

reply_codes! {
    /// An orderly end.
    Success = 200, "REPLY_SUCCESS", Message;
    /// Content too large for this channel now.
    ContentTooLarge = 311, "CONTENT_TOO_LARGE", Channel;
    /// A mandatory message has no queue.
    NoRoute = 312, "NO_ROUTE", Message;
    /// An immediate message has no consumer.
    NoConsumers = 313, "NO_CONSUMERS", Message;
    /// An operator or the server's end closed the connection.
    ConnectionForced = 320, "CONNECTION_FORCED", Connection;
    /// The virtual host is unknown (of older peers).
    InvalidPath = 402, "INVALID_PATH", Connection;
    /// A permission is missing.
    AccessRefused = 403, "ACCESS_REFUSED", Channel;
    /// A queue or exchange does not exist.
    NotFound = 404, "NOT_FOUND", Channel;
    /// The queue is exclusive to another connection.
    ResourceLocked = 405, "RESOURCE_LOCKED", Channel;
    /// Arguments, state or tag do not allow it.
    PreconditionFailed = 406, "PRECONDITION_FAILED", Channel;
    /// A frame cannot be decoded.
    FrameError = 501, "FRAME_ERROR", Connection;
    /// A field has an illegal value.
    SyntaxError = 502, "SYNTAX_ERROR", Connection;
    /// A method that is not allowed in this state.
    CommandInvalid = 503, "COMMAND_INVALID", Connection;
    /// The channel is not open, or open already.
    ChannelError = 504, "CHANNEL_ERROR", Connection;
    /// A frame that was not to be expected at this point.
    UnexpectedFrame = 505, "UNEXPECTED_FRAME", Connection;
    /// The server lacks a resource.
    ResourceError = 506, "RESOURCE_ERROR", Connection;
    /// Forbidden whatever the permissions, or a limit.
    NotAllowed = 530, "NOT_ALLOWED", Connection;
    /// The peer does not implement it.
    NotImplemented = 540, "NOT_IMPLEMENTED", Connection;
    /// The server failed.
    InternalError = 541, "INTERNAL_ERROR", Connection;
}

impl ReplyCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// A reply text as RabbitMQ writes it, `NAME - explanation`, cut to the 255 bytes of a short string at a
    /// character boundary.
    pub fn text(self, explanation: impl fmt::Display) -> String {
        let mut text = format!("{} - {explanation}", self.name());
        text.truncate(text.floor_char_boundary(usize::from(u8::MAX)));
        text
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back() {
        let known = (0..=u16::MAX).filter_map(|n| ReplyCode::from_number(n).map(|code| (n, code)));
        assert_eq!(known.map(|(n, code)| assert_eq!(code.number(), n)).count(), 19);
    }

    #[test]
    fn scopes_are_those_of_the_specification() {
        for (number, scope) in [
            (312, Scope::Message),
            (403, Scope::Channel),
            (406, Scope::Channel),
            (320, Scope::Connection),
            (402, Scope::Connection),
            (530, Scope::Connection),
        ] {
            assert_eq!(ReplyCode::from_number(number).map(ReplyCode::scope), Some(scope), "{number}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(ReplyCode::NotFound.text("no queue 'q'"), "NOT_FOUND - no queue 'q'");
        let text = ReplyCode::NotFound.text("é".repeat(200));
        assert!(text.len() <= 255 && text.len() >= 254 && text.ends_with('é'), "{}", text.len());
    }
}
