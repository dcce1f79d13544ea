//! What a request says: one JSON object, of bounded size.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::problem::Problem;

/// Most bytes of a body.
const MAX_BYTES: usize = 256 * 1024;
/// Time that a client has to send a body.
const PATIENCE: Duration = Duration::from_secs(10);

/// The members of the object; none when nothing was sent. Not to be shown: there are passwords among them.
#[derive(Default)]
pub(super) struct Body {
    members: Map<String, Value>,
}

impl Body {
    /// Nothing was sent, or it means nothing.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Reads a body, no more of it than may be.
    pub(super) async fn read(headers: &HeaderMap, body: Incoming) -> Result<Self, Problem> {
        let too_large = || {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                format!("the body has more than {MAX_BYTES} bytes"),
                "send less at a time",
            )
        };
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > MAX_BYTES as u64) {
            return Err(too_large());
        }
        let collected = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BYTES).collect()).await;
        let bytes = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
            Ok(Err(_)) => return Err(Problem::bad_request("the body ended too early", "send all of it")),
            Err(_) => {
                return Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the body took too long",
                    "send it at once",
                ));
            }
        };
        if bytes.is_empty() {
            return Ok(Self::none());
        }
        // Forms of foreign pages can be sent without the page asking first; JSON cannot.
        let is_json =
            headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "the body is not declared as JSON",
                "add the header Content-Type: application/json",
            ));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(members)) => Ok(Self { members }),
            Ok(_) => Err(Problem::bad_request("the body is not a JSON object", "{\"member\": \"value\"}")),
            Err(error) => {
                Err(Problem::bad_request(format!("the body is not JSON: {error}"), "check quotes and commas"))
            }
        }
    }

    /// A member, if it is there; `null` is.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// A text, if it is there and not `null`.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    /// A text that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.text(name)?.ok_or_else(|| wrong(name, "needed, a text"))
    }

    /// Whether a member is true, or what it is when it is not there.
    pub(super) fn flag_or(&self, name: &str, otherwise: bool) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// An integer, if it is there and not `null`.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Problem> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong(name, "an integer")),
        }
    }

    /// An object, if it is there and not `null`.
    pub(super) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, Problem> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(wrong(name, "an object")),
        }
    }

    /// Refuses members that mean nothing: most likely a slip.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.members.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let shown: String = unknown.chars().take(64).collect();
                let text = format!("unknown member '{shown}'");
                Err(Problem::bad_request(text, format!("known are {}", known.join(", "))))
            }
        }
    }
}

fn wrong(name: &str, expected: &str) -> Problem {
    Problem::bad_request(
        format!("member '{name}' is not what it should be"),
        format!("'{name}' is {expected}"),
    )
}

#[cfg(test)]
impl From<Value> for Body {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(members) => Self { members },
            _ => Self::none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_have_kinds() {
        let body = Body::from(json!({"text": "x", "flag": true, "number": 7, "nothing": null, "object": {}}));
        assert_eq!(body.text("text").unwrap(), Some("x"));
        assert_eq!(body.text("nothing").unwrap(), None);
        assert!(
            body.text("number").is_err() && body.required("nothing").is_err() && body.required("x").is_err()
        );
        assert!(body.flag_or("flag", false).unwrap() && body.flag_or("none", true).unwrap());
        assert!(!body.flag_or("nothing", false).unwrap() && body.flag_or("text", true).is_err());
        assert_eq!(body.integer("number").unwrap(), Some(7));
        assert!(body.integer("text").is_err());
        assert!(body.object("object").unwrap().is_some() && body.object("flag").is_err());
        assert!(body.only(&["text", "flag", "number", "nothing"]).is_err());
        assert!(body.only(&["text", "flag", "number", "nothing", "object"]).is_ok());
    }
}
