//! A connected client as the core sees it, and what it was sent.

use std::sync::{Arc, Mutex, MutexGuard};

use tercet_broker::effects::Effects;
use tercet_broker::outbox::{CloseReason, ConnectionRef, Delivery, Drained, Outbox, Pushed};
use tercet_broker::vhost::connection::Attachment;

/// Something a client was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Publish {
        topic: String,
        payload: String,
        qos: u8,
        retain: bool,
        dup: bool,
        id: u16,
        ids: Vec<u32>,
        expiry: Option<u32>,
    },
    Release(u16),
}

impl Got {
    pub fn payload(&self) -> &str {
        match self {
            Self::Publish { payload, .. } => payload,
            Self::Release(_) => "(release)",
        }
    }

    pub fn id(&self) -> u16 {
        match self {
            Self::Publish { id, .. } | Self::Release(id) => *id,
        }
    }
}

/// The output of one connection.
#[derive(Default)]
pub struct Line {
    /// Everything sent and not yet looked at by the test.
    pub got: Vec<Got>,
    /// Deliveries not yet written to the socket.
    pub unwritten: usize,
    /// Deliveries that may be unwritten before queued ones are held back.
    pub room: usize,
    /// Deliveries that may be unwritten before QoS 0 is refused.
    pub limit: usize,
    /// Payload bytes of the largest packet the client takes.
    pub max_packet: usize,
    /// Whether the client reads; if not, what is sent stays unwritten.
    pub reading: bool,
    pub close: Option<CloseReason>,
    pub scheduled: bool,
    pub resume: bool,
}

/// The outbox that the core holds.
pub struct TestOutbox {
    pub connection: ConnectionRef,
    pub line: Arc<Mutex<Line>>,
}

impl TestOutbox {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }

    fn schedule(&self, line: &mut Line, effects: &mut Effects) {
        if !line.scheduled {
            line.scheduled = true;
            effects.wakes.push(self.connection);
        }
    }
}

impl Outbox for TestOutbox {
    fn deliver(&mut self, delivery: &Delivery<'_>, effects: &mut Effects) -> Pushed {
        let mut line = self.line();
        if delivery.qos as u8 == 0 && line.unwritten >= line.limit {
            return Pushed::Full;
        }
        if delivery.payload.len() > line.max_packet {
            return Pushed::TooLarge;
        }
        line.got.push(Got::Publish {
            topic: delivery.topic.to_owned(),
            payload: String::from_utf8_lossy(delivery.payload).into_owned(),
            qos: delivery.qos as u8,
            retain: delivery.retain,
            dup: delivery.dup,
            id: delivery.packet_id,
            ids: delivery.subscription_ids.to_vec(),
            expiry: delivery.expiry,
        });
        line.unwritten += 1;
        self.schedule(&mut line, effects);
        Pushed::Accepted
    }

    fn release(&mut self, packet_id: u16, effects: &mut Effects) {
        let mut line = self.line();
        line.got.push(Got::Release(packet_id));
        self.schedule(&mut line, effects);
    }

    fn has_room(&self) -> bool {
        let mut line = self.line();
        let room = line.unwritten < line.room;
        line.resume |= !room;
        room
    }

    fn close(&mut self, reason: CloseReason, effects: &mut Effects) {
        let mut line = self.line();
        line.close = Some(reason);
        line.scheduled = true;
        effects.wakes.push(self.connection);
    }

    fn closing(&self) -> Option<CloseReason> {
        self.line().close
    }

    fn wake(&mut self, effects: &mut Effects) {
        let mut line = self.line();
        line.resume = true;
        self.schedule(&mut line, effects);
    }

    fn drain(&mut self, out: &mut Drained) {
        let mut line = self.line();
        line.scheduled = false;
        line.unwritten = 0;
        out.close = line.close;
        out.resume = std::mem::take(&mut line.resume);
    }

    fn set_unwritten(&mut self, bytes: usize) {
        self.line().unwritten = bytes;
    }
}

/// A connected client.
pub struct Client {
    pub attachment: Attachment,
    pub line: Arc<Mutex<Line>>,
    pub session_present: bool,
    pub connection: ConnectionRef,
}

impl Client {
    pub fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }

    /// Takes what was sent since the last call.
    pub fn take(&self) -> Vec<Got> {
        std::mem::take(&mut self.line().got)
    }

    /// Takes the payloads of what was sent since the last call.
    pub fn payloads(&self) -> Vec<String> {
        self.take().iter().map(|got| got.payload().to_owned()).collect()
    }

    pub fn closed(&self) -> Option<CloseReason> {
        self.line().close
    }
}

/// The parts of a shared filter: share name, if it is one, and path.
pub fn share(filter: &str) -> (Option<&str>, &str) {
    match tercet_broker::vhost::subscribing::split_share(filter) {
        Some((share, path)) => (Some(share), path),
        None => (None, filter),
    }
}
