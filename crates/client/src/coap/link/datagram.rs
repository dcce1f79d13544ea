//! The task of a UDP or DTLS socket: the message layer, and the waiters of responses.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tercet_coap::endpoint::{self, Endpoint, Heading, Incoming, Outgoing, Tag};
use tercet_coap::reliability::Transmission;
use tercet_coap::{Code, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{Command, Event};
use crate::coap::address::Address;
use crate::coap::builder::Settings;
use crate::coap::datagram_port::DatagramPort;
use crate::coap::error::{Error, Result};
use crate::coap::inbox::Sender;
use crate::coap::message::Message;

struct Task {
    port: DatagramPort,
    peer: SocketAddr,
    endpoint: Endpoint<()>,
    out: Outgoing<()>,
    start: Instant,
    commands: mpsc::UnboundedReceiver<Command>,
    waiting: HashMap<Token, Waiting>,
    /// Who waits for the fate of a confirmable message.
    tags: HashMap<Tag, Fate>,
    next_tag: u64,
    after: Duration,
}

struct Waiting {
    events: Sender<Event>,
    /// Of the request, until its fate is known.
    tag: Option<Tag>,
}

enum Fate {
    Request(Token),
    Ping(oneshot::Sender<Result<()>>),
}

/// What the task woke up for.
enum Wake {
    Datagram(usize),
    Command(Option<Command>),
    Due,
    Failed(io::Error),
}

/// Opens the socket and starts the task; the peer's address.
pub(super) async fn start(
    address: Address,
    settings: Settings,
    commands: mpsc::UnboundedReceiver<Command>,
) -> Result<SocketAddr> {
    let (port, peer) = DatagramPort::connect(&address, &settings).await?;
    let transmission = Transmission {
        ack_timeout: settings.ack_timeout,
        max_retransmit: settings.max_retransmit,
        // One client is one caller's: it may have several requests under way (RFC 7252 §4.7 lets the application decide).
        nstart: 4,
        ..Transmission::default()
    };
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| Error::Invalid(format!("no randomness: {error}")))?;
    let after = transmission.max_transmit_wait();
    let settings = endpoint::Settings { transmission, ..endpoint::Settings::default() };
    let task = Task {
        port,
        peer,
        endpoint: Endpoint::new(settings, u64::from_ne_bytes(seed)),
        out: Outgoing::new(),
        start: Instant::now(),
        commands,
        waiting: HashMap::new(),
        tags: HashMap::new(),
        next_tag: 0,
        after,
    };
    tokio::spawn(task.run());
    Ok(peer)
}

