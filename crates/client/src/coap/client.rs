//! The handle: cheap to clone, usable from any task, owner of the link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tercet_coap::block::BlockSize;
use tercet_coap::{Code, Number};
use tokio::time::timeout;

use super::address::{Address, add_path};
use super::builder::{self, Builder, Settings};
use super::channel::Channel;
use super::error::{Error, Result};
use super::link::Link;
use super::message::Message;
use super::request::{Manner, Request};
use super::response::Response;
use super::transfer::Transfer;

/// A CoAP client of one peer. Clones share it. When the last clone and the last
/// [`Observation`](super::Observation) are dropped, the connection is closed.
///
/// Paths are those of URIs: segments are separated by `/` and percent-decoded, and a query may follow, as in
/// `/sensors/kitchen%2Fwindow?unit=C`.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    settings: Settings,
    channel: Channel,
}

impl Client {
    /// Connects with the default settings; see [`Builder::new`].
    ///
    /// # Errors
    /// A bad address, and whatever keeps the connection from being made.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self> {
        Builder::new(url)?.connect().await
    }

    /// A builder for the peer at an address; see [`Builder::new`].
    ///
    /// # Errors
    /// A bad address.
    pub fn builder(url: impl AsRef<str>) -> Result<Builder> {
        Builder::new(url)
    }

    pub(super) async fn start(builder: Builder) -> Result<Self> {
        let Builder { address, settings } = builder;
        builder::check(&settings)?;
        let link = Link::open(address.clone(), settings.clone()).await?;
        let channel = Channel::new(link, settings.oscore.clone());
        Ok(Self { shared: Arc::new(Shared { address, settings, channel }) })
    }

    /// Reads a resource.
    pub fn get(&self, path: &str) -> Request {
        self.request(Code::GET, path)
    }

    /// Lets a resource process a body.
    pub fn post(&self, path: &str) -> Request {
        self.request(Code::POST, path)
    }

    /// Creates or replaces a resource.
    pub fn put(&self, path: &str) -> Request {
        self.request(Code::PUT, path)
    }

    /// Removes a resource.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Code::DELETE, path)
    }

    /// Reads what a body asks for (RFC 8132).
    pub fn fetch(&self, path: &str) -> Request {
        self.request(Code::FETCH, path)
    }

    /// Changes part of a resource (RFC 8132).
    pub fn patch(&self, path: &str) -> Request {
        self.request(Code::PATCH, path)
    }

    /// Changes part of a resource so that doing it twice is doing it once (RFC 8132).
    pub fn ipatch(&self, path: &str) -> Request {
        self.request(Code::IPATCH, path)
    }

    /// A request with any method.
    pub fn request(&self, method: Code, path: &str) -> Request {
        Request::new(self.clone(), method, path)
    }

    /// Asks for a sign of life (RFC 7252 §4.3, RFC 8323 §5.4): how long it took.
    ///
    /// # Errors
    /// [`Error::Timeout`] and the connection's failures.
    pub async fn ping(&self) -> Result<Duration> {
        let start = std::time::Instant::now();
        let after = self.shared.settings.timeout;
        match timeout(after, self.shared.channel.link().ping()).await {
            Ok(pong) => pong.map(|()| start.elapsed()),
            Err(_) => Err(Error::Timeout { what: "the ping".into(), after }),
        }
    }

    /// The peer's address, as it was given and without its path.
    pub fn url(&self) -> String {
        self.shared.address.to_string()
    }

    /// The peer's address on the network; `None` over TCP and WebSocket, where it may change with each connection.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.shared.channel.link().peer()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.shared.channel
    }

    /// A message for a resource.
    pub(super) fn message(&self, method: Code, path: &str) -> Result<Message> {
        let Shared { address, settings, .. } = &*self.shared;
        let mut message = Message::new(method);
        if let Some(proxied) = &settings.proxy {
            let server = Address::parse(proxied)?;
            message.options.set(Number::URI_HOST, server.host.to_string().as_bytes());
            if server.port != server.scheme.default_port() {
                message.options.set_uint(Number::URI_PORT, server.port.into());
            }
            message.options.set(Number::PROXY_SCHEME, server.scheme.as_str().as_bytes());
        } else if let Some(name) = address.name().filter(|_| settings.uri_host) {
            message.options.set(Number::URI_HOST, name.as_bytes());
        }
        add_path(path, &mut message.options)?;
        Ok(message)
    }

    /// The client's own way of making requests.
    pub(super) fn manner(&self) -> Manner {
        let settings = &self.shared.settings;
        Manner {
            confirmable: true,
            timeout: settings.timeout,
            block_size: settings.block_size,
            // Smaller blocks than usual are asked for from the start.
            first_block: (settings.block_size < BlockSize::MAX).then_some(0),
            token: None,
        }
    }

    pub(super) fn transfer(&self, manner: &Manner) -> Transfer<'_> {
        Transfer::new(&self.shared.channel, manner, self.shared.settings.max_body)
    }

    pub(super) async fn perform(&self, message: Message, manner: &Manner) -> Result<Response> {
        let answer = self.transfer(manner).run(&message).await?;
        Ok(Response::new(answer, self.peer()))
    }

    pub(super) async fn send_only(&self, message: Message, manner: &Manner) -> Result<()> {
        let limit = manner.block_size.bytes();
        if message.payload.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        let pending = self.shared.channel.send(message, manner.confirmable, manner.token.clone())?;
        match timeout(manner.timeout, pending.delivered()).await {
            Ok(delivered) => delivered,
            Err(_) => Err(Error::Timeout { what: "the request".into(), after: manner.timeout }),
        }
    }
}
