//! Subscribing: the builder, the stream of messages, and what was granted.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::client::Client;
use super::command::{Command, SubscriptionKey};
use super::inbox::{self, Overflow, Receiver};
use super::message::Message;
use super::property::{Properties, Property};
use super::{QoS, ReasonCode};
use crate::{Error, Result};

/// Which retained messages a subscription gets at its start (MQTT 5; before, always all).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Retained {
    /// All that match.
    #[default]
    Send = 0,
    /// All that match, if the subscription is new.
    SendIfNew = 1,
    /// None.
    Skip = 2,
}

/// One topic filter of a subscription with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The topic filter, with `$share/group/` in front for a shared subscription.
    pub filter: String,
    /// Highest QoS wanted.
    pub qos: QoS,
    /// Whether messages published by this client are left out (MQTT 5).
    pub no_local: bool,
    /// Whether messages keep the retain flag of their publisher (MQTT 5).
    pub retain_as_published: bool,
    /// Which retained messages to get.
    pub retained: Retained,
}

impl Filter {
    /// A filter with QoS 0 and ordinary options.
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retained: Retained::Send,
        }
    }
}

impl<T: Into<String>> From<T> for Filter {
    fn from(filter: T) -> Self {
        Self::new(filter)
    }
}

/// What the broker granted for one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The topic filter.
    pub filter: String,
    /// The granted QoS as a code (0 to 2), or why it was not granted (0x80 and above).
    pub reason: ReasonCode,
}

impl Grant {
    /// The granted QoS.
    pub fn qos(&self) -> Option<QoS> {
        QoS::new(self.reason as u8)
    }
}

/// A subscription being put together; `.await` asks the broker for it.
#[must_use = "a subscription is asked for when it is awaited"]
pub struct Subscribe<'c> {
    client: &'c Client,
    filters: Vec<Filter>,
    properties: Properties,
    capacity: usize,
    overflow: Overflow,
}

impl<'c> Subscribe<'c> {
    pub(super) fn new(client: &'c Client, filters: Vec<Filter>) -> Self {
        let properties = Properties::new();
        Self { client, filters, properties, capacity: 1024, overflow: Overflow::Block }
    }

    /// Sets the QoS of all filters; 0 if not set.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.filters.iter_mut().for_each(|filter| filter.qos = qos);
        self
    }

    /// Leaves out what this client publishes (MQTT 5).
    pub fn no_local(mut self, on: bool) -> Self {
        self.filters.iter_mut().for_each(|filter| filter.no_local = on);
        self
    }

    /// Keeps the publisher's retain flag (MQTT 5).
    pub fn retain_as_published(mut self, on: bool) -> Self {
        self.filters.iter_mut().for_each(|filter| filter.retain_as_published = on);
        self
    }

    /// Which retained messages to get (MQTT 5).
    pub fn retained(mut self, retained: Retained) -> Self {
        self.filters.iter_mut().for_each(|filter| filter.retained = retained);
        self
    }

    /// Shares the messages with the other members of a group, each message going to one of them.
    pub fn shared(mut self, group: &str) -> Self {
        for filter in &mut self.filters {
            filter.filter = format!("$share/{group}/{}", filter.filter);
        }
        self
    }

    /// How many messages wait for the reader at most, and what happens to further ones; 1,024 and
    /// [`Overflow::Block`] if not set.
    pub fn buffer(mut self, capacity: usize, overflow: Overflow) -> Self {
        self.capacity = capacity;
        self.overflow = overflow;
        self
    }

    /// Adds a property to SUBSCRIBE (MQTT 5; not sent before).
    pub fn property(mut self, property: Property) -> Self {
        self.properties.set(property);
        self
    }

    /// Subscribes without a stream of its own: the messages go to the client's inbox
    /// ([`connect_with_inbox`](super::Builder::connect_with_inbox)). Refusals are in the grants, not an error.
    ///
    /// # Errors
    /// The connection's failures.
    pub async fn into_inbox(self) -> Result<Vec<Grant>> {
        let (done, answer) = oneshot::channel();
        let Self { client, filters, properties, .. } = self;
        client.send(Command::Subscribe { filters, properties, sink: None, done }).await?;
        answer.await.unwrap_or(Err(Error::Closed)).map(|(_, grants)| grants)
    }

    async fn run(self) -> Result<Subscription> {
        let Self { client, filters, properties, capacity, overflow } = self;
        let names = filters.iter().map(|filter| filter.filter.clone()).collect();
        let (sink, receiver) = inbox::inbox(capacity, overflow);
        let (done, answer) = oneshot::channel();
        client.send(Command::Subscribe { filters, properties, sink: Some(sink), done }).await?;
        let (subscribed, grants) = answer.await.unwrap_or(Err(Error::Closed))?;
        // Not granted at all is a failure; partly is the caller's to judge.
        if let Some(refused) = grants.first().filter(|_| grants.iter().all(|grant| grant.reason.is_error())) {
            return Err(Error::SubscribeRefused {
                filter: refused.filter.clone(),
                code: refused.reason as u8,
                reason: refused.reason.name().into(),
                text: None,
            });
        }
        let messages = Messages::new(receiver);
        Ok(Subscription { messages, grants, filters: names, key: subscribed.0, client: client.clone() })
    }
}

