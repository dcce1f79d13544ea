//! What a handler is asked.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tercet_coap::content_format::ContentFormat;
use tercet_coap::uri::Scheme;
use tercet_coap::{Code, Number, Options};

use super::super::message::Message;

/// A request with its whole body, however many blocks it took. Clones share everything.
#[derive(Debug, Clone)]
pub struct Request {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    message: Message,
    path: Vec<String>,
    parameters: Vec<(String, String)>,
    peer: Peer,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Where it asks from.
    pub address: SocketAddr,
    /// How it asks.
    pub scheme: Scheme,
    /// Who it is, if the transport knows: the identity of its pre-shared key or the name of its certificate.
    pub identity: Option<Arc<str>>,
}

impl Request {
    pub(super) fn new(
        message: Message,
        path: Vec<String>,
        parameters: Vec<(String, String)>,
        peer: Peer,
    ) -> Self {
        Self { shared: Arc::new(Shared { message, path, parameters, peer }) }
    }

    /// The method.
    pub fn method(&self) -> Code {
        self.shared.message.code
    }

    /// The segments of the path.
    pub fn path(&self) -> &[String] {
        &self.shared.path
    }

    /// Name and value of each parameter of the route, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shared.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a parameter of the route.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The parts of the query.
    pub fn query(&self) -> impl Iterator<Item = &str> {
        self.options().texts(Number::URI_QUERY)
    }

    /// The whole body.
    pub fn payload(&self) -> &Bytes {
        &self.shared.message.payload
    }

    /// The format of the body, if the request names it.
    pub fn content_format(&self) -> Option<ContentFormat> {
        self.shared.message.content_format(Number::CONTENT_FORMAT)
    }

    /// The format that the answer shall have, if the request names one.
    pub fn accept(&self) -> Option<ContentFormat> {
        self.shared.message.content_format(Number::ACCEPT)
    }

    /// All options.
    pub fn options(&self) -> Options<'_> {
        self.shared.message.options()
    }

    pub(super) fn message(&self) -> &Message {
        &self.shared.message
    }

    /// Who asks.
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }
}
