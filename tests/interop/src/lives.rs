//! A broker that is killed again and again and comes back on the same data directory, while clients work with it.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::broker::new_directory;
use crate::{Broker, Connect, Random, Wire};

/// A broker with many lives, numbered from 0.
#[derive(Debug)]
pub struct Lives {
    directory: Arc<TempDir>,
    toml: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    broker: Option<Broker>,
    /// How each life ended, and how long it let its clients wait.
    ended: Vec<End>,
    /// The longest wait for a confirmation in the life that is.
    slowest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// Just before it was killed or asked to end.
    at: Instant,
    slowest: Duration,
}

impl Lives {
    /// The first life, with a data directory of its own.
    #[must_use]
    pub fn begin(toml: &str) -> Self {
        let directory = new_directory();
        let broker = Broker::durable(&directory, toml);
        let state = State { broker: Some(broker), ended: Vec::new(), slowest: Duration::ZERO };
        Self { directory, toml: toml.into(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Ends and revives the broker until `end`, and returns how often. Mostly it is killed, some of the lives before the broker is ready;
    /// one in eight may end as it likes.
    pub fn storm(&self, random: &mut Random, end: Instant) -> usize {
        while Instant::now() < end {
            let longest = if random.once_in(4) { 400 } else { 120 };
            thread::sleep(Duration::from_millis(random.below(longest)));
            self.end(if random.once_in(8) { Broker::stop } else { Broker::kill });
            while random.once_in(5) {
                let newborn = Broker::launch(&self.directory, &self.toml);
                thread::sleep(Duration::from_millis(random.below(60)));
                newborn.kill();
                self.lock().ended.push(End { at: Instant::now(), slowest: Duration::ZERO });
            }
            self.revive();
        }
        self.count()
    }

    /// Kills the broker.
    pub fn kill(&self) {
        self.end(Broker::kill);
    }

    fn end(&self, how: fn(Broker)) {
        let broker = {
            let mut state = self.lock();
            let slowest = std::mem::take(&mut state.slowest);
            state.ended.push(End { at: Instant::now(), slowest });
            state.broker.take()
        };
        how(broker.expect("it lives"));
    }

    /// Starts the broker again.
    pub fn revive(&self) {
        let broker = Broker::durable(&self.directory, &self.toml);
        self.lock().broker = Some(broker);
        self.changed.notify_all();
    }

    /// Connects to the broker as soon as it lives: the connection, the number of this life, and whether a session was there.
    #[must_use]
    pub fn connect(&self, connect: &Connect) -> (Wire, usize, bool) {
        loop {
            let (address, life) = self.address("mqtt");
            if let Some((wire, present)) = Wire::try_connect(address, connect) {
                return (wire, life, present);
            }
            // It has died meanwhile, or is about to: its successor has another number.
            let state = self.lock();
            let _ = self.changed.wait_timeout(state, Duration::from_millis(10)).expect("not poisoned");
        }
    }

    /// How many lives have ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().ended.len()
    }

    /// Notes that a confirmation of a message took this long in `life`.
    pub fn confirmed(&self, life: usize, took: Duration) {
        let mut state = self.lock();
        if let Some(end) = state.ended.get_mut(life) {
            end.slowest = end.slowest.max(took);
        } else {
            state.slowest = state.slowest.max(took);
        }
    }

    /// Notes that a message sent at `sent` was not confirmed before `life` ended.
    pub fn unconfirmed(&self, life: usize, sent: Instant) {
        if let Some(end) = self.lock().ended.get_mut(life) {
            end.slowest = end.slowest.max(end.at.saturating_duration_since(sent));
        }
    }

    /// How long before the end of `life` the instant `at` was, and how long clients of that life waited for the slowest
    /// confirmation: what the disk and the machine took. Nothing for the life that has not ended.
    #[must_use]
    pub fn before_end(&self, life: usize, at: Instant) -> (Duration, Duration) {
        let state = self.lock();
        let end = state.ended.get(life);
        end.map_or((Duration::ZERO, Duration::ZERO), |end| {
            (end.at.saturating_duration_since(at), end.slowest)
        })
    }

    /// The broker's directory.
    #[must_use]
    pub fn directory(&self) -> &Arc<TempDir> {
        &self.directory
    }

    /// Ends the last life, politely.
    pub fn finish(self) {
        let broker = self.lock().broker.take();
        broker.expect("it lives").stop();
    }

    /// A listener of the broker as soon as it lives, by its name in the ports file, and the number of this life.
    #[must_use]
    pub fn address(&self, name: &str) -> (SocketAddr, usize) {
        let state = self.lock();
        let patience = Duration::from_secs(40);
        let (state, late) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.broker.is_none())
            .expect("not poisoned");
        assert!(!late.timed_out(), "the broker did not come back");
        let address = state.broker.as_ref().map(|broker| broker.address(name)).expect("it lives");
        (address, state.ended.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }
}
