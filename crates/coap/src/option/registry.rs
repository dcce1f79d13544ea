//! The registry of options: format, length and repetition (RFC 7252 §5.10 and the documents that add to it).

use super::number::Number;

/// How the value of an option is to be read (RFC 7252 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// No bytes.
    Empty,
    /// Any bytes.
    Opaque,
    /// An unsigned integer in network order, leading zeros left out.
    Uint,
    /// UTF-8.
    String,
}

/// What is known about an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its number.
    pub number: Number,
    /// Its name in the registry.
    pub name: &'static str,
    /// How its value is read.
    pub format: Format,
    /// Least length of its value in bytes.
    pub min: u16,
    /// Greatest length of its value in bytes.
    pub max: u16,
    /// It may occur more than once in a message.
    pub repeatable: bool,
}

impl Definition {
    /// The value has a length that the option allows; any other makes the option one that is not recognised
    /// (RFC 7252 §5.4.3).
    #[inline]
    pub const fn allows_len(&self, len: usize) -> bool {
        self.min as usize <= len && len <= self.max as usize
    }
}

macro_rules! options {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal, $format:ident $min:literal..=$max:literal $(, $repeat:ident)?;)*) => {
        impl Number {
            $($(#[$doc])* pub const $constant: Self = Self($number);)*
        }

        #[inline]
        pub(super) fn lookup(number: Number) -> Option<&'static Definition> {
            match number.0 {
                $($number => {
                    const DEFINITION: &Definition = &Definition {
                        number: Number($number),
                        name: $name,
                        format: Format::$format,
                        min: $min,
                        max: $max,
                        repeatable: options!(@repeat $($repeat)?),
                    };
                    Some(DEFINITION)
                })*
                _ => None,
            }
        }
    };
    (@repeat) => { false };
    (@repeat repeatable) => { true };
}

options! {
    /// Do it only if the representation is one of these, or, when empty, exists.
    IF_MATCH = 1, "If-Match", Opaque 0..=8, repeatable;
    /// The host of the URI.
    URI_HOST = 3, "Uri-Host", String 1..=255;
    /// Names a version of a representation.
    ETAG = 4, "ETag", Opaque 1..=8, repeatable;
    /// Do it only if the resource does not exist.
    IF_NONE_MATCH = 5, "If-None-Match", Empty 0..=0;
    /// Asks for notifications, or is the number of one (RFC 7641).
    OBSERVE = 6, "Observe", Uint 0..=3;
    /// The port of the URI.
    URI_PORT = 7, "Uri-Port", Uint 0..=2;
    /// A segment of the path of what was created.
    LOCATION_PATH = 8, "Location-Path", String 0..=255, repeatable;
    /// The message is protected end to end (RFC 8613).
    OSCORE = 9, "OSCORE", Opaque 0..=255;
    /// A segment of the path of the URI.
    URI_PATH = 11, "Uri-Path", String 0..=255, repeatable;
    /// The format of the payload.
    CONTENT_FORMAT = 12, "Content-Format", Uint 0..=2;
    /// How long a response may be used, in seconds; 60 when absent.
    MAX_AGE = 14, "Max-Age", Uint 0..=4;
    /// An argument of the URI's query.
    URI_QUERY = 15, "Uri-Query", String 0..=255, repeatable;
    /// How many proxies the request may still pass (RFC 8768).
    HOP_LIMIT = 16, "Hop-Limit", Uint 1..=1;
    /// The format in which the answer is wanted.
    ACCEPT = 17, "Accept", Uint 0..=2;
    /// A block of the request's body, sent without waiting for each answer (RFC 9177).
    Q_BLOCK1 = 19, "Q-Block1", Uint 0..=3;
    /// An argument of the query of what was created.
    LOCATION_QUERY = 20, "Location-Query", String 0..=255, repeatable;
    /// The payload begins with an EDHOC message (RFC 9668).
    EDHOC = 21, "EDHOC", Empty 0..=0;
    /// A block of the response's body (RFC 7959).
    BLOCK2 = 23, "Block2", Uint 0..=3;
    /// A block of the request's body (RFC 7959).
    BLOCK1 = 27, "Block1", Uint 0..=3;
    /// The size of the response's body in bytes.
    SIZE2 = 28, "Size2", Uint 0..=4;
    /// A block of the response's body, sent without waiting (RFC 9177).
    Q_BLOCK2 = 31, "Q-Block2", Uint 0..=3, repeatable;
    /// The URI that a proxy is to ask for.
    PROXY_URI = 35, "Proxy-Uri", String 1..=1034;
    /// The scheme of the URI that a proxy is to ask for; the other parts are in the Uri options.
    PROXY_SCHEME = 39, "Proxy-Scheme", String 1..=255;
    /// The size of the request's body in bytes.
    SIZE1 = 60, "Size1", Uint 0..=4;
    /// Shows that the request is fresh and its sender reachable (RFC 9175 §2).
    ECHO = 252, "Echo", Opaque 1..=40;
    /// Which classes of responses are not wanted (RFC 7967).
    NO_RESPONSE = 258, "No-Response", Uint 0..=1;
    /// Tells bodies of one client apart (RFC 9175 §3).
    REQUEST_TAG = 292, "Request-Tag", Opaque 0..=8, repeatable;
}
