//! What answers look like.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// An answer with its whole body.
pub type Answer = Response<Full<Bytes>>;

/// An answer with a body of the given type, not to be kept by caches.
pub fn body(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Nobody is to take an error with a stranger's words in it for a page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &Value) -> Answer {
    body(status, "application/json", value.to_string())
}

/// An error with what to do about it.
pub fn error(status: StatusCode, error: &str, hint: &str) -> Answer {
    json(status, &json!({ "error": error, "hint": hint }))
}
