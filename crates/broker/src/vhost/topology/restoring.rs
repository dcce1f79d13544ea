//! Exchanges, queues and bindings from the log, and into it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::exchange::kind::{ExchangeKind, ExchangeType};
use crate::exchange::tables::{Changes, Exchange, table};
use crate::named_queue::{NamedQueue, QueueDescription, QueueId};
use crate::policy::queue_arguments;
use crate::record::{BindingKey, BindingRecord, ExchangeDeclaration, ExchangeRecord, QueueDeclaration};
use crate::vhost::Vhost;

impl Vhost {
    /// Applies what the log says of an exchange.
    pub(crate) fn apply_exchange(&self, record: ExchangeRecord) {
        let mut tables = self.topology.tables.write();
        match record {
            ExchangeRecord::Declared(declaration) => {
                let arguments = table(&declaration.arguments);
                // A type that this version does not know leads nowhere, but keeps its bindings.
                let kind = ExchangeType::parse(&declaration.kind, &arguments)
                    .unwrap_or(ExchangeType::of(ExchangeKind::Direct));
                self.add_exchange(&mut tables, Exchange::new(declaration, kind, true));
            }
            ExchangeRecord::Deleted { name } => {
                let mut changes = Changes::default();
                tables.remove_exchange(&name, &mut changes);
                self.forget_unbound(&changes);
            }
        }
    }

    /// Applies what the log says of a binding. One whose ends are not both there is skipped.
    pub(crate) fn apply_binding(&self, record: BindingRecord) {
        let mut tables = self.topology.tables.write();
        match record {
            BindingRecord::Bound(binding) => {
                let binding = Arc::new(binding);
                if let Some(target) = tables.add_binding(&binding) {
                    self.binding_changed(&binding, &target, true);
                }
            }
            BindingRecord::Unbound(binding) => {
                let mut changes = Changes::default();
                tables.remove_binding(&binding, &mut changes);
                self.forget_unbound(&changes);
            }
        }
    }

    /// A queue that the log says was declared; nothing is in it yet.
    pub(crate) fn restore_queue(&self, id: QueueId, declaration: QueueDeclaration) -> Arc<NamedQueue> {
        let arguments = table(&declaration.arguments);
        let description = QueueDescription {
            kind: queue_arguments::kind_of(&arguments),
            name: declaration.name,
            durable: true,
            exclusive: None,
            auto_delete: declaration.auto_delete,
            arguments: declaration.arguments,
        };
        let settings = Arc::new(self.queue_settings(&description));
        let queue = NamedQueue::new(id, description, settings);
        self.topology.tables.write().add_queue(Arc::clone(&queue));
        queue
    }

    /// A queue that the log says is gone, with the bindings to it.
    pub(crate) fn forget_queue(&self, name: &str) {
        let mut tables = self.topology.tables.write();
        let mut changes = Changes::default();
        tables.remove_queue(name, &mut changes);
        self.forget_unbound(&changes);
    }

    /// What follows from it has records of its own.
    fn forget_unbound(&self, changes: &Changes) {
        for (binding, target) in &changes.unbound {
            self.binding_changed(binding, target, false);
        }
    }

    /// The number of the queue that was declared last.
    pub(crate) fn last_queue_id(&self) -> u64 {
        self.topology.last_queue.load(Relaxed)
    }

    /// Sees to it that no queue gets this number or a lower one any more.
    pub(crate) fn note_queue_id(&self, id: u64) {
        self.topology.last_queue.fetch_max(id, Relaxed);
    }

    /// The exchanges that survive a restart, but for those that are always there.
    pub(crate) fn recorded_exchanges(&self) -> Vec<ExchangeDeclaration> {
        let tables = self.topology.tables.read();
        let recorded = tables.exchanges.values().filter(|entry| entry.exchange.is_recorded());
        recorded.map(|entry| entry.exchange.declaration.clone()).collect()
    }

    /// The bindings that survive a restart.
    pub(crate) fn recorded_bindings(&self) -> Vec<BindingKey> {
        let tables = self.topology.tables.read();
        let recorded = tables.bindings().filter(|binding| tables.is_recorded(binding));
        recorded.map(|binding| (**binding).clone()).collect()
    }
}
