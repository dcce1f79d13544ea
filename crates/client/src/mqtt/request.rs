//! Requests and answers over Response Topic and Correlation Data (MQTT 5 §4.10).

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::QoS;
use super::client::Client;
use super::message::Message;
use super::property::Property;
use crate::{Error, Result};

/// A request being put together; `.await` sends it and waits for the answer.
#[must_use = "a request is sent when it is awaited"]
pub struct Request<'c> {
    client: &'c Client,
    topic: String,
    payload: Bytes,
    qos: QoS,
    timeout: Duration,
    response_topic: Option<String>,
    properties: Vec<Property>,
}

impl<'c> Request<'c> {
    pub(super) fn new(client: &'c Client, topic: String, payload: Bytes) -> Self {
        let (qos, timeout) = (QoS::AtMostOnce, Duration::from_secs(10));
        Self { client, topic, payload, qos, timeout, response_topic: None, properties: Vec::new() }
    }

    /// QoS of request and answer; 0 if not set.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// How long to wait for the answer; 10 s if not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where the answer is expected. If not set, a topic that nobody else uses is made from the broker's Response
    /// Information or the client id.
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.response_topic = Some(topic.into());
        self
    }

    /// Adds a property to the request.
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    async fn run(self) -> Result<Message> {
        let mut random = [0u8; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Invalid(format!("no random numbers: {error}")))?;
        let correlation = Bytes::copy_from_slice(&random);
        let response_topic = self.response_topic.unwrap_or_else(|| {
            let connack = self.client.connack();
            let base = connack.properties.response_information().map_or_else(
                || format!("response/{}", connack.client_id),
                |information| information.trim_end_matches('/').to_owned(),
            );
            format!("{base}/{:016x}", u128::from_ne_bytes(random) as u64)
        });
        let exchange = async {
            let mut answers = self.client.subscribe(response_topic.as_str()).qos(self.qos).await?;
            let mut publish = self.client.publish(self.topic.as_str(), self.payload).qos(self.qos);
            for property in self.properties {
                publish = publish.property(property);
            }
            publish
                .property(Property::ResponseTopic(response_topic.clone()))
                .property(Property::CorrelationData(correlation.clone()))
                .await?;
            loop {
                let answer = answers.next().await?;
                if answer.properties.correlation_data().is_none_or(|data| *data == correlation) {
                    return Ok(answer);
                }
            }
        };
        let late =
            || Error::Timeout { what: format!("a request on \"{}\"", self.topic), after: self.timeout };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

impl<'c> IntoFuture for Request<'c> {
    type Output = Result<Message>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Message>> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
