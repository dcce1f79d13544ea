//! What a server answered.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tercet_coap::Code;
use tercet_coap::content_format::ContentFormat;
use tercet_coap::problem::Problem;
use tercet_coap::{Number, Options};

use super::message::Message;

/// An answer with its whole body, however many blocks it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    message: Message,
    peer: Option<SocketAddr>,
}

impl Response {
    pub(super) fn new(message: Message, peer: Option<SocketAddr>) -> Self {
        Self { message, peer }
    }

    /// The response code; one that no RFC defines is given as it is.
    pub fn code(&self) -> Code {
        self.message.code
    }

    /// Whether the code is of class 2.
    pub fn is_success(&self) -> bool {
        self.code().is_success()
    }

    /// The body.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The body as text; `None` if it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.payload()).ok()
    }

    /// The body alone.
    pub fn into_payload(self) -> Bytes {
        self.message.payload
    }

    /// The format of the body, if the server says it.
    pub fn content_format(&self) -> Option<ContentFormat> {
        self.message.content_format(Number::CONTENT_FORMAT)
    }

    /// The entity tag of the representation.
    pub fn etag(&self) -> Option<&[u8]> {
        self.message.etag()
    }

    /// How long the answer stays fresh; 60 s if the server does not say.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(self.message.max_age().into())
    }

    /// Where the created resource is: path and query, such as `/things/7`. `None` when the server names no place.
    pub fn location(&self) -> Option<String> {
        let mut location = String::new();
        for segment in self.options().texts(Number::LOCATION_PATH) {
            location.push('/');
            location.push_str(segment);
        }
        let mut mark = '?';
        for part in self.options().texts(Number::LOCATION_QUERY) {
            location.push(mark);
            location.push_str(part);
            mark = '&';
        }
        (!location.is_empty()).then_some(location)
    }

    /// What an error answer says for people: its text, or title and detail of problem details (RFC 9290). Control
    /// characters are left out, so that it can be shown on a terminal.
    pub fn diagnostic(&self) -> Option<String> {
        let text = match self.content_format() {
            _ if self.is_success() => return None,
            Some(ContentFormat::PROBLEM_DETAILS) => {
                let problem = Problem::decode(self.payload()).ok()?;
                [problem.title, problem.detail].into_iter().flatten().collect::<Vec<_>>().join(": ")
            }
            None | Some(ContentFormat::TEXT) => self.text()?.to_owned(),
            Some(_) => return None,
        };
        let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }

    /// All options. Those of block-wise transfer are those of the first block.
    pub fn options(&self) -> Options<'_> {
        self.message.options()
    }

    /// Who answered; to a multicast request each answer has another.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}
