//! Codes of messages: methods, response codes and signals (RFC 7252 §12.1, RFC 8323 §5).

use core::fmt;

/// The code of a message: three bits of class and five of detail, written `c.dd`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

/// What a code is for, by its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// 0.00.
    Empty,
    /// 0.01 to 0.31.
    Request,
    /// 2.00 to 5.31.
    Response,
    /// 7.00 to 7.31, on reliable transports only.
    Signal,
    /// Classes 1 and 6: no message may have them.
    Reserved,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $class:literal . $detail:literal, $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self::from_parts($class, $detail);)*

            /// The name that the registry gives the code, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// An Empty message.
    EMPTY = 0 . 0, "Empty";
    /// Reads a representation.
    GET = 0 . 1, "GET";
    /// Lets the resource process the payload.
    POST = 0 . 2, "POST";
    /// Creates or replaces the resource.
    PUT = 0 . 3, "PUT";
    /// Removes the resource.
    DELETE = 0 . 4, "DELETE";
    /// Reads what the payload asks for (RFC 8132 §2).
    FETCH = 0 . 5, "FETCH";
    /// Changes a part of the resource (RFC 8132 §3).
    PATCH = 0 . 6, "PATCH";
    /// As PATCH, and doing it twice is doing it once.
    IPATCH = 0 . 7, "iPATCH";
    /// The resource exists now.
    CREATED = 2 . 1, "Created";
    /// The resource exists no more.
    DELETED = 2 . 2, "Deleted";
    /// What the client has under this ETag is current.
    VALID = 2 . 3, "Valid";
    /// The resource was changed, or the request processed.
    CHANGED = 2 . 4, "Changed";
    /// The payload is the representation.
    CONTENT = 2 . 5, "Content";
    /// This block was taken; send the next (RFC 7959 §2.9.1).
    CONTINUE = 2 . 31, "Continue";
    /// The request is wrong.
    BAD_REQUEST = 4 . 0, "Bad Request";
    /// Who asks must show who it is first.
    UNAUTHORIZED = 4 . 1, "Unauthorized";
    /// A critical option was not understood.
    BAD_OPTION = 4 . 2, "Bad Option";
    /// Who asks may not do that.
    FORBIDDEN = 4 . 3, "Forbidden";
    /// There is no such resource.
    NOT_FOUND = 4 . 4, "Not Found";
    /// The resource does not have this method.
    METHOD_NOT_ALLOWED = 4 . 5, "Method Not Allowed";
    /// There is no representation in an accepted format.
    NOT_ACCEPTABLE = 4 . 6, "Not Acceptable";
    /// Blocks are missing (RFC 7959 §2.9.2).
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "Request Entity Incomplete";
    /// The state of the resource forbids the change (RFC 8132 §3.4).
    CONFLICT = 4 . 9, "Conflict";
    /// A condition of the request does not hold.
    PRECONDITION_FAILED = 4 . 12, "Precondition Failed";
    /// The body is larger than what is taken.
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "Request Entity Too Large";
    /// The body is in a format that is not taken.
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "Unsupported Content-Format";
    /// The body is well-formed but asks for the impossible (RFC 8132 §3.4).
    UNPROCESSABLE_ENTITY = 4 . 22, "Unprocessable Entity";
    /// The client asks too often; Max-Age says when to ask again (RFC 8516).
    TOO_MANY_REQUESTS = 4 . 29, "Too Many Requests";
    /// The server failed.
    INTERNAL_SERVER_ERROR = 5 . 0, "Internal Server Error";
    /// The server lacks what the request needs.
    NOT_IMPLEMENTED = 5 . 1, "Not Implemented";
    /// The server behind the proxy answered nonsense.
    BAD_GATEWAY = 5 . 2, "Bad Gateway";
    /// The server cannot answer now; Max-Age says when to ask again.
    SERVICE_UNAVAILABLE = 5 . 3, "Service Unavailable";
    /// The server behind the proxy did not answer in time.
    GATEWAY_TIMEOUT = 5 . 4, "Gateway Timeout";
    /// The server is no proxy for the URI.
    PROXYING_NOT_SUPPORTED = 5 . 5, "Proxying Not Supported";
    /// The request went through too many proxies (RFC 8768 §4).
    HOP_LIMIT_REACHED = 5 . 8, "Hop Limit Reached";
    /// Capabilities and settings (RFC 8323 §5.3).
    CSM = 7 . 1, "CSM";
    /// Asks for a Pong (RFC 8323 §5.4).
    PING = 7 . 2, "Ping";
    /// Answers a Ping.
    PONG = 7 . 3, "Pong";
    /// Asks for an orderly end (RFC 8323 §5.5).
    RELEASE = 7 . 4, "Release";
    /// Ends the connection at once (RFC 8323 §5.6).
    ABORT = 7 . 5, "Abort";
}

impl Code {
    /// The code `class.detail`. Bits beyond three and five are cut off.
    pub const fn from_parts(class: u8, detail: u8) -> Self {
        Self(class << 5 | (detail & 0x1F))
    }

    /// The class, 0 to 7.
    #[inline]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail, 0 to 31.
    #[inline]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1F
    }

    /// What the code is for.
    #[inline]
    pub const fn kind(self) -> CodeKind {
        match (self.class(), self.detail()) {
            (0, 0) => CodeKind::Empty,
            (0, _) => CodeKind::Request,
            (2..=5, _) => CodeKind::Response,
            (7, _) => CodeKind::Signal,
            _ => CodeKind::Reserved,
        }
    }

    /// The code is 0.00.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The code is a method, known or not.
    #[inline]
    pub const fn is_request(self) -> bool {
        matches!(self.kind(), CodeKind::Request)
    }

    /// The code is a response code, known or not.
    #[inline]
    pub const fn is_response(self) -> bool {
        matches!(self.kind(), CodeKind::Response)
    }

    /// The code is a response code of class 2.
    #[inline]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// The code is a signal of RFC 8323.
    #[inline]
    pub const fn is_signal(self) -> bool {
        self.class() == 7
    }

    /// A response code as a client has to take it that does not know it: as x.00 of its class (RFC 7252 §5.9). Codes
    /// of the registry and codes that are no response stay as they are.
    pub const fn generic(self) -> Self {
        if self.is_response() && self.name().is_none() { Self::from_parts(self.class(), 0) } else { self }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{self} {name}"),
            None => write!(f, "{self}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn parts_and_text() {
        assert_eq!(Code::NOT_FOUND, Code(0x84));
        assert_eq!(format!("{} {:?} {:?}", Code::NOT_FOUND, Code::GET, Code(0xFF)), "4.04 0.01 GET 7.31");
        assert_eq!((Code::CONTINUE.class(), Code::CONTINUE.detail()), (2, 31));
    }

    #[test]
    fn every_byte_has_its_kind() {
        for byte in 0..=255 {
            let expected = match byte {
                0 => CodeKind::Empty,
                0x01..=0x1F => CodeKind::Request,
                0x40..=0xBF => CodeKind::Response,
                0xE0..=0xFF => CodeKind::Signal,
                _ => CodeKind::Reserved,
            };
            assert_eq!(Code(byte).kind(), expected, "{}", Code(byte));
        }
    }

    #[test]
    fn unknown_responses_are_taken_as_their_class() {
        assert_eq!(Code::from_parts(4, 30).generic(), Code::BAD_REQUEST);
        assert_eq!(Code::from_parts(2, 17).generic(), Code::from_parts(2, 0));
        assert_eq!(Code::NOT_FOUND.generic(), Code::NOT_FOUND);
        assert_eq!(Code(0x1F).generic(), Code(0x1F));
    }
}
