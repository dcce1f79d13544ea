//! Which sockets have something to read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Level-triggered, so that a socket is read once for each datagram and never in vain.
#[derive(Debug)]
pub(super) struct Readiness(OwnedFd);

const AT_ONCE: usize = 256;

impl Readiness {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Readiness(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches a socket by a number, until it is closed.
    pub(super) fn watch(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.0, socket, data, epoll::EventFlags::IN)?)
    }

    /// Waits no longer than `timeout`, and hands out the numbers of those that can be read.
    pub(super) fn wait(&self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut events = Vec::with_capacity(AT_ONCE);
        match epoll::wait(&self.0, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
        ready.clear();
        ready.extend(events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
