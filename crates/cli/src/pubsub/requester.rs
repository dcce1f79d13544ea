//! `req`: publish a request and print the response.

use bytes::Bytes;
use tercet_client::mqtt::{Client, Messages, Property, ReasonCode, Version};

use super::connection::{connect, expired, leave};
use super::exit::Outcome;
use super::output::Printer;
use super::publisher::one_payload;
use super::settings::{Dialect, ReqJob, Settings};
use crate::interrupt::interrupted;

pub(super) async fn run(settings: &Settings, job: &ReqJob) -> Outcome {
    let payload = match one_payload(&job.publish.payload) {
        Ok(payload) => payload,
        Err(outcome) => return outcome,
    };
    let deadline = expired(job.timeout);
    tokio::pin!(deadline);
    let connected = tokio::select! {
        connected = connect(settings) => connected,
        () = &mut deadline => return Outcome::TimedOut,
        () = interrupted() => return Outcome::Interrupted,
    };
    let (client, messages) = match connected {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    let outcome = tokio::select! {
        outcome = exchange(settings, job, payload, &client, messages) => outcome.unwrap_or_else(Into::into),
        () = &mut deadline => Outcome::TimedOut,
        () = interrupted() => Outcome::Interrupted,
    };
    leave(settings, &client, &outcome).await;
    outcome
}

async fn exchange(
    settings: &Settings,
    job: &ReqJob,
    payload: Bytes,
    client: &Client,
    mut messages: Messages,
) -> tercet_client::Result<Outcome> {
    let v5 = settings.connection.version == Version::V5;
    let response_topic = job.response_topic.clone().unwrap_or_else(|| own_topic(client));
    let mut subscribe = client.subscribe(response_topic.as_str()).qos(job.publish.qos);
    if v5 {
        for property in &job.subscribe_properties {
            subscribe = subscribe.property(property.clone());
        }
    }
    if let Some(grant) = subscribe.into_inbox().await?.first().filter(|grant| grant.reason.is_error()) {
        return Ok(Outcome::Failed(grant.reason.name().into()));
    }
    let mut properties = job.publish.properties.clone();
    if v5 {
        properties.set(Property::ResponseTopic(response_topic));
    }
    // Ours are told apart by correlation data; mosquitto_rr sends none of its own and takes the first message.
    let ours = v5 && settings.dialect == Dialect::Tercet;
    if ours && properties.correlation_data().is_none() {
        properties.set(Property::CorrelationData(Bytes::from(format!("{:032x}", unique()))));
    }
    let correlation = properties.correlation_data().cloned().filter(|_| ours);
    let receipt = client
        .publish(job.publish.topic.as_str(), payload)
        .qos(job.publish.qos)
        .retain(job.publish.retain)
        .properties(properties)
        .await?;
    if receipt.reason == ReasonCode::NoMatchingSubscribers && settings.dialect == Dialect::Tercet {
        return Ok(Outcome::Failed(format!("nobody listens for requests on \"{}\"", job.publish.topic)));
    }
    let answer = loop {
        let message = messages.next().await?;
        let stale = message.retain && job.no_retained;
        let foreign = message
            .properties
            .correlation_data()
            .is_some_and(|data| correlation.as_ref().is_some_and(|ours| data != ours));
        if !stale && !foreign {
            break message;
        }
    };
    let mut printer = Printer::stdout(job.output.clone());
    if printer.print(&answer).await.is_err() || printer.flush().await.is_err() {
        return Ok(Outcome::OutputClosed);
    }
    Ok(Outcome::Done)
}

/// A topic that nobody else uses.
fn own_topic(client: &Client) -> String {
    let connack = client.connack();
    let base = connack.properties.response_information().map_or_else(
        || format!("response/{}", connack.client_id.replace(['+', '#'], "-")),
        |information| information.trim_end_matches('/').to_owned(),
    );
    format!("{base}/{:016x}", unique() as u64)
}

/// A number that no other request uses: the time and this process.
fn unique() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos()) << 32 ^ u128::from(std::process::id())
}
