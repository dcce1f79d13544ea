//! What exchanges look at in a message.

use smallvec::SmallVec;
use tercet_amqp::content;
use tercet_amqp::field::Table;

use crate::message::{Properties, PropertyEncoding};

/// What exchanges look at in a message: its routing keys, and its properties and headers if they are AMQP's.
#[derive(Clone, Debug)]
pub(crate) struct Routable<'a> {
    /// The routing key, then those of `CC` and `BCC`.
    keys: SmallVec<[&'a str; 4]>,
    properties: Option<content::Properties<'a>>,
    headers: Table<'a>,
}

impl<'a> Routable<'a> {
    /// A message with this routing key and properties; its headers are looked for.
    pub(crate) fn new(key: &'a str, properties: Properties<'a>) -> Self {
        let properties = match properties.encoding {
            PropertyEncoding::Amqp => content::Properties::from_bytes(properties.bytes),
            PropertyEncoding::None | PropertyEncoding::Mqtt5 | PropertyEncoding::Coap => None,
        };
        let headers = properties.and_then(|all| all.headers().ok().flatten()).unwrap_or_default();
        Self { keys: SmallVec::from_slice(&[key]), properties, headers }
    }

    /// A message of which only the routing key counts.
    pub(crate) fn of_key(key: &'a str) -> Self {
        Self { keys: SmallVec::from_slice(&[key]), properties: None, headers: Table::default() }
    }

    /// The same with further routing keys.
    pub(crate) fn and_keys(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.keys.extend(keys);
        self
    }

    #[cfg(test)]
    pub(crate) fn with_headers(mut self, headers: Table<'a>) -> Self {
        self.headers = headers;
        self
    }

    /// The routing key of the publication.
    pub(crate) fn key(&self) -> &'a str {
        self.keys.first().copied().unwrap_or_default()
    }

    /// All routing keys.
    pub(crate) fn keys(&self) -> &[&'a str] {
        &self.keys
    }

    pub(crate) fn properties(&self) -> Option<content::Properties<'a>> {
        self.properties
    }

    pub(crate) fn headers(&self) -> Table<'a> {
        self.headers
    }
}
