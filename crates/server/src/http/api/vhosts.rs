//! Virtual hosts.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::limits;
use super::listing::Page;
use super::problem::Problem;

/// `/vhosts`
pub(super) fn all(call: &Call<'_>) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let hosts = call.visible(None)?;
    Ok(Reply::value(Page::of(&call.target)?.cut(
        hosts,
        |(name, _)| name.clone(),
        |(name, _)| show(call, name),
    )))
}

/// `/vhosts/{vhost}`
pub(super) fn one(call: &Call<'_>, vhost: &str) -> Result<Reply, Problem> {
    match call.verb() {
        "GET" => {
            call.seen_vhost(vhost)?;
            Ok(Reply::value(show(call, vhost)))
        }
        _ => Err(Problem::method("GET")),
    }
}

fn show(call: &Call<'_>, name: &str) -> Value {
    let access = call.access();
    json!({
        "name": name,
        "connections": access.connections_in(name),
        "limits": limits::show_vhost(access.vhost_limits(name)),
    })
}
