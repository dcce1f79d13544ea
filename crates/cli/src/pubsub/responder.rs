//! `reply`: answer requests.

use std::ffi::OsString;
use std::process::Stdio;

use bytes::Bytes;
use tercet_client::mqtt::{Client, Message, Messages, Property};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::connection::{connect, expired, leave};
use super::exit::{Outcome, say};
use super::settings::{Answer, ReplyJob, Settings};
use crate::interrupt::interrupted;

/// Commands that run at the same time.
const CONCURRENT: usize = 16;

pub(super) async fn run(settings: &Settings, job: &ReplyJob) -> Outcome {
    let (client, messages) = match connect(settings).await {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    let outcome = tokio::select! {
        outcome = serve(settings, job, &client, messages) => outcome.unwrap_or_else(Into::into),
        () = expired(job.timeout) => Outcome::TimedOut,
        () = interrupted() => Outcome::Interrupted,
    };
    leave(settings, &client, &outcome).await;
    outcome
}

async fn serve(
    settings: &Settings,
    job: &ReplyJob,
    client: &Client,
    mut messages: Messages,
) -> tercet_client::Result<Outcome> {
    let quiet = settings.talk.quiet;
    let grants = client.subscribe(job.filter.as_str()).qos(job.qos).into_inbox().await?;
    if let Some(grant) = grants.first().filter(|grant| grant.reason.is_error()) {
        return Err(tercet_client::Error::SubscribeRefused {
            filter: grant.filter.clone(),
            code: grant.reason as u8,
            reason: grant.reason.name().into(),
            text: None,
        });
    }
    if !quiet {
        say(&format!("answering requests on \"{}\"\n", job.filter));
    }
    let mut running = JoinSet::new();
    let mut taken = 0;
    while job.count != Some(taken) {
        let request = messages.next().await?;
        let Some(topic) = request.properties.response_topic().map(str::to_owned) else {
            if !quiet {
                say(&format!("no response topic in a message on \"{}\"\n", request.topic));
            }
            continue;
        };
        taken += 1;
        if job.verbose && !quiet {
            say(&format!("{} -> {topic}: {}\n", request.topic, String::from_utf8_lossy(&request.payload)));
        }
        if running.len() >= CONCURRENT {
            running.join_next().await;
        }
        running.spawn(answer(client.clone(), job.clone(), topic, request, quiet));
    }
    while running.join_next().await.is_some() {}
    client.flush().await?;
    Ok(Outcome::Done)
}

async fn answer(client: Client, job: ReplyJob, topic: String, request: Message, quiet: bool) {
    let mut properties = job.properties;
    if let Some(data) = request.properties.correlation_data() {
        properties.set(Property::CorrelationData(data.clone()));
    }
    let payload = match job.answer {
        Answer::Echo => request.payload.clone(),
        Answer::Fixed(text) => text.into(),
        Answer::Exec(command) => match execute(&command, &request).await {
            Ok((output, 0)) => output,
            Ok((output, code)) => {
                // The requester may want to know; there is no other way to tell it.
                properties.set(Property::UserProperty("exit-code".into(), code.to_string()));
                output
            }
            Err(error) => {
                if !quiet {
                    say(&format!("error: cannot run {}: {error}\n", command.to_string_lossy()));
                }
                return;
            }
        },
    };
    let sent = client.publish(topic.as_str(), payload).qos(job.qos).properties(properties).await;
    if let Err(error) = sent
        && !quiet
    {
        say(&format!("error: answer on \"{topic}\": {error}\n"));
    }
}

/// Runs a shell command with the request on its standard input; what it prints, and its exit code.
async fn execute(command: &OsString, request: &Message) -> std::io::Result<(Bytes, i32)> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("TERCET_TOPIC", &*request.topic)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let input = child.stdin.take();
    let payload = request.payload.clone();
    let feed = async move {
        if let Some(mut input) = input {
            // A command that does not read its input is no error.
            let _ = input.write_all(&payload).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output?;
    Ok((output.stdout.into(), output.status.code().unwrap_or(-1)))
}
