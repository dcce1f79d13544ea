//! `pub`: one message, the same one several times, or every line of stdin.

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use bytes::Bytes;
use tercet_client::mqtt::{Ack, Client};
use tokio::sync::mpsc;

use super::connection::{connect, leave};
use super::exit::{Outcome, say};
use super::settings::{Payload, PubJob, Settings};
use crate::interrupt::interrupted;

/// Acknowledgements that are waited for at the same time.
const PENDING: usize = 4096;
/// Lines handed over at once.
const LINES: usize = 512;

pub(super) async fn run(settings: &Settings, job: &PubJob) -> Outcome {
    let payload = match payload(&job.payload) {
        Ok(payload) => payload,
        Err(outcome) => return outcome,
    };
    let (client, _) = match connect(settings).await {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    let work = async {
        let sender = Sender { client: &client, job, settings, pending: VecDeque::new(), failure: None };
        match payload {
            Some(payload) => sender.repeat(payload).await,
            None => sender.lines().await,
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupted() => Outcome::Interrupted,
    };
    leave(settings, &client, &outcome).await;
    outcome
}

/// The payload, or `None` when each line of stdin is one.
fn payload(source: &Payload) -> Result<Option<Bytes>, Outcome> {
    Ok(Some(match source {
        Payload::Text(text) => Bytes::copy_from_slice(text),
        Payload::Null => Bytes::new(),
        Payload::Lines => return Ok(None),
        Payload::File(path) => std::fs::read(path)
            .map_err(|error| Outcome::Failed(format!("cannot read {}: {error}", path.display())))?
            .into(),
        Payload::Stdin => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Outcome::Failed(format!("cannot read stdin: {error}")))?;
            bytes.into()
        }
    }))
}

/// Reads a message that `req` sends.
pub(super) fn one_payload(source: &Payload) -> Result<Bytes, Outcome> {
    payload(source)?.ok_or_else(|| Outcome::Failed("a request is one message; use -s, not -l".into()))
}

struct Sender<'a> {
    client: &'a Client,
    job: &'a PubJob,
    settings: &'a Settings,
    pending: VecDeque<Ack>,
    /// The first message that was not taken; later ones are sent all the same.
    failure: Option<Outcome>,
}

impl Sender<'_> {
    async fn repeat(mut self, payload: Bytes) -> Outcome {
        for n in 0..self.job.repeat {
            if n > 0 && !self.job.repeat_delay.is_zero() {
                tokio::time::sleep(self.job.repeat_delay).await;
            }
            if let Err(outcome) = self.send(payload.clone()).await {
                return outcome;
            }
        }
        self.finish().await
    }

    async fn lines(mut self) -> Outcome {
        let mut lines = read_lines();
        while let Some(batch) = lines.recv().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Outcome::Failed(format!("cannot read stdin: {error}")),
            };
            for line in batch {
                if let Err(outcome) = self.send(line).await {
                    return outcome;
                }
            }
        }
        self.finish().await
    }

    async fn send(&mut self, payload: Bytes) -> Result<(), Outcome> {
        let publish =
            self.client.publish(self.job.topic.as_str(), payload).qos(self.job.qos).retain(self.job.retain);
        self.pending.push_back(publish.properties(self.job.properties.clone()).enqueue().await?);
        if self.pending.len() >= PENDING {
            // Half at once, so that not every message has to wait for the oldest one.
            while self.pending.len() > PENDING / 2 {
                self.settle().await?;
            }
        }
        Ok(())
    }

    /// Takes the oldest acknowledgement.
    async fn settle(&mut self) -> Result<(), Outcome> {
        let Some(ack) = self.pending.pop_front() else { return Ok(()) };
        match ack.await {
            Ok(_) => Ok(()),
            Err(error @ tercet_client::Error::PublishRefused { .. }) => {
                if self.settings.talk.debug {
                    say(&format!("{error}\n"));
                }
                self.failure.get_or_insert(Outcome::Client(error));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn finish(mut self) -> Outcome {
        while !self.pending.is_empty() {
            if let Err(outcome) = self.settle().await {
                return outcome;
            }
        }
        self.failure.unwrap_or(Outcome::Done)
    }
}

/// Reads stdin on a thread of its own: a terminal or a slow pipe must not hold up the connection.
fn read_lines() -> mpsc::Receiver<std::io::Result<Vec<Bytes>>> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        let mut stdin = std::io::BufReader::with_capacity(256 * 1024, std::io::stdin());
        loop {
            let batch = read_batch(&mut stdin);
            let last = !matches!(&batch, Ok(lines) if !lines.is_empty());
            if matches!(&batch, Ok(lines) if lines.is_empty()) || sender.blocking_send(batch).is_err() || last
            {
                return;
            }
        }
    });
    receiver
}

/// The lines that are at hand, at least one; none at the end.
fn read_batch(input: &mut std::io::BufReader<impl Read>) -> std::io::Result<Vec<Bytes>> {
    let mut lines = Vec::new();
    while lines.len() < LINES {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        lines.push(Bytes::from(line));
        // Do not wait for more while there is something to send.
        if !input.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_and_the_last_one_may_lack_its_end() {
        let mut input = std::io::BufReader::new(&b"one\n\ntwo\r\nthree"[..]);
        let mut lines = Vec::new();
        loop {
            let batch = read_batch(&mut input).unwrap();
            if batch.is_empty() {
                break;
            }
            lines.extend(batch);
        }
        assert_eq!(lines, [&b"one"[..], b"", b"two\r", b"three"]);
    }
}
