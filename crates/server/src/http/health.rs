//! Whether the server works, and whether it wants clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::reactor::inbox::{Command, Inbox};

/// How long a reactor may take for a turn before the server counts as stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How often a reactor that was woken is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Starting,
    Serving,
    Draining,
}

/// The state of the server as health checks see it.
pub struct Health {
    started: Instant,
    phase: AtomicU8,
}

impl Health {
    /// A server that starts at this moment.
    #[must_use]
    pub fn starting() -> Self {
        Self { started: Instant::now(), phase: AtomicU8::new(Phase::Starting as u8) }
    }

    /// Every listener is open and every thread runs.
    pub fn set_serving(&self) {
        self.phase.store(Phase::Serving as u8, Ordering::Release);
    }

    /// Clients are sent away, for the server is about to stop.
    pub fn set_draining(&self) {
        self.phase.store(Phase::Draining as u8, Ordering::Release);
    }

    /// Whether clients are sent away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Acquire) == Phase::Draining as u8
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Why the phase is one in which the server should get no new clients.
    #[must_use]
    pub fn reason_not_ready(&self) -> Option<&'static str> {
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Starting as u8 => Some("the server is starting"),
            phase if phase == Phase::Draining as u8 => Some("the server is shutting down"),
            _ => None,
        }
    }
}

/// Wakes every reactor and waits for it to turn; the ones that do not within `patience`.
pub(super) async fn stuck_reactors(reactors: &[Arc<Inbox>], patience: Duration) -> Vec<usize> {
    let mut waiting: Vec<_> = reactors.iter().enumerate().map(|(i, inbox)| (i, inbox.turns())).collect();
    for inbox in reactors {
        // A mailbox that is not empty has its wake-up already, and must not grow with every check.
        if inbox.is_empty() {
            inbox.send(Command::Wake(Vec::new()));
        }
    }
    let end = tokio::time::Instant::now() + patience;
    loop {
        waiting.retain(|(index, before)| reactors.get(*index).is_some_and(|inbox| inbox.turns() == *before));
        if waiting.is_empty() || tokio::time::Instant::now() >= end {
            return waiting.into_iter().map(|(index, _)| index).collect();
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_the_phases() {
        let health = Health::starting();
        assert_eq!(health.reason_not_ready(), Some("the server is starting"));
        health.set_serving();
        assert_eq!(health.reason_not_ready(), None);
        health.set_draining();
        assert_eq!(health.reason_not_ready(), Some("the server is shutting down"));
    }

    #[test]
    fn a_reactor_that_does_not_turn_is_found() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut poll = mio::Poll::new().unwrap();
        let asleep = mio::Poll::new().unwrap();
        let inbox = |poll: &mio::Poll| Arc::new(Inbox::new(poll, mio::Token(0)).unwrap());
        let (turning, stuck) = (inbox(&poll), inbox(&asleep));
        let reactors = [Arc::clone(&turning), Arc::clone(&stuck)];
        let reactor = std::thread::spawn(move || {
            let mut commands = Vec::new();
            while !commands.iter().any(|command| matches!(command, Command::Stop)) {
                commands.clear();
                poll.poll(&mut mio::Events::with_capacity(4), None).unwrap();
                turning.take(&mut commands);
            }
        });
        // The one that turns is not waited for longer than it takes, however long the patience.
        let found = runtime.block_on(stuck_reactors(&reactors[..1], Duration::from_secs(60)));
        assert!(found.is_empty(), "{found:?}");
        let short = Duration::from_millis(20);
        for _ in 0..3 {
            assert!(runtime.block_on(stuck_reactors(&reactors, short)).contains(&1));
        }
        let mut waiting = Vec::new();
        stuck.take(&mut waiting);
        assert_eq!(waiting.len(), 1, "checks must not fill the mailbox of a reactor that is stuck");
        reactors[0].send(Command::Stop);
        reactor.join().unwrap();
    }
}
