//! What a connected client shows to the core: a place to put deliveries.
//!
//! The face implements [`Outbox`]; the core calls it under the session's lock. Encoding happens there and then,
//! straight into the connection's output, so that a QoS 0 message is never queued as an object.

use std::sync::Arc;

use bytes::Bytes;

use crate::effects::Effects;
use crate::message::{Message, Properties, Qos};

/// Names a connection to its reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionRef {
    /// The reactor that owns the connection.
    pub reactor: u16,
    /// The slot in the reactor's table.
    pub slot: u32,
    /// Tells successive owners of a slot apart.
    pub generation: u32,
}

impl ConnectionRef {
    /// The slot that no connection has: it stands for the watches of a reactor.
    const WATCHES: u32 = u32::MAX;

    /// Names the watch with this number of a reactor, as its [`crate::watch::Watch`] wakes it.
    #[must_use]
    pub const fn watch(reactor: u16, number: u32) -> Self {
        Self { reactor, slot: Self::WATCHES, generation: number }
    }

    /// The number of the watch, if it names one and no connection.
    #[must_use]
    pub const fn as_watch(self) -> Option<u32> {
        if self.slot == Self::WATCHES { Some(self.generation) } else { None }
    }
}

/// One message for one client.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload bytes.
    pub payload: &'a [u8],
    /// The owned message, if one exists: lets large payloads be shared instead of copied.
    pub message: Option<&'a Arc<Message>>,
    /// Properties in the origin's encoding.
    pub properties: Properties<'a>,
    /// Effective guarantee for this client.
    pub qos: Qos,
    /// Retain flag to send.
    pub retain: bool,
    /// Whether an earlier attempt may have reached the client.
    pub dup: bool,
    /// Packet identifier; 0 for QoS 0.
    pub packet_id: u16,
    /// Identifiers of all matching subscriptions.
    pub subscription_ids: &'a [u32],
    /// Remaining expiry in seconds.
    pub expiry: Option<u32>,
    /// Whether other clients get the same message, so that an encoded form is worth keeping.
    pub fan_out: bool,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be written.
    Accepted,
    /// The output is full; the delivery was not taken.
    Full,
    /// The client cannot take a packet of this size [MQTT-3.1.2-24]; it must never be offered again.
    TooLarge,
}

/// Why the core closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection took the session over.
    TakenOver,
    /// An administrator closed it.
    AdministrativeAction,
    /// The client did not read and its policy says to disconnect.
    TooSlow,
    /// The server is shutting down.
    ServerShuttingDown,
}

/// Bytes taken out of an outbox, to be written by the connection's reactor.
///
/// `bytes` is one run; each entry of `shared` belongs before the byte at its offset.
#[derive(Debug, Default)]
pub struct Drained {
    /// Encoded packets, small payloads included.
    pub bytes: Vec<u8>,
    /// Large payloads, shared, with the offset in `bytes` at which each is spliced in.
    pub shared: Vec<(usize, Bytes)>,
    /// Set when the core asked for the connection to be closed after these bytes.
    pub close: Option<CloseReason>,
    /// Set when something waits for the output to be written: call [`crate::vhost::Vhost::resume`] then.
    pub resume: bool,
}

/// The output side of a connected client.
pub trait Outbox: Send {
    /// Takes one delivery. Must add the connection to `effects` if it has nothing scheduled yet.
    fn deliver(&mut self, delivery: &Delivery<'_>, effects: &mut Effects) -> Pushed;

    /// Sends the release of a QoS 2 delivery (PUBREL).
    fn release(&mut self, packet_id: u16, effects: &mut Effects);

    /// Whether queued deliveries may be handed over now; queues hold back while the client does not read.
    fn has_room(&self) -> bool;

    /// Asks for the connection to be closed after what is already in the outbox. Adds the connection to `effects`
    /// even if something is scheduled already: it may be one that cannot write.
    fn close(&mut self, reason: CloseReason, effects: &mut Effects);

    /// Why the connection is to be closed, if it is: a connection that cannot write does not drain.
    fn closing(&self) -> Option<CloseReason>;

    /// Schedules the connection for a resume without adding output.
    fn wake(&mut self, effects: &mut Effects);

    /// Swaps the pending output into `out`, which must come in empty.
    fn drain(&mut self, out: &mut Drained);

    /// Tells the outbox how many drained bytes the socket has not taken yet, so that it counts them.
    fn set_unwritten(&mut self, bytes: usize);
}
