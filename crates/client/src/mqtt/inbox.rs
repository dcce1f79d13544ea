//! The bounded queue between the connection's task and one reader of messages.
//!
//! One producer (the task), one consumer (the [`Receiver`]). The consumer takes everything that waits under one
//! lock, so that a burst costs one lock and one wake-up and not one for each message. Dropping the receiver
//! closes the queue, which the producer learns at its next push.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::message::Message;
use crate::Error;

/// What happens to a message that finds its subscription's buffer full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It waits, unacknowledged; when too many wait, the client stops reading from the broker, so nothing is
    /// lost here. Messages for other subscriptions wait too, and so do answers to publishes.
    #[default]
    Block,
    /// The oldest message in the buffer is dropped and counted.
    DropOldest,
    /// The new message is dropped and counted.
    DropNewest,
}

/// What became of a pushed message.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It is in the buffer (or was dropped as the policy says): acknowledge it.
    Done,
    /// No room, and the policy is to wait.
    Full(Message),
    /// Nobody reads any more.
    Closed,
}

struct State {
    queue: VecDeque<Message>,
    dropped: u64,
    closed: bool,
    /// Why the producer ended the stream, told to the reader after the last message.
    end: Option<Error>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Shared {
    state: Mutex<State>,
    capacity: usize,
    overflow: Overflow,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; should it ever, the queue is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a queue of at most `capacity` messages (at least one).
pub(super) fn inbox(capacity: usize, overflow: Overflow) -> (Sender, Receiver) {
    let state =
        State { queue: VecDeque::new(), dropped: 0, closed: false, end: None, reader: None, writer: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), capacity: capacity.max(1), overflow });
    (Sender(shared.clone()), Receiver { shared, taken: VecDeque::new() })
}

/// The task's end.
pub(super) struct Sender(Arc<Shared>);

impl Sender {
    pub(super) fn push(&self, message: Message) -> Pushed {
        let mut state = self.0.lock();
        if state.closed {
            return Pushed::Closed;
        }
        if state.queue.len() >= self.0.capacity {
            match self.0.overflow {
                Overflow::Block => return Pushed::Full(message),
                Overflow::DropNewest => {
                    state.dropped += 1;
                    return Pushed::Done;
                }
                Overflow::DropOldest => {
                    state.queue.pop_front();
                    state.dropped += 1;
                }
            }
        }
        state.queue.push_back(message);
        let waker = state.reader.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Done
    }

    /// Ready when a push would not find the queue full.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.closed || state.queue.len() < self.0.capacity {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the stream; the reader still gets what is queued, then `error`.
    pub(super) fn end(&self, error: Error) {
        let mut state = self.0.lock();
        state.end.get_or_insert(error);
        let waker = state.reader.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The reader's end.
pub(super) struct Receiver {
    shared: Arc<Shared>,
    /// What was taken under the last lock.
    taken: VecDeque<Message>,
}

impl Receiver {
    /// The next message; `Err` after the last one when the client was closed or gave up.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        if let Some(message) = self.taken.pop_front() {
            return Poll::Ready(Ok(message));
        }
        let mut state = self.shared.lock();
        std::mem::swap(&mut state.queue, &mut self.taken);
        match self.taken.pop_front() {
            Some(message) => {
                let waker = state.writer.take();
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
                Poll::Ready(Ok(message))
            }
            None => match &state.end {
                Some(error) => Poll::Ready(Err(error.clone())),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            },
        }
    }

    pub(super) async fn next(&mut self) -> Result<Message, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// A message that is already here.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        if self.taken.is_empty() {
            let mut state = self.shared.lock();
            std::mem::swap(&mut state.queue, &mut self.taken);
            if let Some(waker) = state.writer.take() {
                drop(state);
                waker.wake();
            }
        }
        self.taken.pop_front()
    }

    /// How many messages the overflow policy dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        let waker = state.writer.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::message::Message;

    fn message(n: u8) -> Message {
        Message::new("t", vec![n])
    }

    fn read(receiver: &mut Receiver) -> Vec<u8> {
        std::iter::from_fn(|| receiver.try_next()).map(|m| m.payload[0]).collect()
    }

    #[test]
    fn overflow_policies() {
        for (overflow, kept, dropped) in [
            (Overflow::DropOldest, vec![2, 3], 2),
            (Overflow::DropNewest, vec![0, 1], 2),
            (Overflow::Block, vec![0, 1], 0),
        ] {
            let (sender, mut receiver) = inbox(2, overflow);
            let full = (0..4).filter(|&n| matches!(sender.push(message(n)), Pushed::Full(_))).count();
            assert_eq!(full, if overflow == Overflow::Block { 2 } else { 0 });
            assert_eq!(receiver.dropped(), dropped);
            assert_eq!(read(&mut receiver), kept, "{overflow:?}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_wakes_its_writer() {
        let (sender, mut receiver) = inbox(1, Overflow::Block);
        assert!(matches!(sender.push(message(0)), Pushed::Done));
        let wait = tokio::spawn(async move {
            poll_fn(|cx| sender.poll_room(cx)).await;
            matches!(sender.push(message(1)), Pushed::Done)
        });
        tokio::task::yield_now().await;
        assert_eq!(receiver.next().await.unwrap().payload[0], 0);
        assert!(wait.await.unwrap());
        assert_eq!(receiver.next().await.unwrap().payload[0], 1);
    }

    #[tokio::test]
    async fn the_end_comes_after_the_last_message() {
        let (sender, mut receiver) = inbox(4, Overflow::Block);
        sender.push(message(7));
        sender.end(Error::Closed);
        assert_eq!(receiver.next().await.unwrap().payload[0], 7);
        assert!(matches!(receiver.next().await, Err(Error::Closed)));
    }

    #[test]
    fn a_dropped_reader_closes_the_queue() {
        let (sender, receiver) = inbox(1, Overflow::Block);
        drop(receiver);
        assert!(matches!(sender.push(message(0)), Pushed::Closed));
    }
}
