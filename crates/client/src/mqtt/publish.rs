//! Publishing: the builder, the acknowledgement that can be awaited later, and what it says.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::client::Client;
use super::command::{Command, Outgoing};
use super::property::{Properties, Property};
use super::{QoS, ReasonCode};
use crate::{Error, Result};

/// A publish being put together; `.await` sends it and waits for its acknowledgement.
#[must_use = "a publish is sent when it is awaited or enqueued"]
pub struct Publish<'c> {
    client: &'c Client,
    message: Outgoing,
}

impl<'c> Publish<'c> {
    pub(super) fn new(client: &'c Client, topic: String, payload: Bytes) -> Self {
        let properties = Properties::new();
        let message = Outgoing { topic, payload, qos: QoS::AtMostOnce, retain: false, properties };
        Self { client, message }
    }

    /// Sets the QoS; 0 if not set.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.message.qos = qos;
        self
    }

    /// Whether the broker keeps it as the topic's retained message.
    pub fn retain(mut self, retain: bool) -> Self {
        self.message.retain = retain;
        self
    }

    /// When the message becomes worthless, in whole seconds (MQTT 5).
    pub fn expiry(self, after: Duration) -> Self {
        let seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX);
        self.property(Property::MessageExpiryInterval(seconds))
    }

    /// Adds a user property (MQTT 5).
    pub fn user(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.property(Property::UserProperty(name.into(), value.into()))
    }

    /// Adds a property (MQTT 5; not sent before).
    pub fn property(mut self, property: Property) -> Self {
        self.message.properties.set(property);
        self
    }

    /// Sets all properties (MQTT 5; not sent before).
    pub fn properties(mut self, properties: Properties) -> Self {
        self.message.properties = properties;
        self
    }

    /// Hands the message to the connection's task, in order, and returns what to await for the acknowledgement.
    /// Waits only while the task's queue is full.
    ///
    /// # Errors
    /// [`Error::Closed`] when the client was closed or gave up.
    pub async fn enqueue(self) -> Result<Ack> {
        let (done, ack) = oneshot::channel();
        self.client.send(Command::Publish { message: self.message, done }).await?;
        Ok(Ack(ack))
    }
}

impl<'c> IntoFuture for Publish<'c> {
    type Output = Result<Receipt>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Receipt>> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.enqueue().await?.await })
    }
}

/// The acknowledgement to come: at PUBACK or PUBCOMP; at QoS 0 when the message was written to the connection.
#[derive(Debug)]
#[must_use = "dropping it means not wanting to know whether the broker took the message"]
pub struct Ack(oneshot::Receiver<Result<Receipt>>);

impl Ack {
    /// The outcome if it is known already.
    pub fn try_take(&mut self) -> Option<Result<Receipt>> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(Error::Closed)),
        }
    }
}

impl Future for Ack {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or(Err(Error::Closed)))
    }
}

/// What the broker said to a message that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Packet identifier; `None` at QoS 0.
    pub packet_id: Option<u16>,
    /// [`ReasonCode::Success`], or [`ReasonCode::NoMatchingSubscribers`] (MQTT 5).
    pub reason: ReasonCode,
    /// Properties of the acknowledgement (MQTT 5).
    pub properties: Properties,
}
