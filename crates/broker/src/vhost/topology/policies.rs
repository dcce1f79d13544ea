//! Policies, put in force.

use std::sync::Arc;

use crate::clock::Now;
use crate::effects::Effects;
use crate::exchange::generations::Dependency;
use crate::exchange::tables::Tables;
use crate::named_queue::{NamedQueue, QueueDescription, QueueSettings};
use crate::policy::{Policies, Policy, PolicyKind};
use crate::vhost::Vhost;

impl Vhost {
    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.topology.policies.load_full()
    }

    /// Puts a policy in force; it replaces the one of its name and kind.
    pub fn set_policy(&self, kind: PolicyKind, policy: Policy, now: Now, effects: &mut Effects) {
        self.change_policies(|policies| policies.with(kind, policy), now, effects);
    }

    /// Ends a policy. False if there was none of that name and kind.
    pub fn clear_policy(&self, kind: PolicyKind, name: &str, now: Now, effects: &mut Effects) -> bool {
        let known = self.policies().all(kind).iter().any(|policy| &**policy.name() == name);
        if known {
            self.change_policies(|policies| policies.without(kind, name), now, effects);
        }
        known
    }

    fn change_policies(&self, change: impl FnOnce(&Policies) -> Policies, now: Now, effects: &mut Effects) {
        let changing = self.topology.changing.lock();
        let changed = change(&self.topology.policies.load());
        self.topology.policies.store(Arc::new(changed));
        self.apply_policies(now, effects);
        drop(changing);
        if effects.has_work() {
            self.work_off(now, effects);
        }
    }

    /// Gives every queue and exchange what the policies in force say. Queues that are declared meanwhile look by
    /// themselves.
    fn apply_policies(&self, now: Now, effects: &mut Effects) {
        let mut tables = self.topology.tables.write();
        let exchanges: Vec<_> = tables.exchanges.keys().cloned().collect();
        for name in exchanges {
            self.apply_exchange_policy(&mut tables, &name);
        }
        self.topology.generations.changed(Dependency::Everything);
        // Where messages wait for their time is no queue that anybody has declared.
        let declared = tables.queues.values().filter(|queue| !queue.delays());
        let queues: Vec<Arc<NamedQueue>> = declared.cloned().collect();
        drop(tables);
        self.with_context(now, effects, |cx| {
            for queue in queues {
                let settings = self.queue_settings(queue.description());
                if settings != *queue.settings() {
                    queue.set_settings(Arc::new(settings), cx);
                }
            }
        });
    }

    /// What a queue does, by its arguments and the policies in force.
    pub(super) fn queue_settings(&self, description: &QueueDescription) -> QueueSettings {
        let arguments = crate::exchange::tables::table(&description.arguments);
        self.topology.policies.load().settings(&description.name, description.kind, &arguments)
    }

    /// The policy that counts for an exchange; none does for the default one.
    pub(super) fn exchange_policy(&self, name: &str) -> Option<Arc<Policy>> {
        if name.is_empty() {
            return None;
        }
        self.topology.policies.load().for_exchange(name).cloned()
    }

    /// Where messages go that the exchange leads nowhere: its arguments go over its policy.
    pub(super) fn apply_exchange_policy(&self, tables: &mut Tables, name: &str) {
        let Some(entry) = tables.exchanges.get_mut(name) else { return };
        let wished = || self.exchange_policy(name).and_then(|policy| policy.alternate().cloned());
        entry.alternate = entry.exchange.alternate().or_else(wished);
    }
}
