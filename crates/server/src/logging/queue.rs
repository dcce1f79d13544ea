//! A bounded buffer of log lines between the threads that log and the one that writes.
//!
//! Lines are appended to one byte buffer under a short lock and written out in large pieces: the writer
//! swaps the filled buffer for an empty one, so neither side holds the lock during I/O.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Room that a buffer keeps after a burst.
const KEPT_BYTES: usize = 64 << 10;

/// The buffer.
#[derive(Debug)]
pub(super) struct LineQueue {
    state: Mutex<State>,
    /// Lines arrived, or the queue was closed.
    filled: Condvar,
    /// Everything so far is written.
    drained: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// The writer has taken lines that are not written yet.
    writing: bool,
    /// The writer sleeps until `filled`.
    asleep: bool,
    closed: bool,
    dropped: u64,
    dropped_reported: u64,
}

/// What the writer finds.
struct Taken {
    lines: Vec<u8>,
    newly_dropped: u64,
}

impl LineQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), drained: Condvar::new(), capacity }
    }

    /// Appends a line, or drops and counts it when the buffer is full.
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.lines.len() + line.len() > self.capacity {
            state.dropped += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        let wake = std::mem::replace(&mut state.asleep, false);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Takes all lines, leaving `empty` in their place; waits for some. `None` once closed and empty.
    fn take(&self, empty: Vec<u8>) -> Option<Taken> {
        let mut state = self.state.lock();
        state.writing = false;
        while state.lines.is_empty() && state.dropped == state.dropped_reported {
            self.drained.notify_all();
            if state.closed {
                return None;
            }
            state.asleep = true;
            self.filled.wait(&mut state);
        }
        state.asleep = false;
        state.writing = true;
        let newly_dropped = state.dropped - state.dropped_reported;
        state.dropped_reported = state.dropped;
        Some(Taken { lines: std::mem::replace(&mut state.lines, empty), newly_dropped })
    }

    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while !state.lines.is_empty() || state.writing {
            if self.drained.wait_until(&mut state, deadline).timed_out() {
                return state.lines.is_empty() && !state.writing;
            }
        }
        true
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }
}

/// One line on its way into the queue. The formatter hands over each line in a single write.
pub(super) struct Line(pub(super) Arc<LineQueue>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines until the queue is closed. Errors of the output are ignored: there is nowhere to report them.
pub(super) fn write_lines(queue: &LineQueue, mut out: impl Write, json: bool) {
    let mut spare = Vec::new();
    while let Some(Taken { mut lines, newly_dropped }) = queue.take(spare) {
        let _ = out.write_all(&lines);
        if newly_dropped > 0 {
            let notice = if json {
                format!(
                    "{{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"dropped\":{newly_dropped},\"target\":\"tercet::log\"}}\n"
                )
            } else {
                format!("WARN tercet::log: log lines were dropped dropped={newly_dropped}\n")
            };
            let _ = out.write_all(notice.as_bytes());
        }
        let _ = out.flush();
        lines.clear();
        lines.shrink_to(KEPT_BYTES);
        spare = lines;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes one piece only when told to.
    struct Gate {
        open: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(io::Error::other)?;
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_output_drops_lines_and_says_so() {
        let queue = Arc::new(LineQueue::new(10));
        let (open, gate) = mpsc::channel();
        let (written, out) = mpsc::channel();
        queue.push(b"first\n");
        let writer = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || write_lines(&queue, Gate { open: gate, written }, false))
        };
        // The writer holds "first" at the closed gate once the buffer is empty again.
        while !queue.state.lock().writing {
            std::thread::yield_now();
        }
        queue.push(b"second\n");
        queue.push(b"third\n");
        queue.push(b"fourth\n");
        assert_eq!(queue.dropped(), 2);
        assert!(!queue.flush(Duration::ZERO));
        for _ in 0..3 {
            open.send(()).unwrap();
        }
        assert!(queue.flush(Duration::from_secs(60)));
        queue.close();
        writer.join().unwrap();
        let pieces: Vec<_> = out.iter().map(|piece| String::from_utf8(piece).unwrap()).collect();
        assert_eq!(pieces, ["first\n", "second\n", "WARN tercet::log: log lines were dropped dropped=2\n"]);
    }

    #[test]
    fn closing_writes_what_is_left() {
        let queue = Arc::new(LineQueue::new(1000));
        for i in 0..50 {
            queue.push(format!("{i}\n").as_bytes());
        }
        queue.close();
        let mut out = Vec::new();
        write_lines(&queue, &mut out, true);
        let expected: String = (0..50).map(|i| format!("{i}\n")).collect();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
