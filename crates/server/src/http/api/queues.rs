//! Queues: `/queues`, `/queues/{vhost}`, `/queues/{vhost}/{name}` and what can be done with one.

use std::sync::Arc;

use serde_json::{Value, json};
use tercet_broker::exchange::listing::QueueInfo;
use tercet_broker::exchange::request::DeclareQueue;
use tercet_broker::named_queue::{NamedQueue, QueueKind, QueueOverflow, QueueSettings, RetryCondition};

use super::call::{Call, Reply};
use super::listing::Page;
use super::problem::Problem;
use super::table_json;

/// `/queues`, and those of one virtual host.
pub(super) fn all(call: &Call<'_>, vhost: Option<&str>) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let mut rows = Vec::new();
    for (name, host) in call.visible(vhost)? {
        rows.extend(host.queues().into_iter().map(|queue| (name.clone(), queue)));
    }
    rows.sort_by_cached_key(key);
    Ok(Reply::value(Page::of(&call.target)?.cut(rows, key, |(vhost, queue)| show(call, vhost, queue))))
}

fn key((vhost, info): &(String, QueueInfo)) -> String {
    format!("{vhost} {}", info.queue.name())
}

/// `/queues/{vhost}/{name}`
pub(super) async fn one(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    match call.verb() {
        "GET" => {
            let info = find(call, vhost, name)?;
            let mut shown = show(call, vhost, &info);
            if let Value::Object(members) = &mut shown {
                members.insert("effective".to_owned(), effective(&info.queue.settings()));
                members.insert("consumer_details".to_owned(), consumers(&info.queue));
            }
            Ok(Reply::value(shown))
        }
        "PUT" => declare(call, vhost, name),
        "DELETE" => {
            let (host, actor) = call.act(vhost)?;
            let (unused, empty) = (call.target.flag("if-unused"), call.target.flag("if-empty"));
            let name = name.to_owned();
            let deleted = call.aside(move |now, effects| {
                // What does not exist is deleted already for AMQP; here somebody has mistyped it.
                host.find_usable_queue(&actor, &name)?;
                host.delete_queue(&actor, &name, unused, empty, now, effects)
            });
            let (messages, position) = deleted.await??;
            Ok(Reply::done_with(json!({ "messages": messages }), position))
        }
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn find(call: &Call<'_>, vhost: &str, name: &str) -> Result<QueueInfo, Problem> {
    let queues = call.seen_vhost(vhost)?.queues();
    queues.into_iter().find(|info| **info.queue.name() == *name).ok_or_else(|| {
        Problem::not_found(format!("no queue '{name}' in vhost '{vhost}'"), "tercet amqp queues lists them")
    })
}

fn declare(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    call.body.only(&["durable", "auto_delete", "arguments"])?;
    let arguments = call.arguments()?;
    let request = DeclareQueue {
        name,
        passive: false,
        durable: call.body.flag_or("durable", true)?,
        // It would belong to this request, and go with it.
        exclusive: false,
        auto_delete: call.body.flag_or("auto_delete", false)?,
        arguments: arguments.as_table(),
    };
    let (host, actor) = call.act(vhost)?;
    let is_new = host.find_queue(name).is_none();
    let declared = call.run(|now, effects| host.declare_queue(&actor, &request, now, effects))?;
    Ok(if is_new { Reply::created(declared.position) } else { Reply::done(declared.position) })
}

/// `/queues/{vhost}/{name}/purge`
pub(super) async fn purge(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    call.only_post()?;
    let (host, actor) = call.act(vhost)?;
    let name = name.to_owned();
    let purged = call.aside(move |now, effects| host.purge_queue(&actor, &name, now, effects));
    let (messages, position) = purged.await??;
    Ok(Reply::done_with(json!({ "messages": messages }), position))
}

/// `/queues/{vhost}/{name}/pause` and `/resume`
pub(super) fn pause(call: &Call<'_>, vhost: &str, name: &str, paused: bool) -> Result<Reply, Problem> {
    call.only_post()?;
    let (host, actor) = call.act(vhost)?;
    Ok(Reply::done(call.run(|now, effects| host.pause_queue(&actor, name, paused, now, effects))?))
}

/// `/queues/{vhost}/{name}/move`
pub(super) async fn move_messages(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    call.only_post()?;
    call.body.only(&["to", "limit"])?;
    let to = call.body.required("to")?.to_owned();
    let limit = match call.body.integer("limit")? {
        None => u64::MAX,
        Some(limit) => u64::try_from(limit)
            .map_err(|_| Problem::bad_request("'limit' is negative", "leave it out to move everything"))?,
    };
    let (host, actor) = call.act(vhost)?;
    let (name, bodies) = (name.to_owned(), call.bodies());
    let moved =
        call.aside(move |now, effects| host.move_messages(&actor, &name, &to, limit, &*bodies, now, effects));
    let (messages, position) = moved.await??;
    Ok(Reply::done_with(json!({ "messages": messages }), position))
}

fn show(call: &Call<'_>, vhost: &str, info: &QueueInfo) -> Value {
    let queue = &info.queue;
    let stats = queue.stats();
    let rates = call.rates.of(vhost, queue.id());
    json!({
        "vhost": vhost,
        "name": &**queue.name(),
        "type": kind(queue.kind()),
        "durable": info.durable,
        "auto_delete": info.auto_delete,
        "exclusive": info.exclusive.is_some(),
        "arguments": table_json::show_encoded(&info.arguments),
        "policy": info.policy.as_deref(),
        "operator_policy": info.operator_policy.as_deref(),
        "state": if stats.paused { "paused" } else { "running" },
        "messages": stats.ready + stats.unacked + stats.delayed,
        "ready": stats.ready,
        "unacked": stats.unacked,
        "delayed": stats.delayed,
        "ready_bytes": stats.ready_bytes,
        "in_memory": stats.in_memory,
        "memory_bytes": stats.memory,
        "consumers": stats.consumers,
        "used_ms": (stats.used_ms > 0).then_some(stats.used_ms),
        "totals": {
            "published": stats.totals.published,
            "delivered": stats.totals.delivered,
            "redelivered": stats.totals.redelivered,
            "acknowledged": stats.totals.acknowledged,
            "dropped": stats.totals.dropped,
        },
        "rates": rates.map(|rates| json!({
            "published": rates.published,
            "delivered": rates.delivered,
            "acknowledged": rates.acknowledged,
        })),
    })
}

const fn kind(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
        QueueKind::Stream => "stream",
    }
}

/// What arguments and policies come to.
fn effective(settings: &QueueSettings) -> Value {
    let overflow = match settings.overflow {
        QueueOverflow::DropHead => "drop-head",
        QueueOverflow::RejectPublish => "reject-publish",
        QueueOverflow::RejectPublishDlx => "reject-publish-dlx",
    };
    let retry = settings.retry.map(|retry| {
        let condition = match retry.condition {
            RetryCondition::All => "all",
            RetryCondition::Failed => "failed",
            RetryCondition::Returned => "returned",
        };
        json!({ "type": condition, "min": retry.min_ms, "max": retry.max_ms })
    });
    json!({
        "message-ttl": settings.message_ttl_ms,
        "expires": settings.expires_ms,
        "max-length": settings.max_length,
        "max-length-bytes": settings.max_length_bytes,
        "overflow": overflow,
        "max-priority": settings.max_priority,
        "single-active-consumer": settings.single_active,
        "dead-letter-exchange": settings.dead_letter_exchange.as_deref(),
        "dead-letter-routing-key": settings.dead_letter_key.as_deref(),
        "delivery-limit": settings.delivery_limit,
        "delayed-retry": retry,
        "consumer-timeout": settings.consumer_timeout_ms,
        "max-age": settings.retention.max_age_ms,
    })
}

fn consumers(queue: &Arc<NamedQueue>) -> Value {
    let shown = queue.consumers().into_iter().map(|consumer| {
        let consumption = &consumer.consumption;
        json!({
            "tag": &*consumption.tag,
            "channel": consumption.channel,
            "no_ack": consumption.no_ack,
            "exclusive": consumption.exclusive,
            "priority": consumption.priority,
            "prefetch": consumption.prefetch,
            "unacked": consumption.unacked(),
            "active": consumer.active,
        })
    });
    Value::Array(shown.collect())
}
