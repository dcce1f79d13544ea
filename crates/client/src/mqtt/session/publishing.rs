//! Publishing: what waits for a place, what is in flight, and who is told what became of it.

use std::collections::VecDeque;

use tercet_mqtt::inflight::{AckError, PubRecOutcome, Resend};
use tercet_mqtt::topic::validate_name;
use tercet_mqtt::{Ack, AckKind, write_ack};

use super::{Done, Session, Violation};
use crate::mqtt::command::Outgoing;
use crate::mqtt::property::Properties;
use crate::mqtt::publish::Receipt;
use crate::mqtt::{Limits, QoS, ReasonCode, wire};
use crate::{Error, Result};

/// A publish of QoS 1 or 2 that is not done.
pub(super) struct Pending {
    /// Its place among all publishes of this client.
    seq: u64,
    message: Outgoing,
    done: Done<Receipt>,
}

impl Pending {
    pub(super) fn fail(self, error: &Error) {
        drop(self.done.send(Err(error.clone())));
    }
}

/// Somebody who waits until all publishes before a point are done.
pub(super) struct Flush {
    /// The first publish that is not waited for.
    seq: u64,
    /// How many publishes of QoS 1 and 2 before it are not done.
    unfinished: usize,
    /// Where in the stream of bytes those of QoS 0 end.
    written: u64,
    done: Done<()>,
}

impl Flush {
    pub(super) fn fail(self, error: &Error) {
        drop(self.done.send(Err(error.clone())));
    }
}

impl Session {
    pub(super) fn publish(&mut self, message: Outgoing, done: Done<Receipt>) {
        if let Err(error) = self.check_publish(&message) {
            return drop(done.send(Err(error)));
        }
        if message.qos == QoS::AtMostOnce {
            match self.writer.write(&message, None, false, &mut self.out) {
                Ok(()) => {
                    self.next_seq += 1;
                    self.unwritten.push_back((self.taken + self.out.len() as u64, done));
                }
                Err(error) => drop(done.send(Err(error))),
            }
            return;
        }
        self.waiting.push_back(Pending { seq: self.next_seq, message, done });
        self.next_seq += 1;
        self.pump();
    }

    fn check_publish(&self, message: &Outgoing) -> Result<()> {
        validate_name(&message.topic, &Limits::protocol())
            .map_err(|error| Error::Invalid(format!("topic \"{}\": {error}", message.topic)))?;
        if message.qos > self.server.maximum_qos {
            return Err(Error::Unsupported(format!(
                "the broker's highest QoS is {}",
                self.server.maximum_qos
            )));
        }
        if message.retain && !self.server.retain_available {
            return Err(Error::Unsupported("the broker keeps no retained messages".into()));
        }
        match message.properties.topic_alias() {
            Some(alias) if alias == 0 || alias > self.server.alias_maximum => Err(Error::Unsupported(
                format!("topic alias {alias}: the broker takes 1 to {} of them", self.server.alias_maximum),
            )),
            _ => Ok(()),
        }
    }

    /// Sends what the last connection left unanswered, then what waits, as far as the Receive Maximum allows.
    pub(super) fn pump(&mut self) {
        while let Some(resend) = self.sending.poll_resend() {
            match resend {
                Resend::PubRel(id) => {
                    write_ack(AckKind::PubRel, self.version, id, ReasonCode::Success, &mut self.out);
                }
                Resend::Publish { id, message, .. } => {
                    let written = self.writer.write(&message.message, Some(id), true, &mut self.out);
                    // This broker takes less than the one before.
                    if let Err(error) = written
                        && let Some(publish) = self.sending.abandon(id)
                    {
                        self.ids.release(id);
                        self.finish(publish, Err(error));
                    }
                }
            }
        }
        while self.sending.can_send()
            && let Some(publish) = self.waiting.pop_front()
        {
            let Some(id) = self.ids.allocate() else {
                let error = Error::Invalid("all packet identifiers are in use".into());
                self.finish(publish, Err(error));
                continue;
            };
            if let Err(error) = self.writer.write(&publish.message, Some(id), false, &mut self.out) {
                self.ids.release(id);
                self.finish(publish, Err(error));
                continue;
            }
            let qos = publish.message.qos;
            let sent = self.sending.send(id, qos, publish);
            debug_assert!(sent.is_ok(), "there was room, and the identifier is fresh");
        }
    }

