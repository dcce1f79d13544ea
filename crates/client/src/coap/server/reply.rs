//! What handlers answer.

use bytes::Bytes;
use tercet_coap::Code;
use tercet_coap::content_format::ContentFormat;
use tercet_coap::option::Number;

/// An answer being put together. Without a code it is 2.05 to GET and FETCH, 2.02 to DELETE and 2.04 to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub(super) code: Option<Code>,
    pub(super) content_format: Option<ContentFormat>,
    pub(super) payload: Bytes,
    pub(super) max_age: Option<u32>,
    pub(super) etag: Option<Bytes>,
    /// Options beside those above, in the order given.
    pub(super) options: Vec<(Number, Bytes)>,
}

impl Reply {
    /// An empty answer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An error with a diagnostic payload for people (RFC 7252 §5.5.2).
    #[must_use]
    pub fn error(code: Code, diagnostic: impl Into<String>) -> Self {
        Self::new().code(code).payload(diagnostic.into())
    }

    /// The response code.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// The format of the payload.
    #[must_use]
    pub fn content_format(mut self, format: ContentFormat) -> Self {
        self.content_format = Some(format);
        self
    }

    /// The payload, of any length: it is sent in blocks where needed.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// How long the answer may be cached, in seconds; 60 if not set.
    #[must_use]
    pub fn max_age(mut self, seconds: u32) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// The entity tag, 1 to 8 bytes; one is made from the payload if none is given.
    #[must_use]
    pub fn etag(mut self, tag: impl Into<Bytes>) -> Self {
        self.etag = Some(tag.into());
        self
    }

    /// Where a created resource is: a path such as `/things/7`.
    #[must_use]
    pub fn location(self, path: &str) -> Self {
        path.trim_start_matches('/')
            .split('/')
            .fold(self, |reply, segment| reply.option(Number::LOCATION_PATH, segment.to_owned()))
    }

    /// Any other option.
    #[must_use]
    pub fn option(mut self, number: Number, value: impl Into<Bytes>) -> Self {
        self.options.push((number, value.into()));
        self
    }
}

/// What can be given by a handler.
pub trait IntoReply {
    /// The answer that it means.
    fn into_reply(self) -> Reply;
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Reply::new()
    }
}

impl IntoReply for Code {
    fn into_reply(self) -> Reply {
        Reply::new().code(self)
    }
}

/// Text in UTF-8, content format 0.
impl IntoReply for String {
    fn into_reply(self) -> Reply {
        Reply::new().content_format(ContentFormat::TEXT).payload(self)
    }
}

/// Text in UTF-8, content format 0.
impl IntoReply for &'static str {
    fn into_reply(self) -> Reply {
        Reply::new().content_format(ContentFormat::TEXT).payload(self)
    }
}

/// Bytes, content format 42.
impl IntoReply for Bytes {
    fn into_reply(self) -> Reply {
        Reply::new().content_format(ContentFormat::OCTET_STREAM).payload(self)
    }
}

/// Bytes, content format 42.
impl IntoReply for Vec<u8> {
    fn into_reply(self) -> Reply {
        Bytes::from(self).into_reply()
    }
}

/// A payload of this format.
impl<T: Into<Bytes>> IntoReply for (ContentFormat, T) {
    fn into_reply(self) -> Reply {
        Reply::new().content_format(self.0).payload(self.1)
    }
}

/// An answer with this code. To an error, text is a diagnostic and has no content format.
impl<T: IntoReply> IntoReply for (Code, T) {
    fn into_reply(self) -> Reply {
        let mut reply = self.1.into_reply().code(self.0);
        if self.0.class() >= 4 && reply.content_format == Some(ContentFormat::TEXT) {
            reply.content_format = None;
        }
        reply
    }
}

/// Nothing is 4.04.
impl<T: IntoReply> IntoReply for Option<T> {
    fn into_reply(self) -> Reply {
        self.map_or_else(|| Code::NOT_FOUND.into_reply(), T::into_reply)
    }
}

impl<T: IntoReply, E: IntoReply> IntoReply for Result<T, E> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(reply) => reply.into_reply(),
            Err(reply) => reply.into_reply(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_handlers_become_answers() {
        let missing: Option<&str> = None;
        assert_eq!(missing.into_reply().code, Some(Code::NOT_FOUND));
        let refused: Result<(), (Code, &str)> = Err((Code::FORBIDDEN, "not you"));
        let refused = refused.into_reply();
        assert_eq!((refused.code, refused.content_format), (Some(Code::FORBIDDEN), None));
        assert_eq!(refused.payload, "not you");
        let json = (ContentFormat::JSON, "{}").into_reply();
        assert_eq!((json.code, json.content_format), (None, Some(ContentFormat::JSON)));
        let created = Reply::new().code(Code::CREATED).location("/things/7");
        let path: Vec<_> = created.options.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(path, ["things", "7"]);
    }
}
