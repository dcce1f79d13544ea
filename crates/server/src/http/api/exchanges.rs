//! Exchanges: `/exchanges`, `/exchanges/{vhost}`, `/exchanges/{vhost}/{name}`. The default exchange is `amq.default`.

use serde_json::{Value, json};
use tercet_broker::exchange::listing::ExchangeInfo;
use tercet_broker::exchange::request::DeclareExchange;

use super::call::{Call, Reply};
use super::listing::Page;
use super::problem::Problem;
use super::table_json;

/// How the default exchange, whose name is empty, is written.
pub(super) const DEFAULT: &str = "amq.default";

/// `/exchanges`, and those of one virtual host.
pub(super) fn all(call: &Call<'_>, vhost: Option<&str>) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let mut rows = Vec::new();
    for (name, host) in call.visible(vhost)? {
        rows.extend(host.exchanges().into_iter().map(|exchange| (name.clone(), exchange)));
    }
    rows.sort_by_cached_key(key);
    Ok(Reply::value(Page::of(&call.target)?.cut(rows, key, |(vhost, exchange)| show(vhost, exchange))))
}

fn key((vhost, exchange): &(String, ExchangeInfo)) -> String {
    format!("{vhost} {}", exchange.name)
}

/// `/exchanges/{vhost}/{name}`
pub(super) fn one(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    let name = if name == DEFAULT { "" } else { name };
    match call.verb() {
        "GET" => match call.seen_vhost(vhost)?.find_exchange(name) {
            Some(exchange) => Ok(Reply::value(show(vhost, &exchange))),
            None => Err(Problem::not_found(
                format!("no exchange '{name}' in vhost '{vhost}'"),
                "GET /api/v1/exchanges lists them",
            )),
        },
        "PUT" => declare(call, vhost, name),
        "DELETE" => {
            let (host, actor) = call.act(vhost)?;
            let if_unused = call.target.flag("if-unused");
            let deleted =
                call.run(|now, effects| host.delete_exchange(&actor, name, if_unused, now, effects));
            Ok(Reply::done(deleted?))
        }
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn declare(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    call.body.only(&["type", "durable", "auto_delete", "internal", "arguments"])?;
    let arguments = call.arguments()?;
    let request = DeclareExchange {
        name,
        kind: call.body.text("type")?.unwrap_or("direct"),
        passive: false,
        durable: call.body.flag_or("durable", true)?,
        auto_delete: call.body.flag_or("auto_delete", false)?,
        internal: call.body.flag_or("internal", false)?,
        arguments: arguments.as_table(),
    };
    let (host, actor) = call.act(vhost)?;
    let is_new = host.find_exchange(name).is_none();
    let position = call.run(|now, effects| host.declare_exchange(&actor, &request, now, effects))?;
    Ok(if is_new { Reply::created(position) } else { Reply::done(position) })
}

fn show(vhost: &str, exchange: &ExchangeInfo) -> Value {
    json!({
        "vhost": vhost,
        "name": &*exchange.name,
        "type": exchange.kind,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": table_json::show_encoded(&exchange.arguments),
        "policy": exchange.policy.as_deref(),
    })
}
