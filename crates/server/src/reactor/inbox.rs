//! How other threads reach a reactor: commands in batches, one wake-up per batch.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use mio::{Poll, Token, Waker};
use parking_lot::Mutex;
use tercet_broker::journal::Position;
use tercet_broker::outbox::{CloseReason, ConnectionRef};
use tercet_broker::undurable::Deferred;
use tercet_broker::vhost::observing::FetchedValues;
use tercet_net::Transport;

use crate::auth::Verdict;
use crate::coap::context::{Outcome, Ticket};
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::FaceKind;
use std::sync::Arc;

/// What another thread asks of a reactor.
pub enum Command {
    /// Look after a new connection.
    Adopt(Box<Adoption>),
    /// These connections have output.
    Wake(Vec<ConnectionRef>),
    /// The authenticator has decided about a connection.
    Verdict(ConnectionRef, Verdict),
    /// What a request of CoAP waited for.
    Ticket(Ticket, Outcome),
    /// Look after these when the log has moved.
    Defer(Vec<Deferred>),
    /// Retained values that one of its requests has asked for.
    Values(FetchedValues),
    /// An administrator closes a connection, for this reason in words.
    Close(ConnectionRef, Box<str>),
    /// Close all connections with this reason.
    CloseAll(CloseReason),
    /// Drop everything and end the thread.
    Stop,
}

/// A connection on its way to its reactor.
pub struct Adoption {
    /// The transport, not registered anywhere.
    pub transport: Transport,
    /// Settings of the listener it came by.
    pub listener: Arc<ListenerSettings>,
    /// What it speaks.
    pub face: FaceKind,
    /// Whether another thread has spoken over it before: it wears its layers already, and they may hold input
    /// of which no event will tell.
    pub handed_over: bool,
    /// What was read by that thread and is for the face.
    pub input: Vec<u8>,
}

/// Greater than any position.
const NOTHING: u64 = u64::MAX;

/// The mailbox of a reactor.
pub struct Inbox {
    commands: Mutex<Vec<Command>>,
    waker: Waker,
    /// Set while a wake-up is under way, so that a busy reactor is not woken for each batch.
    notified: AtomicBool,
    /// Turns begun; stands still when the reactor sleeps or is stuck.
    turns: AtomicU64,
    /// The position of the log that the reactor waits for while it sleeps; [`NOTHING`] if it does not.
    awaited: AtomicU64,
    /// Connections that the reactor owns or is about to.
    pub connections: AtomicUsize,
    /// Share of time spent working, in thousandths, over the last measuring interval.
    pub load: AtomicU32,
}

impl Inbox {
    /// A mailbox whose wake-ups arrive at `poll` under `token`.
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        Ok(Self {
            commands: Mutex::default(),
            waker: Waker::new(poll.registry(), token)?,
            notified: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            awaited: AtomicU64::new(NOTHING),
            connections: AtomicUsize::new(0),
            load: AtomicU32::new(0),
        })
    }

    /// Leaves a command and wakes the reactor if it is not awake already.
    pub fn send(&self, command: Command) {
        self.commands.lock().push(command);
        self.wake();
    }

    fn wake(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            // The kernel refuses only when the counter overflows, and then the reactor is awake anyway.
            let _ = self.waker.wake();
        }
    }

    /// The reactor is awake and looks by itself.
    pub fn stop_awaiting(&self) {
        self.awaited.store(NOTHING, Ordering::Relaxed);
    }

    /// The reactor is about to sleep and wants to be woken when the log is durable up to `position`.
    /// It has to look at the watermark once more behind this call: what moved before is not told.
    pub fn await_log(&self, position: Position) {
        self.awaited.store(position.number(), Ordering::Relaxed);
        // With the fence of `log_moved`: either that sees the position, or the reactor sees the watermark.
        fence(Ordering::SeqCst);
    }

    /// The log has become durable up to `durable`, or takes work again: wakes the reactor if it waits for that. To be
    /// called by the listener of the log, behind every change.
    pub fn log_moved(&self, durable: Position) {
        fence(Ordering::SeqCst);
        let awaited = self.awaited.load(Ordering::Relaxed);
        if awaited <= durable.number()
            && self.awaited.compare_exchange(awaited, NOTHING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.wake();
        }
    }

    /// Takes all commands.
    pub fn take(&self, into: &mut Vec<Command>) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.notified.store(false, Ordering::Release);
        std::mem::swap(&mut *self.commands.lock(), into);
    }

    /// Turns that the reactor has begun.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Whether commands wait.
    pub fn is_empty(&self) -> bool {
        self.commands.lock().is_empty()
    }
}
