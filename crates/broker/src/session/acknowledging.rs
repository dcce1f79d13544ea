//! What the client has received, and what a new connection of it is owed.

use std::sync::Arc;

use crate::acknowledgement::{Acknowledgement, Unknown};
use crate::effects::{Effects, GroupWork};
use crate::journal::Position;
use crate::message::Qos;
use crate::queue::Stage;
use crate::record::{QueueRecord, SessionRecord, SettleReason};
use crate::session::{Context, Session, SessionState, packet_id, sequence_of};

impl SessionState {
    /// Applies acknowledgements of the client in order, then sends what the window now allows. Identifiers that
    /// nothing is known of are reported to `unknown`.
    pub(crate) fn acknowledge(
        &mut self,
        session: &Arc<Session>,
        acknowledgements: &[Acknowledgement],
        cx: &mut Context<'_>,
        mut unknown: impl FnMut(Unknown),
    ) {
        for acknowledgement in acknowledgements {
            let id = acknowledgement.packet_id();
            let sequence = sequence_of(id, self.queue.front_sequence());
            let (qos, stage) = match self.queue.entry(sequence) {
                Some((entry, stage, _)) if stage != Stage::Ready => (entry.qos, stage),
                _ => {
                    let release = matches!(acknowledgement, Acknowledgement::Received(_));
                    unknown(Unknown { packet_id: id, release });
                    continue;
                }
            };
            match (acknowledgement, qos, stage) {
                (Acknowledgement::Done(_), Qos::AtLeastOnce, _)
                | (Acknowledgement::Refused(_), Qos::ExactlyOnce, Stage::Sent)
                | (Acknowledgement::Completed(_), Qos::ExactlyOnce, Stage::Released) => {
                    self.settle(session.id, sequence, SettleReason::Acknowledged, cx);
                    self.in_flight = self.in_flight.saturating_sub(1);
                }
                (Acknowledgement::Received(_), Qos::ExactlyOnce, _) => {
                    let mut position = Position::NONE;
                    if stage == Stage::Sent {
                        let record = SessionRecord::Queue(QueueRecord::Released { sequence });
                        (position, _) = self.commit(session.id, record, cx.journal);
                    }
                    self.release(session, id, position, cx);
                }
                // An acknowledgement of the wrong kind changes nothing.
                _ => {}
            }
        }
        self.pump(session, cx);
        self.report_credit(cx.effects);
    }

    /// Sends a release (PUBREL) once the log is durable up to `position`, and behind those that wait already.
    pub(super) fn release(
        &mut self,
        session: &Arc<Session>,
        id: u16,
        position: Position,
        cx: &mut Context<'_>,
    ) {
        let last = self.undurable.as_ref().and_then(|undurable| undurable.releases.back());
        let position = last.map_or(position, |(last, _)| position.max(*last));
        if cx.journal.is_some_and(|journal| position > journal.durable()) || last.is_some() {
            self.defer(session, position, cx.effects).releases.push_back((position, id));
        } else if let Some(outbox) = &mut self.outbox {
            outbox.release(id, cx.effects);
        }
    }

    /// Lets shared subscriptions with a backlog know that this member can take more.
    pub(crate) fn report_credit(&self, effects: &mut Effects) {
        if !self.groups.is_empty() && self.has_credit() {
            for group in self.groups.iter().filter(|group| group.has_backlog()) {
                effects.group_work.push(GroupWork::Credit(Arc::clone(group)));
            }
        }
    }

    /// Gives entries on loan back to their shared subscriptions. QoS 2 is never on loan [MQTT-4.8.2-4].
    pub(crate) fn return_loans(&mut self, session: &Session, cx: &mut Context<'_>) {
        if self.loans == 0 {
            return;
        }
        let on_loan = self.queue.iter().filter(|(_, entry, _)| entry.loan.is_some());
        let loans: Vec<u64> = on_loan.map(|(sequence, ..)| sequence).collect();
        for sequence in loans {
            self.settle(session.id, sequence, SettleReason::Returned, cx);
        }
    }

    /// Starts redelivery for a new connection: unreleased deliveries go out again, in order and marked as
    /// duplicates; for released ones the release is repeated [MQTT-4.4.0-1].
    pub(crate) fn resume(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) {
        self.resuming = false;
        let released = self.queue.rewind();
        self.in_flight = u16::try_from(released.len()).unwrap_or(u16::MAX);
        // If the records of some are not durable yet, all wait for these, so that their order is kept.
        let waiting = self.undurable.as_mut().map(|undurable| std::mem::take(&mut undurable.releases));
        let position = waiting.and_then(|waiting| waiting.back().map(|(position, _)| *position));
        for sequence in released {
            self.release(session, packet_id(sequence), position.unwrap_or_default(), cx);
        }
        self.pump(session, cx);
    }
}
