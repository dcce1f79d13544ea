//! A request being put together.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tercet_coap::block::BlockSize;
use tercet_coap::content_format::ContentFormat;
use tercet_coap::{Code, Number, Token};

use super::client::Client;
use super::error::{Error, Result};
use super::message::Message;
use super::observation::Observation;
use super::response::Response;

/// A request being put together; `.await` sends it and waits for the whole answer.
///
/// A body that is larger than one block is sent in blocks, and so is a large answer received; an answer of class 4 or 5
/// is [`Error::Answer`].
#[must_use = "a request is sent when it is awaited"]
#[derive(Clone)]
pub struct Request {
    pub(super) client: Client,
    pub(super) message: Result<Message>,
    pub(super) manner: Manner,
}

/// How a request is made, beside what it says.
#[derive(Clone)]
pub(super) struct Manner {
    pub(super) confirmable: bool,
    /// For the whole request, with all its blocks.
    pub(super) timeout: Duration,
    pub(super) block_size: BlockSize,
    /// Asks for a block, of this number, to begin with.
    pub(super) first_block: Option<u32>,
    pub(super) token: Option<Token>,
}

impl Request {
    pub(super) fn new(client: Client, method: Code, path: &str) -> Self {
        let message = client.message(method, path);
        let manner = client.manner();
        Self { client, message, manner }
    }

    fn change(mut self, change: impl FnOnce(&mut Message)) -> Self {
        if let Ok(message) = &mut self.message {
            change(message);
        }
        self
    }

    /// The body.
    pub fn payload(self, payload: impl Into<Bytes>) -> Self {
        self.change(|message| message.payload = payload.into())
    }

    /// The format of the body.
    pub fn content_format(self, format: ContentFormat) -> Self {
        self.change(|message| _ = message.options.set_uint(Number::CONTENT_FORMAT, format.0.into()))
    }

    /// The format that the answer shall have; a server that has none of it answers 4.06.
    pub fn accept(self, format: ContentFormat) -> Self {
        self.change(|message| _ = message.options.set_uint(Number::ACCEPT, format.0.into()))
    }

    /// Adds `name=value` to the query.
    pub fn query(self, name: &str, value: &str) -> Self {
        self.option(Number::URI_QUERY, format!("{name}={value}").into_bytes())
    }

    /// Adds a part to the query as it is.
    pub fn query_part(self, part: &str) -> Self {
        self.option(Number::URI_QUERY, part.as_bytes())
    }

    /// The entity tag of a representation that is at hand: a server that still has it answers 2.03 without a body. May
    /// be called several times.
    pub fn etag(self, tag: impl AsRef<[u8]>) -> Self {
        self.option(Number::ETAG, tag)
    }

    /// Do it only if the representation has this entity tag, or, when empty, if the resource exists; otherwise the
    /// answer is 4.12. May be called several times.
    pub fn if_match(self, tag: impl AsRef<[u8]>) -> Self {
        self.option(Number::IF_MATCH, tag)
    }

    /// Do it only if the resource does not exist; otherwise the answer is 4.12.
    pub fn if_none_match(self) -> Self {
        self.change(|message| _ = message.options.set(Number::IF_NONE_MATCH, b""))
    }

    /// How many proxies the request may still pass, 1 to 255 (RFC 8768).
    pub fn hop_limit(self, hops: u8) -> Self {
        self.change(|message| _ = message.options.set(Number::HOP_LIMIT, &[hops.max(1)]))
    }

    /// Asks for this URI; the peer is a proxy (RFC 7252 §5.10.2).
    pub fn proxy_uri(self, uri: &str) -> Self {
        self.change(|message| {
            message.options.retain(|number| {
                !matches!(
                    number,
                    Number::URI_HOST
                        | Number::URI_PORT
                        | Number::URI_PATH
                        | Number::URI_QUERY
                        | Number::PROXY_SCHEME
                )
            });
            message.options.set(Number::PROXY_URI, uri.as_bytes());
        })
    }

    /// Adds any option.
    pub fn option(self, number: Number, value: impl AsRef<[u8]>) -> Self {
        self.change(|message| _ = message.options.add(number, value.as_ref()))
    }

    /// Sends it once only, without an acknowledgement; over TCP and WebSocket this means nothing.
    pub fn non_confirmable(mut self) -> Self {
        self.manner.confirmable = false;
        self
    }

    /// How long it may take with all its blocks; the client's setting if not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.manner.timeout = timeout;
        self
    }

    /// The block size in both directions, as in [`Builder::block_size`](super::Builder::block_size).
    pub fn block_size(mut self, bytes: usize) -> Self {
        self.manner.block_size = BlockSize::within(bytes);
        self.manner.first_block.get_or_insert(0);
        self
    }

    /// Begins with this block of the representation; what is before it is left out of the answer.
    pub fn first_block(mut self, number: u32) -> Self {
        self.manner.first_block = Some(number);
        self
    }

    /// The token of the first message, instead of a random one. The caller sees to it that it is not in use.
    pub fn token(mut self, token: Token) -> Self {
        self.manner.token = Some(token);
        self
    }

    /// Sends it and wants no answer (No-Response, RFC 7967). A confirmable one is done when it is acknowledged, any
    /// other when it is handed to the network.
    ///
    /// # Errors
    /// The connection's failures, and a body that does not fit into one message.
    pub async fn forget(self) -> Result<()> {
        let Self { client, message, manner } =
            self.change(|message| _ = message.options.set_uint(Number::NO_RESPONSE, 26));
        client.send_only(message?, &manner).await
    }

    /// Observes the resource (RFC 7641): the method has to be GET or FETCH.
    ///
    /// # Errors
    /// Those of the first answer; later ones come with the stream.
    pub async fn observe(self) -> Result<Observation> {
        let message = self.message?;
        if !matches!(message.code, Code::GET | Code::FETCH) {
            return Err(Error::Invalid(format!("only GET and FETCH observe, not {:?}", message.code)));
        }
        Observation::start(self.client, message, self.manner).await
    }
}

impl IntoFuture for Request {
    type Output = Result<Response>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self.client.perform(self.message?, &self.manner).await?;
            if response.is_success() { Ok(response) } else { Err(Error::Answer(Box::new(response))) }
        })
    }
}
