//! Things that are opened and closed again at once, over and over: connections, channels, queues.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::wire::{self, Fields, QueueFlags, WireError, kind, method};
use crate::engine::{
    Clock, Drive, Handler, Histogram, Interrupt, LinkId, LoadError, Outboxes, Tally, Watched,
};

/// What is opened and closed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    /// TCP connect, handshake to connection.open-ok, channel.open, connection.close, disconnect.
    Connection,
    /// channel.open, channel.close.
    Channel,
    /// queue.declare, queue.delete.
    Queue {
        /// Whether the queue outlives the server.
        durable: bool,
    },
}

/// A number of clients that each go through one cycle after the other.
#[derive(Debug)]
pub struct Churn {
    drive: Drive<Cycles>,
    addr: SocketAddr,
}

/// More connections than this in one run could use up the local ports.
const MAX_CONNECTIONS: u64 = 20_000;
const TURN: Duration = Duration::from_millis(10);
const CHANNEL: u16 = 1;

impl Churn {
    /// Clients for the server at `addr` that have not begun.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance.
    pub fn new(addr: SocketAddr, cycle: Cycle, interrupt: Interrupt) -> Result<Self, LoadError> {
        let load = Cycles {
            cycle,
            clock: Clock::start(),
            slots: HashMap::new(),
            vacant: 0,
            stopping: false,
            opened: 0,
            idle: 0,
            completed: 0,
            latency: Histogram::default(),
            faults: Tally::default(),
            last_reason: None,
        };
        Ok(Churn { drive: Drive::new(load, interrupt)?, addr })
    }

    /// Lets so many clients begin.
    pub fn start(&mut self, clients: usize) {
        self.drive.load.vacant = clients;
    }

