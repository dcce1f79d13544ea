//! What a client is answered.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tercet_broker::message::Message;
use tercet_coap::{Code, ContentFormat, Number};

/// A response before it is cut into blocks. One without `Location-*` and other options takes no memory of its own.
#[derive(Clone, Debug)]
pub struct Response {
    /// The code.
    pub code: Code,
    /// What the body is written in; `None` leaves it open.
    pub content_format: Option<ContentFormat>,
    /// Which of all representations the body is.
    pub etag: Option<[u8; 8]>,
    /// Seconds for which it may be reused; `None` means 60 (RFC 7252 §5.10.5).
    pub max_age: Option<u32>,
    /// Segments of the path of what was created.
    pub location: Vec<String>,
    /// Further options, in any order.
    pub options: SmallVec<[(Number, Bytes); 0]>,
    /// The body.
    pub body: Body,
}

/// The body of a response.
#[derive(Clone, Debug)]
pub enum Body {
    /// None.
    Empty,
    /// Text for people.
    Text(Cow<'static, str>),
    /// Bytes.
    Bytes(Bytes),
    /// The payload of a message.
    Message(Arc<Message>),
}

impl Response {
    /// A response without options and body.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            content_format: None,
            etag: None,
            max_age: None,
            location: Vec::new(),
            options: SmallVec::new(),
            body: Body::Empty,
        }
    }

    /// An error with its reason as diagnostic payload (RFC 7252 §5.5.2).
    #[must_use]
    pub fn diagnostic(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { body: Body::Text(reason.into()), ..Self::new(code) }
    }

    /// A body with its format.
    #[must_use]
    pub fn content(format: ContentFormat, body: impl Into<Bytes>) -> Self {
        Self { content_format: Some(format), body: Body::Bytes(body.into()), ..Self::new(Code::CONTENT) }
    }

    /// The same with a lifetime in seconds.
    #[must_use]
    pub fn fresh_for(self, seconds: u32) -> Self {
        Self { max_age: Some(seconds), ..self }
    }

    /// The same with one more option.
    #[must_use]
    pub fn with(mut self, number: Number, value: impl Into<Bytes>) -> Self {
        self.options.push((number, value.into()));
        self
    }
}

impl Body {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Message(message) => &message.payload,
        }
    }
}
