//! The server at a glance, and who is asking.

use serde_json::{Value, json};

use super::call::{Call, Reply, all_vhosts};
use super::problem::Problem;
use crate::metrics::snapshot::Snapshot;

/// `/status`
pub(super) fn status(call: &Call<'_>) -> Result<Reply, Problem> {
    match call.verb() {
        "GET" => Ok(Reply::value(show(call))),
        _ => Err(Problem::method("GET")),
    }
}

fn show(call: &Call<'_>) -> Value {
    let snapshot = Snapshot::take(&call.shared);
    let reasons = call.shared.reasons_not_ready();
    let listeners: Vec<_> = call.shared.listeners.iter().map(|(name, open)| {
        json!({ "name": name, "connections": open.load(std::sync::atomic::Ordering::Relaxed) })
    }).collect();
    let (mut queues, mut messages, mut consumers) = (0, 0, 0);
    for (_, host) in all_vhosts(&call.shared) {
        for info in host.queues() {
            let stats = info.queue.stats();
            queues += 1;
            messages += stats.ready + stats.unacked + stats.delayed;
            consumers += u64::from(stats.consumers);
        }
    }
    json!({
        "product": "tercet",
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": snapshot.uptime.as_secs(),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "durable": call.shared.storage.is_some(),
        "connections": call.shared.connections(),
        "listeners": listeners,
        "memory_bytes": snapshot.process.anonymous,
        "sessions": snapshot.census.sessions,
        "subscriptions": snapshot.subscriptions,
        "retained": snapshot.retained,
        "session_messages": snapshot.census.queued,
        "amqp_connections": call.shared.amqp.connections.len(),
        "queues": queues,
        "queue_messages": messages,
        "consumers": consumers,
        "totals": {
            "mqtt_publishes_received": snapshot.totals.publish_received,
            "mqtt_publishes_sent": snapshot.totals.publish_sent,
            "bytes_received": snapshot.totals.bytes_received,
            "bytes_sent": snapshot.totals.bytes_sent,
        },
    })
}

/// `/whoami`
pub(super) fn whoami(call: &Call<'_>) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let tags: Vec<_> = call.caller.tags.names().collect();
    Ok(Reply::value(json!({ "name": &*call.caller.user, "tags": tags })))
}
