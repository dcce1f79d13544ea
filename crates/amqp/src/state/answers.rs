//! Answers that are still to come.

use std::collections::VecDeque;

use crate::method::{Method, MethodId};

/// The synchronous methods that were sent and not answered, in their order: answers come in the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    requests: VecDeque<MethodId>,
}

impl Answers {
    /// Notes a method that was sent.
    pub(crate) fn sent(&mut self, method: &Method<'_>) {
        if method.awaits_answer() {
            self.requests.push_back(method.info().id);
        }
    }

    /// Takes an answer; false if it answers something else than what was asked first.
    pub(crate) fn received(&mut self, id: MethodId) -> bool {
        let Some(request) = self.requests.front() else { return false };
        let answers = request.info().map_or(&[][..], |info| info.answers);
        let fits = request.class == id.class && answers.contains(&id.method);
        if fits {
            self.requests.pop_front();
        }
        fits
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn clear(&mut self) {
        self.requests.clear();
    }
}

impl Method<'_> {
    /// The other side will answer it: it is synchronous, and does not say that no answer is wanted.
    pub const fn awaits_answer(&self) -> bool {
        let no_wait = match self {
            Self::ExchangeDeclare(m) => m.no_wait,
            Self::ExchangeDelete(m) => m.no_wait,
            Self::ExchangeBind(m) => m.no_wait,
            Self::ExchangeUnbind(m) => m.no_wait,
            Self::QueueDeclare(m) => m.no_wait,
            Self::QueueBind(m) => m.no_wait,
            Self::QueuePurge(m) => m.no_wait,
            Self::QueueDelete(m) => m.no_wait,
            Self::BasicConsume(m) => m.no_wait,
            Self::BasicCancel(m) => m.no_wait,
            Self::ConfirmSelect(m) => m.no_wait,
            _ => false,
        };
        !no_wait && !self.info().answers.is_empty()
    }
}
