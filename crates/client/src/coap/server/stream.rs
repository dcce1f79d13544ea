//! The server over TCP, TLS and WebSocket: a task for each connection, and one for each request and observer on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tercet_coap::block::Carrier;
use tercet_coap::uri::Scheme;
use tercet_coap::{Number, Token};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::super::dial::{Dialled, Io};
use super::super::error::Result;
use super::super::message::Message;
use super::super::stream_port::{Arrived, StreamPort};
use super::relation::{Notifier, Relation};
use super::request::Peer;
use super::service::{Outcome, Service};
use super::upgrade;

/// Connections at the same time; beyond it new ones wait.
const CONNECTIONS: usize = 10_000;
/// Handshakes that take longer are given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests of one connection that are worked on at the same time; beyond it no more are read.
const REQUESTS: usize = 64;
/// With so much to be written no more is read.
const BACKLOG: usize = 1024 * 1024;
/// Max-Message-Size of our CSM.
const MAX_MESSAGE: u32 = 1024 * 1024;
/// What a message needs beside its payload, generously.
const OVERHEAD: usize = 512;

/// Serves until the listener fails for good, which it does not.
pub(super) async fn serve(
    listener: TcpListener,
    scheme: Scheme,
    tls: Option<Arc<ServerConfig>>,
    service: Arc<Service>,
) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let (tls, service) = (tls.clone(), service.clone());
                connections.spawn(async move {
                    if let Ok(Some(dialled)) = timeout(HANDSHAKE, greet(stream, scheme, tls)).await {
                        let peer = Peer { address, scheme, identity: None };
                        Connection::new(dialled, peer, service).run().await;
                    }
                });
            }
            // A connection that broke before it was accepted, or no descriptors for the moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The handshakes before CoAP; `None` when one fails.
async fn greet(stream: TcpStream, scheme: Scheme, tls: Option<Arc<ServerConfig>>) -> Option<Dialled> {
    stream.set_nodelay(true).ok()?;
    let mut io: Box<dyn Io> = match tls {
        Some(config) => Box::new(TlsAcceptor::from(config).accept(stream).await.ok()?),
        None => Box::new(stream),
    };
    let websocket = match scheme {
        Scheme::CoapWs | Scheme::CoapsWs => Some(upgrade::accept(&mut io, MAX_MESSAGE as usize).await?),
        _ => None,
    };
    Some(Dialled { io, websocket })
}

struct Connection {
    port: StreamPort,
    peer: Arc<Peer>,
    service: Arc<Service>,
    sender: mpsc::UnboundedSender<Command>,
    commands: mpsc::UnboundedReceiver<Command>,
    requests: usize,
    observers: HashMap<Token, (u64, AbortHandle)>,
    next: u64,
    /// Notifications that are not written yet.
    unwritten: Vec<oneshot::Sender<bool>>,
    tasks: JoinSet<()>,
}

/// What the tasks of requests and observers ask for. Each has at most one of these under way.
enum Command {
    Answer(Token, Outcome),
    Notify(Token, Message, oneshot::Sender<bool>),
    Ended(Token, u64),
}

impl Connection {
    fn new(dialled: Dialled, peer: Peer, service: Arc<Service>) -> Self {
        let (sender, commands) = mpsc::unbounded_channel();
        Self {
            port: StreamPort::new(dialled, MAX_MESSAGE),
            peer: Arc::new(peer),
            service,
            sender,
            commands,
            requests: 0,
            observers: HashMap::new(),
            next: 0,
            unwritten: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let reads = self.requests < REQUESTS && self.port.backlog() < BACKLOG;
            tokio::select! {
                arrived = self.port.next(reads) => match arrived {
                    Ok(Arrived::Request(token, message)) => self.request(token, message),
                    Ok(Arrived::Written) => {
                        self.unwritten.drain(..).for_each(|arrived| _ = arrived.send(true));
                    }
                    Ok(Arrived::Response(..) | Arrived::Alive) => {}
                    Err(_) => break,
                },
                // There is always a sender: our own.
                Some(command) = self.commands.recv() => self.command(command),
            }
            while self.tasks.try_join_next().is_some() {}
        }
        self.port.close().await;
    }

    fn request(&mut self, token: Token, message: Message) {
        if message.options().uint(Number::OBSERVE) == Some(1) {
            self.remove(&token, None);
        }
        self.requests += 1;
        let max_message = usize::try_from(self.port.peer().max_message_size()).unwrap_or(usize::MAX);
        let carrier = Carrier::Stream(max_message.saturating_sub(OVERHEAD).clamp(16, 1 << 20));
        let (service, sender, peer) = (self.service.clone(), self.sender.clone(), self.peer.clone());
        self.tasks.spawn(async move {
            let outcome = service.answer(&peer, &token, message, carrier).await;
            let _ = sender.send(Command::Answer(token, outcome));
        });
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Answer(token, outcome) => {
                self.requests -= 1;
                match outcome {
                    Outcome::Silence => {}
                    Outcome::Answer(answer) => self.port.send(&token, &answer),
                    Outcome::Observe(answer, relation) => {
                        self.port.send(&token, &answer);
                        self.observe(token, *relation);
                    }
                }
            }
            Command::Notify(token, message, arrived) => {
                if self.observers.contains_key(&token) {
                    self.port.send(&token, &message);
                    self.unwritten.push(arrived);
                }
            }
            Command::Ended(token, number) => self.remove(&token, Some(number)),
        }
    }

    /// Begins a relation; one with the same token ends (RFC 7641 §4.1).
    fn observe(&mut self, token: Token, relation: Relation) {
        self.remove(&token, None);
        self.next += 1;
        let number = self.next;
        let sender = self.sender.clone();
        let notifications = Notifications { token: token.clone(), sender: sender.clone() };
        let key = token.clone();
        let task = self.tasks.spawn(async move {
            relation.run(notifications).await;
            let _ = sender.send(Command::Ended(token, number));
        });
        self.observers.insert(key, (number, task));
    }

    /// Ends a relation, if it is still that of this number.
    fn remove(&mut self, token: &Token, number: Option<u64>) {
        let known = self.observers.get(token).map(|(number, _)| *number);
        if (number.is_none() || number == known)
            && let Some((_, task)) = self.observers.remove(token)
        {
            task.abort();
        }
    }
}

/// An observer's task's way to the connection. A notification has arrived when it is written, as the transport sees to
/// the rest (RFC 8323 §7).
struct Notifications {
    token: Token,
    sender: mpsc::UnboundedSender<Command>,
}

impl Notifier for Notifications {
    const REPLACES: bool = false;

    fn notify(&mut self, message: Message, _confirmable: bool) -> oneshot::Receiver<bool> {
        let (arrived, told) = oneshot::channel();
        let _ = self.sender.send(Command::Notify(self.token.clone(), message, arrived));
        told
    }

    fn replace(&mut self, _message: Message) {}
}
