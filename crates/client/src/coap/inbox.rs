//! A bounded queue that forgets its oldest entries: from the task of an endpoint to one waiter.
//!
//! A notification is a state, so a later one makes an earlier one worthless (RFC 7641 §1.3): a slow reader loses old
//! states, never the newest, and a peer that floods fills nothing. Either end learns when the other is gone.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    sender_gone: bool,
    receiver_gone: bool,
    reader: Option<Waker>,
    /// Waits in [`Sender::closed`].
    writer: Option<Waker>,
}

struct Shared<T>(Mutex<State<T>>);

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held; should it ever, the queue is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes whom `waker` names, outside the lock.
    fn update(&self, change: impl FnOnce(&mut State<T>) -> Option<Waker>) {
        let waker = change(&mut self.lock());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A queue of at most `capacity` entries (at least one).
pub(super) fn inbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared(Mutex::new(State {
        queue: VecDeque::new(),
        capacity: capacity.max(1),
        sender_gone: false,
        receiver_gone: false,
        reader: None,
        writer: None,
    })));
    (Sender(shared.clone()), Receiver(shared))
}

/// The end that fills.
pub(super) struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Adds an entry; a full queue loses its oldest.
    pub(super) fn push(&self, entry: T) {
        self.0.update(|state| {
            if state.queue.len() >= state.capacity {
                state.queue.pop_front();
            }
            state.queue.push_back(entry);
            state.reader.take()
        });
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().receiver_gone
    }

    /// Resolves when nobody reads any more.
    pub(super) async fn closed(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.receiver_gone {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.update(|state| {
            state.sender_gone = true;
            state.reader.take()
        });
    }
}

/// The end that reads.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next entry; `None` once the other end is gone and everything was read.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if let Some(entry) = state.queue.pop_front() {
            return Poll::Ready(Some(entry));
        }
        if state.sender_gone {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// As [`poll_next`](Self::poll_next), to be awaited.
    pub(super) async fn next(&self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.update(|state| {
            state.receiver_gone = true;
            state.writer.take()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_keeps_the_newest() {
        let (sender, receiver) = inbox(2);
        for n in 0..5 {
            sender.push(n);
        }
        assert_eq!(receiver.next().await, Some(3));
        drop(sender);
        assert_eq!(receiver.next().await, Some(4));
        assert_eq!(receiver.next().await, None);
    }

    #[tokio::test]
    async fn the_sender_learns_that_the_reader_is_gone() {
        let (sender, receiver) = inbox::<()>(1);
        assert!(!sender.is_closed());
        let waiting = tokio::spawn(async move { sender.closed().await });
        tokio::task::yield_now().await;
        drop(receiver);
        waiting.await.unwrap();
    }
}
