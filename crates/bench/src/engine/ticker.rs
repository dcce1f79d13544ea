//! Wakes an event loop at a fixed rate, finer than epoll's milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A periodic kernel timer (timerfd).
#[derive(Debug)]
pub struct Ticker(OwnedFd);

impl Ticker {
    /// A timer that expires every `interval` (at least 1 us), from now on.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub fn every(interval: Duration) -> io::Result<Self> {
        let interval = interval.max(Duration::from_micros(1));
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let spec = Timespec {
            tv_sec: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(interval.subsec_nanos()),
        };
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: spec, it_value: spec })?;
        Ok(Ticker(fd))
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.0.as_raw_fd()), token, Interest::READABLE)
    }

    /// Re-arms the edge; how many expiries there were does not matter, the clock tells what is due.
    pub(super) fn acknowledge(&self) {
        let mut expiries = [0u8; 8];
        // EAGAIN when somebody read it already: nothing to re-arm then.
        let _ = rustix::io::read(&self.0, &mut expiries);
    }
}