    /// Goes on for `duration`, or until no more connections can be made.
    ///
    /// # Errors
    /// When interrupted, when no socket can be made, or when the server closed a connection.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), LoadError> {
        let end = Instant::now() + duration;
        while Instant::now() < end && self.drive.load.opened < MAX_CONNECTIONS {
            self.refill()?;
            self.drive.turn(TURN)?;
            if self.drive.load.faults.closed > 0 {
                let reason = self.drive.load.last_reason.clone().unwrap_or_default();
                return Err(LoadError::Closed { doing: "opening and closing", reason });
            }
        }
        Ok(())
    }

    /// Waits until the cycles that are under way are through.
    ///
    /// # Errors
    /// When they do not end.
    pub fn stop(&mut self) -> Result<(), LoadError> {
        self.drive.load.stopping = true;
        self.drive.load.vacant = 0;
        self.drive.wait("closing", |load| load.idle == load.slots.len())
    }

    /// Forgets the latencies measured so far.
    pub fn clear_histogram(&mut self) {
        self.drive.load.latency.clear();
    }

    /// Cycles that are through.
    pub fn completed(&self) -> u64 {
        self.drive.load.completed
    }

    /// How long a cycle took, in nanoseconds.
    pub fn latency(&self) -> &Histogram {
        &self.drive.load.latency
    }

    /// All faults so far.
    pub fn tally(&self) -> Tally {
        self.drive.load.faults
    }

    fn refill(&mut self) -> Result<(), LoadError> {
        while self.drive.load.vacant > 0 {
            let link = self.drive.events.connect(self.addr)?;
            let load = &mut self.drive.load;
            load.vacant -= 1;
            load.opened += 1;
            let slot = Slot { awaited: method::CONNECTION_START, since: load.clock.now() };
            load.slots.insert(link.index(), slot);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Slot {
    /// The method that must come next; none when it is not to begin anew.
    awaited: u32,
    since: u64,
}

#[derive(Debug)]
struct Cycles {
    cycle: Cycle,
    clock: Clock,
    /// By link.
    slots: HashMap<usize, Slot>,
    /// Clients that need a new connection.
    vacant: usize,
    stopping: bool,
    opened: u64,
    idle: usize,
    completed: u64,
    latency: Histogram,
    faults: Tally,
    last_reason: Option<String>,
}

const NOTHING: u32 = 0;

impl Cycles {
    /// An answer came: goes on with the cycle, or begins the next.
    fn answered(
        &mut self,
        link: LinkId,
        answer: u32,
        mut fields: Fields<'_>,
        out: &mut Outboxes,
    ) -> Result<(), WireError> {
        let now = self.clock.now();
        let Some(slot) = self.slots.get_mut(&link.index()).filter(|slot| slot.awaited == answer) else {
            return Err(WireError::Unexpected(format!("method {},{}", answer >> 16, answer & 0xFFFF)));
        };
        let mut begins = false;
        let mut ends = false;
        let (bytes, awaited) = match (answer, self.cycle) {
            (method::CONNECTION_START, _) => (wire::start_ok("guest", "guest"), method::CONNECTION_TUNE),
            (method::CONNECTION_TUNE, _) => {
                let mut bytes = wire::tune_ok(fields.u16()?, wire::FRAME_MAX, 0);
                bytes.extend_from_slice(&wire::connection_open("/").bytes);
                (bytes, method::CONNECTION_OPEN_OK)
            }
            (method::CONNECTION_OPEN_OK, cycle) => {
                begins = cycle == Cycle::Channel;
                request(wire::channel_open(CHANNEL))
            }
            (method::CHANNEL_OPEN_OK, Cycle::Connection) => request(wire::connection_close()),
            (method::CHANNEL_OPEN_OK, Cycle::Channel) => request(wire::channel_close(CHANNEL)),
            (method::CHANNEL_CLOSE_OK, _) => {
                (begins, ends) = (true, true);
                request(wire::channel_open(CHANNEL))
            }
            (method::CHANNEL_OPEN_OK | method::QUEUE_DELETE_OK, Cycle::Queue { durable }) => {
                (begins, ends) = (true, answer == method::QUEUE_DELETE_OK);
                let flags = QueueFlags { durable, passive: false };
                request(wire::queue_declare(CHANNEL, &queue_of(link), flags))
            }
            (method::QUEUE_DECLARE_OK, _) => request(wire::queue_delete(CHANNEL, &queue_of(link))),
            _ => {
                ends = true;
                (Vec::new(), NOTHING)
            }
        };
        if ends {
            self.completed += 1;
            self.latency.record(now.saturating_sub(slot.since));
        }
        if awaited == NOTHING {
            self.slots.remove(&link.index());
            self.vacant += usize::from(!self.stopping);
            out.close(link);
        } else if begins && self.stopping {
            slot.awaited = NOTHING;
            self.idle += 1;
        } else {
            if begins {
                slot.since = now;
            }
            slot.awaited = awaited;
            out.buffer(link).extend_from_slice(&bytes);
        }
        Ok(())
    }
}

fn request(request: wire::Request) -> (Vec<u8>, u32) {
    (request.bytes, request.answer)
}

fn queue_of(link: LinkId) -> String {
    format!("bench.churn.{}", link.index())
}

impl Handler for Cycles {
    fn opened(&mut self, link: LinkId, out: &mut Outboxes) {
        out.buffer(link).extend_from_slice(&wire::PROTOCOL_HEADER);
    }

    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String> {
        let wrong = |error: WireError| error.to_string();
        let mut at = 0;
        while let Some(frame) = wire::frame(&bytes[at..]).map_err(wrong)? {
            at += frame.total;
            if frame.kind == kind::HEARTBEAT {
                continue;
            }
            let mut fields = Fields(frame.payload);
            match fields.u32().map_err(wrong)? {
                method @ (method::CONNECTION_CLOSE | method::CHANNEL_CLOSE) => {
                    return Err(format!("method {method:#x} {}", wire::close_reason(fields)));
                }
                method => self.answered(link, method, fields, out).map_err(wrong)?,
            }
        }
        Ok(at)
    }

    fn closed(&mut self, link: LinkId, reason: &str, _: &mut Outboxes) {
        // Those that are through are gone from the table.
        if self.slots.remove(&link.index()).is_some() {
            self.faults.closed += 1;
            self.last_reason = Some(reason.to_owned());
        }
    }

    fn turn_end(&mut self, _: &mut Outboxes) {}
}

impl Watched for Cycles {
    fn progress(&self) -> [u64; 4] {
        [self.completed, self.opened, self.idle as u64, self.slots.len() as u64]
    }

    fn closed(&self) -> u64 {
        self.faults.closed
    }

    fn last_reason(&self) -> Option<&str> {
        self.last_reason.as_deref()
    }

    fn is_eager(&self) -> bool {
        self.vacant > 0
    }
}