impl<'c> IntoFuture for Subscribe<'c> {
    type Output = Result<Subscription>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Subscription>> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A stream of messages. It does not end when the connection is lost and found again, only when the client is
/// closed or gives up.
pub struct Messages(Receiver);

impl Messages {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self(receiver)
    }

    /// The next message.
    ///
    /// # Errors
    /// After the last message: [`Error::Closed`], or why the client gave up.
    pub async fn next(&mut self) -> Result<Message> {
        self.0.next().await
    }

    /// A message that is already here.
    pub fn try_next(&mut self) -> Option<Message> {
        self.0.try_next()
    }

    /// As [`next`](Self::next), for hand-written futures and streams.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        self.0.poll_next(cx)
    }

    /// How many messages the overflow policy dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

/// A subscription: its messages and what was granted. Dropping it unsubscribes; until then it keeps
/// the client alive.
pub struct Subscription {
    messages: Messages,
    grants: Vec<Grant>,
    filters: Vec<String>,
    key: Option<SubscriptionKey>,
    client: Client,
}

impl Subscription {
    /// The next message.
    ///
    /// # Errors
    /// After the last message: [`Error::Closed`], or why the client gave up.
    pub async fn next(&mut self) -> Result<Message> {
        self.messages.next().await
    }

    /// A message that is already here.
    pub fn try_next(&mut self) -> Option<Message> {
        self.messages.try_next()
    }

    /// As [`next`](Self::next), for hand-written futures and streams.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        self.messages.poll_next(cx)
    }

    /// What was granted for each filter.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// How many messages the overflow policy dropped so far.
    pub fn dropped(&self) -> u64 {
        self.messages.dropped()
    }

    /// Ends the subscription and waits for the broker's answer.
    ///
    /// # Errors
    /// The connection's failures.
    pub async fn unsubscribe(mut self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let (subscription, filters) = (self.key.take(), std::mem::take(&mut self.filters));
        let properties = Properties::new();
        self.client.send(Command::Unsubscribe { subscription, filters, properties, done }).await?;
        answer.await.unwrap_or(Err(Error::Closed)).map(drop)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // The task notices the closed stream at the next message at the latest; this tells it at once when its
        // queue has room.
        if let Some(key) = self.key.take() {
            let (done, _) = oneshot::channel();
            let filters = std::mem::take(&mut self.filters);
            let properties = Properties::new();
            self.client.try_send(Command::Unsubscribe { subscription: Some(key), filters, properties, done });
        }
    }
}
