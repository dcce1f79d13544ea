//! The handle: cheap to clone, usable from any task, owner of the connection's task.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::command::{Command, Goodbye};
use super::inbox::Sender;
use super::options::Builder;
use super::property::Properties;
use super::publish::Publish;
use super::request::Request;
use super::subscribe::{Filter, Subscribe};
use super::task::Task;
use super::{Event, ReasonCode};
use crate::{Error, Result};

/// How many operations wait for the task; senders wait beyond it.
const COMMANDS: usize = 1024;
/// How many events a slow listener may be behind.
const EVENTS: usize = 64;

/// A connection to a broker. Clones share it. When the last clone and the last
/// [`Subscription`](super::Subscription) are dropped, the connection is closed as if by
/// [`disconnect`](Self::disconnect).
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    goodbyes: mpsc::UnboundedSender<Goodbye>,
    events: broadcast::Sender<Event>,
    state: Arc<State>,
}

/// What the task tells its handles.
#[derive(Default)]
pub(super) struct State {
    connack: Mutex<ConnAck>,
    /// Why the task ended, once it has.
    end: Mutex<Option<Error>>,
}

impl State {
    pub(super) fn set_connack(&self, connack: ConnAck) {
        *self.connack.lock().unwrap_or_else(PoisonError::into_inner) = connack;
    }

    pub(super) fn set_end(&self, error: Error) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn end(&self) -> Error {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(Error::Closed)
    }
}

/// What the broker said when it accepted the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the broker continued an earlier session.
    pub session_present: bool,
    /// The client id in use: the one asked for or the one that the broker assigned.
    pub client_id: String,
    /// Properties (MQTT 5).
    pub properties: Properties,
}

impl Client {
    /// Connects with the settings of an address; see [`Builder::new`].
    ///
    /// # Errors
    /// A bad address, and whatever keeps the connection from being made.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self> {
        Builder::new(url)?.connect().await
    }

    /// A builder for the broker at an address; see [`Builder::new`].
    ///
    /// # Errors
    /// A bad address.
    pub fn builder(url: impl AsRef<str>) -> Result<Builder> {
        Builder::new(url)
    }

    /// Makes the first connection in the caller's time, then hands it to a task.
    pub(super) async fn start(builder: Builder, inbox: Option<Sender>) -> Result<Self> {
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (goodbyes, goodbye_queue) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENTS);
        let state = Arc::new(State::default());
        let task = Task::connect(builder, inbox, command_queue, goodbye_queue, events.clone(), state.clone())
            .await?;
        tokio::spawn(task.run());
        Ok(Self { shared: Arc::new(Shared { commands, goodbyes, events, state }) })
    }

    /// What the broker said at the latest (re)connection.
    pub fn connack(&self) -> ConnAck {
        self.shared.state.connack.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a publish to a topic.
    pub fn publish(&self, topic: impl Into<String>, payload: impl Into<Bytes>) -> Publish<'_> {
        Publish::new(self, topic.into(), payload.into())
    }

    /// Starts a subscription to one topic filter.
    pub fn subscribe(&self, filter: impl Into<Filter>) -> Subscribe<'_> {
        self.subscribe_many([filter])
    }

    /// Starts a subscription to several topic filters with one stream for all.
    pub fn subscribe_many<F: Into<Filter>>(&self, filters: impl IntoIterator<Item = F>) -> Subscribe<'_> {
        Subscribe::new(self, filters.into_iter().map(Into::into).collect())
    }

    /// Unsubscribes filters that were subscribed into the inbox, or in an earlier session.
    ///
    /// # Errors
    /// The connection's failures.
    pub async fn unsubscribe(&self, filters: Vec<String>, properties: Properties) -> Result<Vec<ReasonCode>> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Unsubscribe { subscription: None, filters, properties, done }).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.state.end()))
    }

    /// Starts a request: a message with a response topic whose answer is awaited (MQTT 5).
    pub fn request(&self, topic: impl Into<String>, payload: impl Into<Bytes>) -> Request<'_> {
        Request::new(self, topic.into(), payload.into())
    }

    /// Waits until every publish handed over before is done (QoS 0: written).
    ///
    /// # Errors
    /// The connection's failures.
    pub async fn flush(&self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Flush { done }).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.state.end()))
    }

    /// What happens to the connection from now on. A listener that is more than 64 events behind loses the oldest.
    pub fn events(&self) -> Events {
        Events(self.shared.events.subscribe())
    }

    /// Ends the connection for all clones: what was handed over before is written, then DISCONNECT.
    pub async fn disconnect(&self) {
        self.disconnect_with(ReasonCode::Success, Properties::new()).await;
    }

    /// As [`disconnect`](Self::disconnect), with a reason (such as [`ReasonCode::DisconnectWithWill`]) and
    /// properties (MQTT 5; before it, a will is kept from being sent all the same).
    pub async fn disconnect_with(&self, reason: ReasonCode, properties: Properties) {
        let (done, finished) = oneshot::channel();
        if self.shared.goodbyes.send(Goodbye { reason, properties, done }).is_ok() {
            // An error means that the task is gone, which is what was asked for.
            drop(finished.await);
        }
    }

    pub(super) async fn send(&self, command: Command) -> Result<()> {
        self.shared.commands.send(command).await.map_err(|_| self.shared.state.end())
    }

    /// Hands over an operation that may get lost.
    pub(super) fn try_send(&self, command: Command) {
        drop(self.shared.commands.try_send(command));
    }
}

/// The stream of [`Event`]s.
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` after the client ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
