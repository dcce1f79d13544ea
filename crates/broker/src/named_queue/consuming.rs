//! Consumers come and go.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::named_queue::{Consume, Consumption, NamedQueue, QueueSettings};
use crate::refusal::Refusal;
use crate::session::Context;

impl NamedQueue {
    /// Adds a consumer, which gets nothing before [`NamedQueue::start`].
    ///
    /// # Errors
    /// 403: somebody wants to be alone, or may not be; 404: the queue has just gone.
    pub(crate) fn add_consumer(
        self: &Arc<Self>,
        request: &Consume<'_>,
        vhost: &str,
        cx: &mut Context<'_>,
    ) -> Result<Arc<Consumption>, Refusal> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.deleted {
            return Err(Refusal::not_found(format!("no queue '{}' in vhost '{vhost}'", self.name())));
        }
        let alone = request.exclusive && (!state.consumers.is_empty() || state.settings.single_active);
        if alone || state.consumers.any_exclusive() {
            let name = self.name();
            return Err(Refusal::access_refused(format!(
                "queue '{name}' in vhost '{vhost}' in exclusive use"
            )));
        }
        let reader = self.reader(state, request, vhost, cx)?;
        let consumption = Arc::new(Consumption::new(Arc::clone(self), request, reader));
        state.consumers.add(Arc::clone(&consumption));
        self.used(state, cx);
        Ok(consumption)
    }

    /// The client knows of its consumer: hands out what it can take.
    pub(crate) fn start(self: &Arc<Self>, consumption: &Arc<Consumption>, cx: &mut Context<'_>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        consumption.started.store(true, Relaxed);
        state.consumers.wake();
        self.dispatch(state, None, cx);
    }

    /// Removes a consumer; what it has stays with its channel. Returns whether the queue has lost its last one.
    pub(crate) fn remove_consumer(
        self: &Arc<Self>,
        consumption: &Arc<Consumption>,
        cx: &mut Context<'_>,
    ) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.consumers.remove(consumption) {
            return false;
        }
        self.let_go_of_reader(state, consumption, cx);
        self.used(state, cx);
        self.dispatch(state, None, cx);
        state.consumers.is_empty()
    }

    /// The outputs of consumers have room again.
    pub(crate) fn resume<'a>(
        self: &Arc<Self>,
        consumptions: impl Iterator<Item = &'a Arc<Consumption>>,
        cx: &mut Context<'_>,
    ) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        for consumption in consumptions {
            consumption.blocked.store(false, Relaxed);
        }
        state.consumers.wake();
        self.dispatch(state, None, cx);
    }

    /// Puts other settings in force. What is in the queue keeps its deadlines and priorities.
    pub(crate) fn set_settings(self: &Arc<Self>, settings: Arc<QueueSettings>, cx: &mut Context<'_>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let ordered = settings.max_priority.is_some();
        state.settings = settings.shared();
        if ordered != state.order.is_some() {
            state.set_ordered(ordered);
        }
        self.used(state, cx);
        state.consumers.wake();
        self.dispatch(state, None, cx);
        if state.settings.is_limited() || self.is_stream() {
            self.drop_excess(state, cx);
        }
        state.account(cx);
    }

    /// Notes that somebody has declared the queue, the first time or once more, which keeps it alive (`x-expires`).
    pub(crate) fn declared(self: &Arc<Self>, cx: &mut Context<'_>) {
        self.used(&mut self.state.lock(), cx);
    }
}