impl Task {
    async fn run(mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.wake(&mut buffer).await {
                Wake::Datagram(length) => self.receive(buffer.get(..length).unwrap_or_default()),
                Wake::Command(Some(command)) => self.command(command),
                Wake::Command(None) => break,
                Wake::Due => self.run_due(),
                Wake::Failed(error) => self.fail_all(error),
            }
            if let Err(error) = self.flush().await {
                self.fail_all(error);
            }
        }
        self.port.close().await;
    }

    async fn wake(&mut self, buffer: &mut [u8]) -> Wake {
        let due = self.endpoint.next_due().map(|due| self.start + due);
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            received = self.port.receive(buffer) => match received {
                Ok(length) => Wake::Datagram(length),
                Err(error) => Wake::Failed(error),
            },
            command = self.commands.recv() => Wake::Command(command),
            () = timer => Wake::Due,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for (_, datagram) in self.out.iter() {
            result = result.and(self.port.send(datagram).await);
        }
        self.out.clear();
        result
    }

    fn command(&mut self, command: Command) {
        let now = self.start.elapsed();
        match command {
            Command::Send { token, message, confirmable, events } => {
                self.send(token, &message, confirmable, events, now);
            }
            Command::Forget(token) => self.forget(&token),
            Command::Ping(done) => {
                let tag = self.tag();
                let heading = Heading { code: Code::EMPTY, token: &[], tag };
                match self.endpoint.send_confirmable((), heading, |_| {}, now, &mut self.out) {
                    Ok(_) => drop(self.tags.insert(tag, Fate::Ping(done))),
                    Err(refused) => drop(done.send(Err(Error::Invalid(refused.to_string())))),
                }
            }
        }
    }

    fn send(
        &mut self,
        token: Token,
        message: &Message,
        confirmable: bool,
        events: Sender<Event>,
        now: Duration,
    ) {
        let tag = self.tag();
        let heading = Heading { code: message.code, token: token.as_bytes(), tag };
        let write = |writer: &mut tercet_coap::Writer<'_>| {
            writer.options(message.options()).payload(&message.payload);
        };
        let sent = if confirmable {
            self.endpoint.send_confirmable((), heading, write, now, &mut self.out).map(|_| ())
        } else {
            self.endpoint.send_non_confirmable((), heading, write, now, &mut self.out).map(|_| ())
        };
        match sent {
            Err(refused) => events.push(Event::Failed(Error::Invalid(refused.to_string()))),
            Ok(()) => {
                if confirmable {
                    self.tags.insert(tag, Fate::Request(token.clone()));
                } else {
                    events.push(Event::Delivered);
                }
                self.waiting.insert(token, Waiting { events, tag: confirmable.then_some(tag) });
            }
        }
    }

    /// The waiter is gone: a response that still comes is refused, which tells an observed server to stop
    /// (RFC 7641 §3.6).
    fn forget(&mut self, token: &Token) {
        if !self.waiting.get(token).is_some_and(|waiting| waiting.events.is_closed()) {
            return;
        }
        if let Some(tag) = self.waiting.remove(token).and_then(|waiting| waiting.tag) {
            self.tags.remove(&tag);
        }
    }

    fn receive(&mut self, datagram: &[u8]) {
        let now = self.start.elapsed();
        match self.endpoint.receive((), datagram, now, &mut self.out) {
            Incoming::Response { receipt, message, request } => {
                if let Some(tag) = request {
                    self.tags.remove(&tag);
                }
                let waiting = Token::new(message.token).ok().and_then(|token| self.waiting.get_mut(&token));
                match waiting {
                    Some(waiting) => {
                        waiting.tag = None;
                        waiting.events.push(Event::Response(Message::from_wire(&message)));
                        self.endpoint.accept(receipt, &mut self.out);
                    }
                    None => self.endpoint.refuse(receipt, &mut self.out),
                }
            }
            Incoming::Acknowledged { tag } => self.settle(tag, |_| Event::Delivered),
            Incoming::Rejected { tag } => {
                self.settle(tag, |token| Event::Failed(Error::Reset(format!("the request {token:?}"))));
            }
            Incoming::Request { reply, message } => {
                self.endpoint.respond(
                    reply,
                    Code::NOT_IMPLEMENTED,
                    message.token,
                    |_| {},
                    now,
                    &mut self.out,
                );
            }
            Incoming::Nothing => {}
        }
    }

    /// The fate of a confirmable message is known. A ping is answered by a Reset.
    fn settle(&mut self, tag: Tag, event: impl FnOnce(&Token) -> Event) {
        match self.tags.remove(&tag) {
            Some(Fate::Request(token)) => {
                if let Some(waiting) = self.waiting.get_mut(&token) {
                    waiting.tag = None;
                    waiting.events.push(event(&token));
                }
            }
            Some(Fate::Ping(done)) => drop(done.send(Ok(()))),
            None => {}
        }
    }

    fn run_due(&mut self) {
        let now = self.start.elapsed();
        let mut failed = Vec::new();
        self.endpoint.run_due(now, &mut self.out, |endpoint::Event::Failed { tag, .. }| failed.push(tag));
        if !failed.is_empty() {
            self.port.renew();
        }
        for tag in failed {
            let error = Error::Timeout { what: format!("messages to {}", self.peer), after: self.after };
            match self.tags.remove(&tag) {
                Some(Fate::Request(token)) => {
                    if let Some(waiting) = self.waiting.get_mut(&token) {
                        waiting.tag = None;
                        waiting.events.push(Event::Failed(error));
                    }
                }
                Some(Fate::Ping(done)) => drop(done.send(Err(error))),
                None => {}
            }
        }
    }

    /// Nobody listens there, or there is no way: whatever waits for a first sign of life is told so. Those that were
    /// answered before, observations above all, go on until they time out.
    fn fail_all(&mut self, source: io::Error) {
        let url = self.port.url().to_owned();
        let error = if self.port.is_open() {
            Error::Connect { url, source: Arc::new(source) }
        } else {
            Error::Lost { url, source: Arc::new(source) }
        };
        self.endpoint.forget(());
        if !self.port.is_open() {
            // What a session agreed on ends with it (RFC 7252 §9.1.1).
            self.waiting.drain().for_each(|(_, waiting)| waiting.events.push(Event::Failed(error.clone())));
        }
        for (_, fate) in self.tags.drain() {
            match fate {
                Fate::Request(token) => {
                    if let Some(waiting) = self.waiting.get_mut(&token) {
                        waiting.tag = None;
                        waiting.events.push(Event::Failed(error.clone()));
                    }
                }
                Fate::Ping(done) => drop(done.send(Err(error.clone()))),
            }
        }
    }

    fn tag(&mut self) -> Tag {
        self.next_tag += 1;
        Tag(self.next_tag)
    }
}
