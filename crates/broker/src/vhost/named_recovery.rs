//! Queues with names, exchanges and bindings from their records and images.
//!
//! Queues are in the tables of the virtual host from their declaration on, with their settings by arguments alone; policies
//! count when everything is there ([`Recovery::finish_queues`]).

use std::sync::Arc;

use crate::body::Body;
use crate::clock::Now;
use crate::definitions::{OPERATOR_POLICIES, POLICIES, key_in, split_key};
use crate::effects::Effects;
use crate::journal::Place;
use crate::named_queue::{NamedQueue, QueueId};
use crate::policy::{Policy, PolicyKind};
use crate::record::checkpoint_record::QueueSlice;
use crate::record::named_images::{NamedQueueImage, TopologyImage};
use crate::record::{
    BindingRecord, DuplicateScope, Entry, ExchangeRecord, NamedQueueRecord, OwnedRecord, QueueDeclaration,
    SettleReason,
};
use crate::vhost::Vhost;
use crate::vhost::recovery::{Recovery, Restored};

impl Recovery<'_> {
    pub(super) fn apply_to_queue(&mut self, id: QueueId, record: NamedQueueRecord, place: Place) {
        let known = self.queues.get(&id);
        match record {
            NamedQueueRecord::Declared(declaration) => {
                self.vhost.note_queue_id(id.0);
                // One that was there before the image of the queues and is not in it had ended by then.
                if known.is_none() && place >= self.topology {
                    self.insert_queue(id, declaration, Place::default());
                }
            }
            NamedQueueRecord::Deleted => {
                if let Some(restored) = self.queues.remove(&id) {
                    self.vhost.forget_queue(restored.object.name());
                    self.end_duplicates(&DuplicateScope::Queue(id), place);
                }
            }
            NamedQueueRecord::SettledRun { first, count, reason } => {
                if let Some(restored) = known {
                    restored.settle_run(first, first.saturating_add(count), reason, place);
                }
            }
            NamedQueueRecord::Enqueued { sequence, .. }
            | NamedQueueRecord::Settled { sequence, .. }
            | NamedQueueRecord::Returned { sequence, .. } => {
                let Some(restored) = known.filter(|restored| restored.awaits(sequence, place)) else {
                    return;
                };
                let queue = Arc::clone(&restored.object);
                if let NamedQueueRecord::Enqueued { entry, .. } = &record {
                    self.note_publisher_of(&entry.body);
                }
                queue.replay(record);
            }
            NamedQueueRecord::Paused(_) => {
                if let Some(restored) = known.filter(|restored| place >= restored.cut) {
                    restored.object.replay(record);
                }
            }
        }
    }

    fn insert_queue(&mut self, id: QueueId, declaration: QueueDeclaration, cut: Place) {
        let queue = self.vhost.restore_queue(id, declaration);
        self.queues.insert(id, Restored::new(queue, cut));
    }

    pub(super) fn apply_to_exchange(&mut self, record: ExchangeRecord, place: Place) {
        if place < self.topology {
            return;
        }
        if let ExchangeRecord::Deleted { name } = &record {
            self.end_duplicates(&DuplicateScope::Exchange(Arc::clone(name)), place);
        }
        self.vhost.apply_exchange(record);
    }

    /// What an exchange or queue remembered that has ended; what an image shows of a time after that stays.
    fn end_duplicates(&self, scope: &DuplicateScope, place: Place) {
        let ended = |key: &Arc<str>| self.duplicates.awaits(&(scope.clone(), Arc::clone(key)), place);
        self.vhost.duplicates().ended(scope, ended);
    }

    pub(super) fn load_queue(&mut self, image: NamedQueueImage) {
        self.vhost.note_queue_id(image.id.0);
        self.insert_queue(image.id, image.declaration, image.cut);
        if let Some(restored) = self.queues.get_mut(&image.id) {
            restored.next_sequence = image.next_sequence;
            if image.paused {
                restored.object.replay(NamedQueueRecord::Paused(true));
            }
        }
    }

    pub(super) fn load_topology(&mut self, image: TopologyImage) {
        self.topology = image.cut;
        for declaration in image.exchanges {
            self.vhost.apply_exchange(ExchangeRecord::Declared(declaration));
        }
        for binding in image.bindings {
            self.vhost.apply_binding(BindingRecord::Bound(binding));
        }
    }

    /// Queues are about to be used: under policies, and with what has become due.
    pub(super) fn finish_queues(&mut self, now: Now, effects: &mut Effects) {
        for restored in self.queues.values() {
            restored.object.with_queue(|queue| queue.advance_to(restored.next_sequence));
        }
        let vhost = &*self.vhost;
        vhost.restore_policies(now, effects);
        vhost.duplicates().retain(|scope| match scope {
            DuplicateScope::Exchange(name) => vhost.find_exchange(name).is_some(),
            DuplicateScope::Queue(id) => self.queues.contains_key(id),
        });
        vhost.with_context(now, effects, |cx| {
            for restored in self.queues.values() {
                restored.object.restored(cx);
            }
        });
        vhost.work_off(now, effects);
    }
}

