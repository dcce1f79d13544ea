//! A small pool of threads for password hashing, fair between peers.
//!
//! Jobs wait in one line per peer address and the lines are served in turn, so that an address that floods the pool
//! only makes its own jobs wait. All lines together are bounded, and one address gets at most half of the room.

use super::failure_limiter::PeerKey;
use super::password_hash::HashScratch;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Size of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Threads that hash, at least 1. Each needs the memory of one hash while it works.
    pub threads: usize,
    /// Requests that may wait, all addresses together; one address may take half of them.
    pub waiting: usize,
    /// A request that waited longer is answered [`Busy`](super::Verdict::Busy) without hashing: its client has
    /// most likely given up.
    pub patience: Duration,
}

impl Default for PoolLimits {
    /// Half of the processors but at least one; 16,384 waiting; 30 seconds.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: (processors / 2).max(1), waiting: 16_384, patience: Duration::from_secs(30) }
    }
}

/// Work for the pool. `None` for the scratch memory: the pool closes, answer without working.
pub(super) type Job = Box<dyn FnOnce(Option<&mut HashScratch>) + Send>;

pub(super) struct HashPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    lines: Mutex<Lines>,
    work_arrived: Condvar,
}

#[derive(Default)]
struct Lines {
    by_peer: HashMap<PeerKey, VecDeque<Job>>,
    /// Peers with a non-empty line, the next one to be served first.
    turns: VecDeque<PeerKey>,
    waiting: usize,
    capacity: usize,
    closed: bool,
}

impl HashPool {
    /// Starts the threads.
    pub(super) fn start(limits: PoolLimits) -> io::Result<Self> {
        let lines = Lines { capacity: limits.waiting, ..Lines::default() };
        let shared = Arc::new(Shared { lines: Mutex::new(lines), work_arrived: Condvar::new() });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..limits.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new().name(format!("auth-{number}"));
            pool.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Puts a job in its peer's line, or gives it back when there is no room.
    pub(super) fn submit(&self, peer: PeerKey, job: Job) -> Result<(), Job> {
        self.shared.lines.lock().push(peer, job)?;
        self.shared.work_arrived.notify_one();
        Ok(())
    }
}

impl Drop for HashPool {
    /// Waits for the hashes that are being computed; jobs still waiting are answered without working.
    fn drop(&mut self) {
        self.shared.lines.lock().closed = true;
        self.shared.work_arrived.notify_all();
        for thread in self.threads.drain(..) {
            // The last owner may be an answer that runs on one of the threads.
            if thread.thread().id() != thread::current().id() {
                // A panic in a job was reported by the thread itself.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut scratch = HashScratch::default();
        let mut lines = self.lines.lock();
        loop {
            let closed = lines.closed;
            match lines.pop() {
                Some(job) => {
                    drop(lines);
                    // A panic is a defect in one answer (and was reported); the pool must outlive it.
                    let work = AssertUnwindSafe(|| job((!closed).then_some(&mut scratch)));
                    let _ = panic::catch_unwind(work);
                    lines = self.lines.lock();
                }
                None if closed => return,
                None => {
                    // Idle: give the memory back.
                    scratch = HashScratch::default();
                    self.work_arrived.wait(&mut lines);
                }
            }
        }
    }
}

impl Lines {
    fn push(&mut self, peer: PeerKey, job: Job) -> Result<(), Job> {
        let own = self.by_peer.get(&peer).map_or(0, VecDeque::len);
        if self.closed || self.waiting >= self.capacity || own >= self.capacity.div_ceil(2) {
            return Err(job);
        }
        if own == 0 {
            self.turns.push_back(peer);
        }
        self.by_peer.entry(peer).or_default().push_back(job);
        self.waiting += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<Job> {
        let peer = self.turns.pop_front()?;
        let line = self.by_peer.get_mut(&peer)?;
        let job = line.pop_front()?;
        if line.is_empty() {
            self.by_peer.remove(&peer);
        } else {
            self.turns.push_back(peer);
        }
        self.waiting -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::PeerOrigin;
    use std::sync::mpsc;

    fn peer(last: u8) -> PeerKey {
        PeerOrigin::direct([192, 0, 2, last].into()).into()
    }

    fn reporting(name: &'static str, to: &mpsc::Sender<(&'static str, bool)>) -> Job {
        let to = to.clone();
        Box::new(move |scratch| to.send((name, scratch.is_some())).unwrap())
    }

    #[test]
    fn peers_take_turns() {
        let (send, receive) = mpsc::channel();
        let mut lines = Lines { capacity: 8, ..Lines::default() };
        for (from, name) in [(1, "flood 1"), (1, "flood 2"), (1, "flood 3"), (2, "other")] {
            assert!(lines.push(peer(from), reporting(name, &send)).is_ok());
        }
        while let Some(job) = lines.pop() {
            job(None);
        }
        drop(send);
        let order: Vec<_> = receive.iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["flood 1", "other", "flood 2", "flood 3"]);
        assert!(lines.by_peer.is_empty() && lines.turns.is_empty() && lines.waiting == 0);
    }

    #[test]
    fn room_is_bounded_and_one_peer_gets_half_of_it() {
        let mut lines = Lines { capacity: 4, ..Lines::default() };
        let accepted = |lines: &mut Lines, from| lines.push(peer(from), Box::new(|_| {})).is_ok();
        assert_eq!([1, 1, 1].map(|from| accepted(&mut lines, from)), [true, true, false]);
        assert_eq!([2, 3, 4].map(|from| accepted(&mut lines, from)), [true, true, false]);
    }

    #[test]
    fn a_closing_pool_answers_everyone() {
        let (send, receive) = mpsc::channel();
        let (release, blocked) = mpsc::channel::<()>();
        let limits = PoolLimits { threads: 1, ..PoolLimits::default() };
        let pool = HashPool::start(limits).unwrap();
        let (started, running) = mpsc::channel();
        let blocker: Job = Box::new(move |_| {
            started.send(()).unwrap();
            blocked.recv().unwrap();
        });
        assert!(pool.submit(peer(1), blocker).is_ok());
        running.recv().unwrap();
        assert!(pool.submit(peer(1), reporting("waiting", &send)).is_ok());
        let shared = Arc::clone(&pool.shared);
        let closing = thread::spawn(move || drop(pool));
        while !shared.lines.lock().closed {
            thread::yield_now();
        }
        assert!(shared.lines.lock().push(peer(2), Box::new(|_| {})).is_err());
        release.send(()).unwrap();
        closing.join().unwrap();
        assert_eq!(receive.recv(), Ok(("waiting", false)));
    }
}
