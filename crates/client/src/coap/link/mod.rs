//! The task of a client's transport, and the handle by which requests reach it.
//!
//! A link carries single messages: it finds the waiter of a response by its token, repeats confirmable datagrams,
//! connects again where there is a connection. Bodies, observations and security are above it.

mod datagram;
mod stream;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tercet_coap::Token;
use tokio::sync::{mpsc, oneshot};

use super::address::Address;
use super::builder::Settings;
use super::error::{Error, Result};
use super::inbox::{self, Receiver, Sender};
use super::message::Message;

/// How many events of one exchange wait to be read. More than one notification is only of interest to those that
/// compare their numbers.
const EVENTS: usize = 16;

/// What the task is asked to do. There are at most as many of these as requests that are being made.
enum Command {
    Send { token: Token, message: Message, confirmable: bool, events: Sender<Event> },
    Forget(Token),
    Ping(oneshot::Sender<Result<()>>),
}

/// What happens to a request.
pub(super) enum Event {
    /// The peer has it, or, where nothing is acknowledged, the network.
    Delivered,
    Response(Message),
    Failed(Error),
}

/// What the peer takes; over streams as its CSM says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capacity {
    /// Blocks of up to 1,024 bytes.
    Datagram,
    /// Messages of up to so many bytes, and blocks if the peer knows them.
    Stream { max_message: usize, blocks: bool, bert: bool },
}

/// A handle to the task; the task ends with its last handle.
pub(super) struct Link {
    commands: mpsc::UnboundedSender<Command>,
    capacity: Arc<Mutex<Capacity>>,
    tokens: Mutex<u64>,
    peer: Option<SocketAddr>,
}

impl Link {
    /// Makes the first connection in the caller's time, then starts the task.
    pub(super) async fn open(address: Address, settings: Settings) -> Result<Self> {
        let (commands, queue) = mpsc::unbounded_channel();
        let capacity = Arc::new(Mutex::new(Capacity::Datagram));
        let peer = if address.is_datagram() {
            Some(datagram::start(address, settings, queue).await?)
        } else {
            stream::start(address, settings, queue, capacity.clone()).await?;
            None
        };
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| Error::Invalid(format!("no randomness: {error}")))?;
        Ok(Self { commands, capacity, tokens: Mutex::new(u64::from_ne_bytes(seed)), peer })
    }

    /// Sends a message; what happens to it comes from the exchange, until that is dropped.
    pub(super) fn send(&self, message: Message, confirmable: bool, token: Option<Token>) -> Exchange {
        let token = token.unwrap_or_else(|| self.token());
        let (events, receiver) = inbox::inbox(EVENTS);
        let command = Command::Send { token: token.clone(), message, confirmable, events };
        // When the task is gone the sender of the events is dropped, which the exchange tells as closed.
        let _ = self.commands.send(command);
        Exchange { token, commands: self.commands.clone(), events: receiver }
    }

    /// Asks for a sign of life: a CoAP ping over datagrams, Ping over streams.
    pub(super) async fn ping(&self) -> Result<()> {
        let (done, pong) = oneshot::channel();
        self.commands.send(Command::Ping(done)).map_err(|_| Error::Closed)?;
        pong.await.unwrap_or(Err(Error::Closed))
    }

    pub(super) fn capacity(&self) -> Capacity {
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer's address, where there is one only.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// A token that is not in use: tokens of one client are numbers from a random one on, mixed so that each is hard to
    /// guess from outside (RFC 7252 §5.3.1).
    pub(super) fn token(&self) -> Token {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = tokens.wrapping_add(1);
        Token::from(tokens.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
    }
}

/// One request and what comes of it. Dropping it makes the task forget the token.
pub(super) struct Exchange {
    token: Token,
    commands: mpsc::UnboundedSender<Command>,
    events: Receiver<Event>,
}

impl Exchange {
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// The next event.
    pub(super) async fn next(&self) -> Event {
        self.events.next().await.unwrap_or(Event::Failed(Error::Closed))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Forget(self.token.clone()));
    }
}
