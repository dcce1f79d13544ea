//! What went wrong with a request, and what to do about it.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;
use tercet_broker::access::AccessError;
use tercet_broker::refusal::{Refusal, ReplyCode};

use crate::http::answers::{self, Answer};

/// An error of the API.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// For programs: never changes its meaning.
    code: &'static str,
    /// For people: what went wrong.
    text: String,
    /// For people: what to do.
    hint: String,
    header: Header,
}

/// The header that goes with an error.
#[derive(Clone, Copy, Debug)]
enum Header {
    None,
    /// These methods are known.
    Allow(&'static str),
    /// Who is asking?
    Challenge,
    /// Not before this many seconds.
    RetryAfter(&'static str),
}

impl Header {
    const fn pair(self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::None => None,
            Self::Allow(methods) => Some((ALLOW, methods)),
            Self::Challenge => Some((WWW_AUTHENTICATE, "Basic realm=\"tercet\", charset=\"UTF-8\"")),
            Self::RetryAfter(seconds) => Some((RETRY_AFTER, seconds)),
        }
    }
}

impl Problem {
    /// An error with what to do about it.
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, text: text.into(), hint: hint.into(), header: Header::None }
    }

    /// The request says something that cannot be.
    pub(super) fn bad_request(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", text, hint)
    }

    /// Nothing of that name.
    pub(super) fn not_found(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", text, hint)
    }

    /// The caller may not do that.
    pub(super) fn not_permitted(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access-refused", text, hint)
    }

    /// The path is known, but not with this method.
    pub(super) fn method(allowed: &'static str) -> Self {
        let refused = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this path does not know the method",
            format!("it knows {allowed}"),
        );
        Self { header: Header::Allow(allowed), ..refused }
    }

    /// Who is asking?
    pub(super) fn unauthorized(text: &str, hint: &str) -> Self {
        let refused = Self::new(StatusCode::UNAUTHORIZED, "not-authenticated", text, hint);
        Self { header: Header::Challenge, ..refused }
    }

    /// Not now.
    pub(super) fn later(status: StatusCode, code: &'static str, text: &str, hint: &str) -> Self {
        Self { header: Header::RetryAfter("2"), ..Self::new(status, code, text, hint) }
    }

    /// The answer.
    pub(super) fn into_answer(self) -> Answer {
        let value = json!({ "code": self.code, "text": self.text, "hint": self.hint });
        let mut answer = answers::json(self.status, &value);
        if let Some((name, value)) = self.header.pair() {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code, hint) = match refusal.code {
            ReplyCode::AccessRefused => (
                StatusCode::FORBIDDEN,
                "access-refused",
                "tercet permission set VHOST USER CONFIGURE WRITE READ",
            ),
            ReplyCode::NotAllowed => {
                (StatusCode::FORBIDDEN, "not-allowed", "see the limits of the virtual host")
            }
            ReplyCode::NotFound => (StatusCode::NOT_FOUND, "not-found", "names are case-sensitive"),
            ReplyCode::ResourceLocked => {
                (StatusCode::CONFLICT, "resource-locked", "only the connection that declared it can use it")
            }
            ReplyCode::PreconditionFailed => {
                (StatusCode::CONFLICT, "precondition-failed", "compare with what exists")
            }
            ReplyCode::NotImplemented => {
                (StatusCode::NOT_IMPLEMENTED, "not-implemented", "see the documentation")
            }
            ReplyCode::InternalError | ReplyCode::ResourceError => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "see the log of the server")
            }
            _ => (StatusCode::BAD_REQUEST, "bad-request", "see the documentation"),
        };
        Self::new(status, code, refusal.text, hint)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let text = error.to_string();
        match error {
            AccessError::NoSuchUser(_) => Self::not_found(text, "tercet user list"),
            AccessError::NoSuchPermission { .. } => Self::not_found(text, "tercet permission list"),
            AccessError::BadUserName => Self::bad_request(text, "choose another name"),
            AccessError::InPasswordFile(user) => Self::new(
                StatusCode::CONFLICT,
                "in-password-file",
                text,
                format!("tercet passwd FILE {user}, then reload the configuration"),
            ),
            AccessError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text, "use fewer or shorter patterns")
            }
        }
    }
}
