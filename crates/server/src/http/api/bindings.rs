//! Bindings: `/bindings`, `/bindings/{vhost}`. POST makes one, DELETE removes the one that its body describes.

use serde_json::{Value, json};
use tercet_broker::exchange::listing::BindingInfo;
use tercet_broker::exchange::request::{Bind, Destination};

use super::call::{Call, Reply};
use super::exchanges::DEFAULT;
use super::listing::Page;
use super::problem::Problem;
use super::table_json;

/// `/bindings`, and those of one virtual host. The query may name `source` and `destination`.
pub(super) fn all(call: &Call<'_>, vhost: Option<&str>) -> Result<Reply, Problem> {
    match (call.verb(), vhost) {
        ("GET", _) => list(call, vhost, |_| true),
        ("POST", Some(vhost)) => change(call, vhost, true),
        ("DELETE", Some(vhost)) => change(call, vhost, false),
        (_, None) => Err(Problem::method("GET")),
        (_, Some(_)) => Err(Problem::method("GET, POST, DELETE")),
    }
}

/// The bindings to one queue.
pub(super) fn of_queue(call: &Call<'_>, vhost: &str, queue: &str) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    list(call, Some(vhost), |binding| !binding.to_exchange && *binding.destination == *queue)
}

fn list(
    call: &Call<'_>,
    vhost: Option<&str>,
    wanted: impl Fn(&BindingInfo) -> bool,
) -> Result<Reply, Problem> {
    let named = |parameter: &str, name: &str| {
        let asked = call.target.parameter(parameter).map(|asked| if asked == DEFAULT { "" } else { asked });
        asked.is_none_or(|asked| asked == name)
    };
    let mut rows = Vec::new();
    for (name, host) in call.visible(vhost)? {
        let bindings = host.bindings().into_iter().filter(|binding| {
            wanted(binding) && named("source", &binding.source) && named("destination", &binding.destination)
        });
        rows.extend(bindings.map(|binding| (name.clone(), binding)));
    }
    rows.sort_by_cached_key(key);
    Ok(Reply::value(Page::of(&call.target)?.cut(rows, key, |(vhost, binding)| show(vhost, binding))))
}

fn key((vhost, binding): &(String, BindingInfo)) -> String {
    let kind = kind(binding.to_exchange);
    let arguments = table_json::show_encoded(&binding.arguments);
    format!("{vhost} {} {kind} {} {} {arguments}", binding.source, binding.destination, binding.key)
}

const fn kind(to_exchange: bool) -> &'static str {
    if to_exchange { "exchange" } else { "queue" }
}

fn show(vhost: &str, binding: &BindingInfo) -> Value {
    json!({
        "vhost": vhost,
        "source": &*binding.source,
        "destination": &*binding.destination,
        "destination_type": kind(binding.to_exchange),
        "routing_key": &*binding.key,
        "arguments": table_json::show_encoded(&binding.arguments),
    })
}

fn change(call: &Call<'_>, vhost: &str, make: bool) -> Result<Reply, Problem> {
    call.body.only(&["source", "destination", "destination_type", "routing_key", "arguments"])?;
    let arguments = call.arguments()?;
    let destination = call.body.required("destination")?;
    let bind = Bind {
        source: call.body.required("source")?,
        destination: match call.body.text("destination_type")?.unwrap_or("queue") {
            "queue" => Destination::Queue(destination),
            "exchange" => Destination::Exchange(destination),
            _ => {
                return Err(Problem::bad_request(
                    "'destination_type' is not a kind of destination",
                    "queue or exchange",
                ));
            }
        },
        key: call.body.text("routing_key")?.unwrap_or_default(),
        arguments: arguments.as_table(),
    };
    let (host, actor) = call.act(vhost)?;
    if make {
        return Ok(Reply::created(call.run(|now, effects| host.bind(&actor, &bind, now, effects))?));
    }
    Ok(Reply::done(call.run(|now, effects| host.unbind(&actor, &bind, now, effects))?))
}
