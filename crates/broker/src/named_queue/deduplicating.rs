//! A queue that takes a message once (`x-message-deduplication`).
//!
//! What it has taken is remembered whether it is still there or not: so many messages, the latest, for so long as the
//! arguments say. The memory is written behind the message, so that a crash never leaves one without the other that
//! makes it a duplicate.

use std::num::NonZeroU64;

use crate::named_queue::{Incoming, NamedQueue};
use crate::record::DuplicateScope;
use crate::session::Context;

/// What is to be remembered of a message that is being taken.
pub(super) struct Mark {
    key: String,
    expires_ms: Option<NonZeroU64>,
    most: usize,
}

impl NamedQueue {
    /// What is to be remembered of a message, if anything; `Err` if one like it was taken before. Under the queue's lock.
    #[inline]
    pub(super) fn recognise(
        &self,
        incoming: &Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Option<Mark>, Duplicate> {
        let Some(rules) = &self.deduplication else { return Ok(None) };
        let Some((key, expires_ms)) = rules.key(incoming.properties(), cx.now.utc_ms) else {
            return Ok(None);
        };
        if cx.duplicates.is_known(&DuplicateScope::Queue(self.id()), &key, cx.now.utc_ms) {
            cx.effects.counters.duplicates += 1;
            return Err(Duplicate);
        }
        Ok(Some(Mark { key, expires_ms, most: rules.most }))
    }

    /// Remembers a message that was taken, and recorded or not. Under the same lock.
    pub(super) fn remember(&self, mark: &Mark, recorded: bool, cx: &Context<'_>) {
        let scope = DuplicateScope::Queue(self.id());
        let journal = cx.journal.filter(|_| recorded);
        cx.duplicates.remember(&scope, &mark.key, mark.expires_ms, mark.most, cx.now.utc_ms, journal);
    }
}

/// A message that was taken before.
pub(super) struct Duplicate;
