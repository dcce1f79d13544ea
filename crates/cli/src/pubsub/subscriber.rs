//! `sub`: subscribe and print.

use std::time::Duration;

use tercet_client::mqtt::{Client, Filter, Message, Messages, QoS, Version};
use tokio::io::Stdout;

use super::connection::{connect, expired, leave};
use super::exit::{Outcome, say};
use super::filter;
use super::output::{Printed, Printer};
use super::settings::{Dialect, Settings, SubJob};
use crate::interrupt::interrupted;

/// How long the end waits for a reader of our output who does not read, when the end was not of its own making.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

pub(super) async fn run(settings: &Settings, job: &SubJob) -> Outcome {
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
    let mut reader = Reader {
        job,
        settings,
        client: &client,
        printer: Printer::stdout(job.output.clone()),
        seen: 0,
        random: Random::new(),
        cleared: false,
    };
    let outcome = tokio::select! {
        biased;
        () = interrupted() => Outcome::Interrupted,
        () = &mut deadline => Outcome::TimedOut,
        outcome = reader.read(messages) => outcome,
    };
    let early = matches!(outcome, Outcome::TimedOut | Outcome::Interrupted);
    let flushed = if early {
        tokio::time::timeout(LAST_OUTPUT, reader.printer.flush()).await.unwrap_or(Ok(()))
    } else {
        tokio::select! {
            flushed = reader.printer.flush() => flushed,
            () = interrupted() => return Outcome::Interrupted,
        }
    };
    if flushed.is_err() {
        return Outcome::OutputClosed;
    }
    if reader.cleared
        && let Err(error) = client.flush().await
    {
        return error.into();
    }
    leave(settings, &client, &outcome).await;
    outcome
}

struct Reader<'a> {
    job: &'a SubJob,
    settings: &'a Settings,
    client: &'a Client,
    printer: Printer<Stdout>,
    seen: u64,
    random: Random,
    /// Retained messages were cleared; the broker has to hear of it before the end.
    cleared: bool,
}

impl Reader<'_> {
    async fn read(&mut self, mut messages: Messages) -> Outcome {
        match self.subscribe().await {
            Ok(None) => {}
            Ok(Some(outcome)) => return outcome,
            Err(error) => return error.into(),
        }
        loop {
            let message = match messages.try_next() {
                Some(message) => message,
                None => {
                    if self.printer.flush().await.is_err() {
                        return Outcome::OutputClosed;
                    }
                    match messages.next().await {
                        Ok(message) => message,
                        Err(error) => return error.into(),
                    }
                }
            };
            match self.take(&message).await {
                Ok(true) => {}
                Ok(false) => return Outcome::Done,
                Err(outcome) => return outcome,
            }
        }
    }

    /// Subscribes and unsubscribes; an outcome if that was all or nothing was granted.
    async fn subscribe(&self) -> tercet_client::Result<Option<Outcome>> {
        let job = self.job;
        if !job.filters.is_empty() {
            let filters = job.filters.iter().map(|filter| Filter { qos: job.qos, ..Filter::new(filter) });
            let mut subscribe = self
                .client
                .subscribe_many(filters)
                .no_local(job.options.no_local)
                .retain_as_published(job.options.retain_as_published);
            if self.settings.connection.version == Version::V5 {
                for property in &job.subscribe_properties {
                    subscribe = subscribe.property(property.clone());
                }
            }
            let grants = subscribe.into_inbox().await?;
            for grant in &grants {
                if grant.reason.is_error() {
                    self.tell(&format!(
                        "subscription to \"{}\" not granted: {}",
                        grant.filter,
                        grant.reason.name()
                    ));
                } else if self.settings.talk.debug {
                    say(&format!("subscribed to \"{}\" with QoS {}\n", grant.filter, grant.reason as u8));
                }
            }
            if grants.iter().all(|grant| grant.reason.is_error()) {
                return Ok(Some(self.refused(&grants)));
            }
        }
        if !job.unsubscribe.is_empty() {
            self.client.unsubscribe(job.unsubscribe.clone(), job.unsubscribe_properties.clone()).await?;
        }
        Ok(job.exit_after_suback.then_some(Outcome::Done))
    }

    fn refused(&self, grants: &[tercet_client::mqtt::Grant]) -> Outcome {
        match (self.settings.dialect, grants.first()) {
            (Dialect::Tercet, Some(grant)) => Outcome::Client(tercet_client::Error::SubscribeRefused {
                filter: grant.filter.clone(),
                code: grant.reason as u8,
                reason: grant.reason.name().into(),
                text: None,
            }),
            _ => Outcome::Failed("All subscription requests were denied.".into()),
        }
    }

    /// Prints a message; false if it was the last one wanted.
    async fn take(&mut self, message: &Message) -> Result<bool, Outcome> {
        let job = self.job;
        if job.retained_only && !message.retain {
            return Ok(false);
        }
        if message.retain && job.no_retained
            || job.filter_out.iter().any(|it| filter::matches(it, &message.topic))
        {
            return Ok(true);
        }
        if job.remove_retained && message.retain {
            self.cleared = true;
            let clear = self.client.publish(&*message.topic, "").qos(QoS::AtLeastOnce).retain(true);
            // Waited for with all others at the end.
            drop(clear.enqueue().await?);
        }
        let shown = job.random.is_none_or(|chance| self.random.below(10_000) < chance);
        if shown {
            match self.printer.print(message).await {
                Ok(Printed::Shown) => {}
                Ok(Printed::NotJson) => {
                    self.tell(&format!(
                        "Error: Message payload is not valid JSON on topic {}.",
                        message.topic
                    ));
                }
                Err(_) => return Err(Outcome::OutputClosed),
            }
        }
        self.seen += 1;
        Ok(job.count != Some(self.seen))
    }

    fn tell(&self, text: &str) {
        if !self.settings.talk.quiet {
            say(&format!("{text}\n"));
        }
    }
}

/// A small generator (xorshift64*) for `--random-filter`; nothing depends on its quality.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(now.map_or(1, |now| now.as_nanos() as u64 | 1))
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32;
        high % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_cover_their_range() {
        let mut random = Random(1);
        let below_half = (0..10_000).filter(|_| random.below(10_000) < 5000).count();
        assert!((4_000..6_000).contains(&below_half), "{below_half}");
    }
}