impl Restored<NamedQueue> {
    /// Settles what of a run of sequences is there, where the images do not show that already.
    fn settle_run(&self, first: u64, end: u64, reason: SettleReason, place: Place) {
        let there: Vec<u64> = self.object.with_queue(|queue| {
            let run = queue.entries_from(first).map(|(sequence, ..)| sequence);
            run.take_while(|sequence| *sequence < end)
                .filter(|sequence| self.awaits(*sequence, place))
                .collect()
        });
        for sequence in there {
            self.object.replay(NamedQueueRecord::Settled { sequence, reason });
        }
    }
}

/// Puts the entries of a slice into a queue with a name.
pub(super) fn fill_named(queue: &NamedQueue, slice: QueueSlice) {
    for entry in slice.entries {
        let sequence = entry.sequence;
        let (deadline_ms, priority) = (entry.extras.deadline_ms, entry.extras.priority);
        let put = Entry {
            body: Body::Log(entry.stored),
            ids: entry.ids,
            loan: None,
            qos: entry.qos,
            retain: entry.retain,
        };
        queue.replay(NamedQueueRecord::Enqueued { sequence, entry: put, deadline_ms, priority });
        if !entry.extras.is_plain() {
            queue.restore_extras(sequence, entry.extras);
        }
        if entry.redelivered {
            queue.with_queue(|queue| queue.mark_entry_redelivered(sequence));
        }
    }
}

impl Vhost {
    /// The queues that the log has.
    pub(crate) fn recorded_queues(&self) -> Vec<Arc<NamedQueue>> {
        let tables = self.topology.tables.read();
        tables.queues.values().filter(|queue| queue.is_recorded()).cloned().collect()
    }

    /// Puts those policies in force that are among the definitions.
    fn restore_policies(&self, now: Now, effects: &mut Effects) {
        let prefix = key_in(self.name(), "");
        for (class, kind) in [(POLICIES, PolicyKind::User), (OPERATOR_POLICIES, PolicyKind::Operator)] {
            for (key, value) in self.definitions().with_prefix(class, &prefix) {
                let Some((_, name)) = split_key(&key) else { continue };
                match Policy::decode(kind, name, &value) {
                    Ok(policy) => self.set_policy(kind, policy, now, effects),
                    Err(error) => {
                        tracing::warn!(policy = name, vhost = %self.name(), %error, "a policy cannot be put in force");
                    }
                }
            }
        }
    }

    /// The records that make up exchanges, queues and bindings: by their names, numbers, and ends.
    pub(super) fn topology_records(&self) -> Vec<OwnedRecord> {
        let mut exchanges = self.recorded_exchanges();
        exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let exchanges = exchanges.into_iter().map(ExchangeRecord::Declared).map(OwnedRecord::Exchange);
        let mut queues = self.recorded_queues();
        queues.sort_unstable_by_key(|queue| queue.id());
        let mut bindings = self.recorded_bindings();
        bindings.sort_unstable();
        let bindings = bindings.into_iter().map(BindingRecord::Bound).map(OwnedRecord::Binding);
        exchanges.chain(queues.iter().flat_map(|queue| queue.records_of())).chain(bindings).collect()
    }
}
