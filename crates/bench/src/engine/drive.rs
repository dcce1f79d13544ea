//! The steps that every run is made of: go on for a while, wait for something, give up without progress.

use std::io;
use std::time::{Duration, Instant};

use super::event_loop::{EventLoop, Handler};
use super::interrupt::Interrupt;

/// Why a run could not be carried through.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The load generator's own sockets failed.
    #[error("load generator: {0}")]
    Io(#[from] io::Error),
    /// The server did not do in time what the run waits for.
    #[error("no progress for {seconds} s while {doing}{reason}")]
    Stalled {
        /// What was waited for.
        doing: &'static str,
        /// How long without any progress.
        seconds: u64,
        /// Why the server closed a connection, if it did.
        reason: String,
    },
    /// The server closed a connection during the preparations.
    #[error("connection lost while {doing}: {reason}")]
    Closed {
        /// What was under way.
        doing: &'static str,
        /// Why.
        reason: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// A load that can be seen to get on, or not.
pub trait Watched: Handler {
    /// Counts of which at least one grows while there is progress.
    fn progress(&self) -> [u64; 4];

    /// Connections that the server closed or refused.
    fn closed(&self) -> u64;

    /// Why the last of them was closed.
    fn last_reason(&self) -> Option<&str>;

    /// Whether there is something to do before anything arrives.
    fn is_eager(&self) -> bool;
}

/// An event loop with the load that it carries.
#[derive(Debug)]
pub struct Drive<L> {
    /// The sockets.
    pub events: EventLoop,
    /// The state of all clients.
    pub load: L,
    interrupt: Interrupt,
}

/// Without any progress for so long, a step has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without any progress for so long, what is missing is taken for lost.
const GIVE_UP: Duration = Duration::from_secs(3);
/// How often Ctrl-C is looked for while nothing happens.
const HEARTBEAT: Duration = Duration::from_millis(50);

impl<L: Watched> Drive<L> {
    /// A load without connections.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance.
    pub fn new(load: L, interrupt: Interrupt) -> Result<Self, LoadError> {
        Ok(Drive { events: EventLoop::new()?, load, interrupt })
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// When interrupted or when polling fails.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), LoadError> {
        let end = Instant::now() + duration;
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.turn((end - now).min(HEARTBEAT))?;
        }
    }

    /// Runs until `reached`, as long as there is progress.
    ///
    /// # Errors
    /// [`LoadError::Stalled`] without progress for ten seconds, [`LoadError::Closed`] when the server closes
    /// a connection meanwhile.
    pub fn wait(&mut self, doing: &'static str, reached: impl Fn(&L) -> bool) -> Result<(), LoadError> {
        let closed_before = self.load.closed();
        if !self.advance(PATIENCE, |load| reached(load) || load.closed() > closed_before)? {
            let reason = self.load.last_reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
            return Err(LoadError::Stalled { doing, seconds: PATIENCE.as_secs(), reason });
        }
        if reached(&self.load) {
            return Ok(());
        }
        Err(LoadError::Closed { doing, reason: self.load.last_reason().unwrap_or_default().to_owned() })
    }

    /// Runs until `reached`; gives up without complaint when nothing has come for three seconds, as the load
    /// then tells what is missing.
    ///
    /// # Errors
    /// When interrupted or when polling fails.
    pub fn wait_or_give_up(&mut self, reached: impl Fn(&L) -> bool) -> Result<(), LoadError> {
        self.advance(GIVE_UP, reached).map(|_| ())
    }

    /// Runs one turn of the loop, which waits no longer than `timeout` for something to arrive.
    ///
    /// # Errors
    /// When interrupted or when polling fails.
    pub fn turn(&mut self, timeout: Duration) -> Result<(), LoadError> {
        if self.interrupt.is_raised() {
            return Err(LoadError::Interrupted);
        }
        let timeout = if self.load.is_eager() { Duration::ZERO } else { timeout };
        Ok(self.events.turn(Some(timeout), &mut self.load)?)
    }

    /// Runs until `reached` (true), or until nothing has arrived for `patience` (false).
    fn advance(&mut self, patience: Duration, reached: impl Fn(&L) -> bool) -> Result<bool, LoadError> {
        let mut progress = self.load.progress();
        let mut since = Instant::now();
        while !reached(&self.load) {
            self.turn(HEARTBEAT)?;
            let current = self.load.progress();
            if current != progress {
                progress = current;
                since = Instant::now();
            } else if since.elapsed() > patience {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
