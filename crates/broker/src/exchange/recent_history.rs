//! The latest messages of an exchange, for whoever binds to it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::message::Message;

/// The latest messages of an exchange. In memory only.
#[derive(Debug)]
pub(crate) struct History {
    length: usize,
    messages: Mutex<VecDeque<Arc<Message>>>,
}

impl History {
    /// A history of at most `length` messages.
    pub(crate) fn new(length: usize) -> Self {
        Self { length, messages: Mutex::default() }
    }

    /// Keeps a message, and lets go of the oldest one if there are more than there may be.
    pub(crate) fn keep(&self, message: Arc<Message>) {
        let mut messages = self.messages.lock();
        while messages.len() >= self.length {
            messages.pop_front();
        }
        messages.push_back(message);
    }

    /// What is kept, the oldest first.
    pub(crate) fn messages(&self) -> Vec<Arc<Message>> {
        self.messages.lock().iter().cloned().collect()
    }
}