    pub(super) fn puback(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        let publish = self.sending.handle_puback(ack.packet_id);
        self.acknowledged(publish, ack, ack.reason.is_error())
    }

    pub(super) fn pubrec(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        let reason = match self.sending.handle_pubrec(ack.packet_id, ack.reason) {
            Ok(PubRecOutcome::Refused(publish)) => return self.acknowledged(Ok(publish), ack, true),
            Ok(PubRecOutcome::Release) => ReasonCode::Success,
            // An exchange that is over asks for PUBREL all the same, unless it was refused.
            Err(AckError::NotFound) if !ack.reason.is_error() => ReasonCode::PacketIdentifierNotFound,
            Err(error) => return self.acknowledged(Err(error), ack, true),
        };
        write_ack(AckKind::PubRel, self.version, ack.packet_id, reason, &mut self.out);
        Ok(())
    }

    pub(super) fn pubcomp(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        let publish = self.sending.handle_pubcomp(ack.packet_id);
        // A PUBCOMP that does not know the identifier ends the exchange as well; the message was taken before.
        self.acknowledged(publish, ack, false)
    }

    fn acknowledged(
        &mut self,
        publish: Result<Pending, AckError>,
        ack: &Ack<'_>,
        refused: bool,
    ) -> Result<(), Violation> {
        let publish = match publish {
            Ok(publish) => publish,
            // Answers to what was given up.
            Err(AckError::NotFound) => return Ok(()),
            Err(error) => return Err(Violation::Broken(error.reason(), error.to_string())),
        };
        self.ids.release(ack.packet_id);
        let properties = wire::ack(&ack.properties);
        let outcome = if refused {
            Err(Error::PublishRefused {
                topic: publish.message.topic.clone(),
                code: ack.reason as u8,
                reason: ack.reason.name().into(),
                text: properties.reason_string().map(Into::into),
            })
        } else {
            Ok(Receipt { packet_id: Some(ack.packet_id.get()), reason: ack.reason, properties })
        };
        self.finish(publish, outcome);
        self.pump();
        self.check_flushes();
        Ok(())
    }

    fn finish(&mut self, publish: Pending, outcome: Result<Receipt>) {
        for flush in self.flushes.iter_mut().filter(|flush| publish.seq < flush.seq) {
            flush.unfinished = flush.unfinished.saturating_sub(1);
        }
        drop(publish.done.send(outcome));
    }

    /// The broker forgot the session: what it had taken is done, the rest is published as if for the first time.
    pub(super) fn publish_anew(&mut self) {
        let mut again = VecDeque::new();
        for unfinished in self.sending.drain() {
            self.ids.release(unfinished.id);
            if unfinished.released {
                let (packet_id, properties) = (Some(unfinished.id.get()), Properties::new());
                let receipt = Receipt { packet_id, reason: ReasonCode::Success, properties };
                self.finish(unfinished.message, Ok(receipt));
            } else {
                again.push_back(unfinished.message);
            }
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        self.check_flushes();
    }

    pub(super) fn flush(&mut self, done: Done<()>) {
        let unfinished = self.sending.len() + self.waiting.len();
        let written = self.taken + self.out.len() as u64;
        self.flushes.push(Flush { seq: self.next_seq, unfinished, written, done });
        self.check_flushes();
    }

    pub(super) fn check_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let (taken, all_written) = (self.taken, self.unwritten.is_empty());
        for flush in std::mem::take(&mut self.flushes) {
            if flush.unfinished == 0 && (all_written || taken >= flush.written) {
                drop(flush.done.send(Ok(())));
            } else {
                self.flushes.push(flush);
            }
        }
    }

    /// The connection is gone: publishes of QoS 0 that were not written are lost.
    pub(super) fn lose_unwritten(&mut self, error: &Error) {
        for (_, done) in self.unwritten.drain(..) {
            drop(done.send(Err(error.clone())));
        }
        // Positions in the stream of bytes mean nothing on the next connection.
        self.flushes.iter_mut().for_each(|flush| flush.written = 0);
        self.check_flushes();
    }
}
