//! The task of a connection over TCP, TLS or WebSocket.
//!
//! When the connection ends, everything that waits is told so; the next request connects again.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tercet_coap::{Code, Token};
use tokio::sync::{mpsc, oneshot};

use super::{Capacity, Command, Event};
use crate::coap::address::Address;
use crate::coap::builder::Settings;
use crate::coap::dial::dial;
use crate::coap::error::{Error, Result};
use crate::coap::inbox::Sender;
use crate::coap::message::Message;
use crate::coap::stream_port::{Arrived, Ending, StreamPort};

struct Task {
    address: Address,
    settings: Settings,
    commands: mpsc::UnboundedReceiver<Command>,
    capacity: Arc<Mutex<Capacity>>,
    waiting: HashMap<Token, Sender<Event>>,
    pings: Vec<oneshot::Sender<Result<()>>>,
}

/// Connects and starts the task.
pub(super) async fn start(
    address: Address,
    settings: Settings,
    commands: mpsc::UnboundedReceiver<Command>,
    capacity: Arc<Mutex<Capacity>>,
) -> Result<()> {
    let mut task = Task { address, settings, commands, capacity, waiting: HashMap::new(), pings: Vec::new() };
    let port = task.connect().await?;
    tokio::spawn(task.run(port));
    Ok(())
}

impl Task {
    /// Connects and waits for the peer's CSM, so that what it takes is known before the first request.
    async fn connect(&mut self) -> Result<StreamPort> {
        let limit = usize::try_from(self.settings.max_message).unwrap_or(usize::MAX);
        let connecting = async {
            let dialled = dial(&self.address, &self.settings.tls, limit).await?;
            let mut port = StreamPort::new(dialled, self.settings.max_message);
            while !port.peer().is_ready() {
                port.next(true).await.map_err(|ending| lost(&self.address, &ending))?;
            }
            Ok(port)
        };
        let after = self.settings.connect_timeout;
        let timeout = || Error::Timeout { what: format!("the connection to {}", self.address), after };
        let port = tokio::time::timeout(after, connecting).await.unwrap_or_else(|_| Err(timeout()))?;
        self.note_capacity(&port);
        Ok(port)
    }

    fn note_capacity(&self, port: &StreamPort) {
        let peer = port.peer();
        let max_message = usize::try_from(peer.max_message_size()).unwrap_or(usize::MAX);
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner) =
            Capacity::Stream { max_message, blocks: peer.is_block_wise(), bert: peer.is_bert() };
    }

    async fn run(mut self, first: StreamPort) {
        let mut port = Some(first);
        loop {
            let Some(mut open) = port.take() else {
                let Some(command) = self.commands.recv().await else { return };
                if matches!(command, Command::Forget(_)) {
                    continue;
                }
                port = match self.connect().await {
                    Ok(mut open) => {
                        self.command(&mut open, command);
                        Some(open)
                    }
                    Err(error) => {
                        refuse(command, &error);
                        None
                    }
                };
                continue;
            };
            let ending = loop {
                tokio::select! {
                    arrived = open.next(true) => match arrived {
                        Ok(arrived) => self.arrived(&mut open, arrived),
                        Err(ending) => break ending,
                    },
                    command = self.commands.recv() => match command {
                        Some(command) => self.command(&mut open, command),
                        None => return open.close().await,
                    },
                }
            };
            let error = lost(&self.address, &ending);
            self.fail_all(&error);
            open.close().await;
        }
    }

    fn command(&mut self, port: &mut StreamPort, command: Command) {
        match command {
            Command::Send { token, message, events, .. } => {
                port.send(token.as_bytes(), &message);
                events.push(Event::Delivered);
                self.waiting.insert(token, events);
            }
            Command::Forget(token) => {
                if self.waiting.get(&token).is_some_and(Sender::is_closed) {
                    self.waiting.remove(&token);
                }
            }
            Command::Ping(done) => {
                port.ping(&[]);
                self.pings.push(done);
            }
        }
    }

    fn arrived(&mut self, port: &mut StreamPort, arrived: Arrived) {
        match arrived {
            // A response that nobody waits for is of a request that was given up.
            Arrived::Response(token, message) => {
                if let Some(events) = self.waiting.get(&token) {
                    events.push(Event::Response(message));
                }
            }
            Arrived::Request(token, _) => {
                let answer = Message::diagnostic(Code::NOT_IMPLEMENTED, "this is a client");
                port.send(token.as_bytes(), &answer);
            }
            Arrived::Written => {}
            Arrived::Alive => {
                self.note_capacity(port);
                self.pings.drain(..).for_each(|done| drop(done.send(Ok(()))));
            }
        }
    }

    fn fail_all(&mut self, error: &Error) {
        self.waiting.drain().for_each(|(_, events)| events.push(Event::Failed(error.clone())));
        self.pings.drain(..).for_each(|done| drop(done.send(Err(error.clone()))));
    }
}

fn refuse(command: Command, error: &Error) {
    match command {
        Command::Send { events, .. } => events.push(Event::Failed(error.clone())),
        Command::Ping(done) => drop(done.send(Err(error.clone()))),
        Command::Forget(_) => {}
    }
}

fn lost(address: &Address, ending: &Ending) -> Error {
    let source = |error: io::Error| Error::Lost { url: address.to_string(), source: Arc::new(error) };
    match ending {
        Ending::Io(error) => source(io::Error::new(error.kind(), error.to_string())),
        Ending::Released => source(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer released it")),
        Ending::Aborted(text) => Error::Aborted(text.clone()),
        Ending::Protocol(text) => Error::Protocol(text.clone()),
    }
}
