//! Letting a message through once.

use crate::exchange::tables::Exchange;
use crate::exchange_publication::Published;
use crate::message::Properties;
use crate::named_queue::Incoming;
use crate::record::DuplicateScope;
use crate::refusal::Refusal;
use crate::session::Context;
use crate::vhost::Vhost;

impl Vhost {
    /// Lets `publish` publish a message unless one like it was published before, which is remembered together with what it
    /// leads to. A duplicate counts as published: what it repeats was.
    pub(super) fn publish_once_only(
        &self,
        exchange: &Exchange,
        properties: Properties<'_>,
        cx: &mut Context<'_>,
        publish: impl FnOnce(&mut Context<'_>) -> Result<Published, Refusal>,
    ) -> Result<Published, Refusal> {
        let rules = exchange.deduplication.as_ref();
        let key = rules.and_then(|rules| Some((rules, rules.key(properties, cx.now.utc_ms)?)));
        let Some((rules, (key, expires_ms))) = key else { return publish(cx) };
        // What does not survive a restart may be repeated after it.
        let lasting = exchange.is_recorded() && Incoming::asks_to_persist(properties);
        self.together_if(lasting, || {
            let journal = cx.journal.filter(|_| lasting);
            let scope = DuplicateScope::Exchange(exchange.name().clone());
            let now_ms = cx.now.utc_ms;
            if !self.duplicates().remember(&scope, &key, expires_ms, rules.most, now_ms, journal) {
                cx.effects.counters.duplicates += 1;
                // The first one may still be on its way to the disk.
                return Ok(Published { position: self.staged_position(), routed: true, refused: false });
            }
            let published = publish(cx);
            if !matches!(published, Ok(Published { refused: false, .. })) {
                self.duplicates().forget(&scope, &key, journal);
            }
            published
        })
    }
}
