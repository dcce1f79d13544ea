//! Open AMQP connections: `/connections`, `/connections/{id}`.

use serde_json::{Value, json};
use tercet_broker::actor::ConnectionId;
use tercet_broker::journal::Position;

use super::call::{Call, Reply};
use super::listing::Page;
use super::problem::Problem;
use super::table_json;
use crate::amqp::listing::Listing;

/// `/connections`: those of the caller, or all for those who may monitor.
pub(super) fn all(call: &Call<'_>) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let open = call.shared.amqp.connections.all();
    let seen = open.into_iter().filter(|listing| may_see(call, listing));
    // Identities grow: as text of the same length they keep their order.
    let key = |listing: &std::sync::Arc<Listing>| format!("{:020}", listing.id.0);
    Ok(Reply::value(Page::of(&call.target)?.cut(seen, key, |listing| show(listing))))
}

/// `/connections/{id}`
pub(super) fn one(call: &Call<'_>, id: &str) -> Result<Reply, Problem> {
    let missing =
        || Problem::not_found(format!("there is no connection '{id}'"), "tercet amqp connections lists them");
    let id = id.parse().map(ConnectionId).map_err(|_| missing())?;
    let found = call.shared.amqp.connections.find(id).filter(|listing| may_see(call, listing));
    let listing = found.ok_or_else(missing)?;
    match call.verb() {
        "GET" => Ok(Reply::value(show(&listing))),
        "DELETE" => {
            if !call.caller.tags.may_administer() && listing.user != call.caller.user {
                return Err(Problem::not_permitted(
                    "only administrators close the connections of others",
                    "ask one of them",
                ));
            }
            let reason = call.target.parameter("reason").unwrap_or("closed by an operator");
            let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
            match call.shared.amqp.connections.close(id, &reason, &call.shared) {
                true => Ok(Reply::done(Position::default())),
                false => Err(missing()),
            }
        }
        _ => Err(Problem::method("GET, DELETE")),
    }
}

fn may_see(call: &Call<'_>, listing: &Listing) -> bool {
    call.caller.tags.may_monitor() || listing.user == call.caller.user
}

fn show(listing: &Listing) -> Value {
    json!({
        "id": listing.id.0,
        "protocol": "amqp",
        "listener": listing.listener,
        "peer": listing.peer,
        "user": &*listing.user,
        "vhost": &*listing.vhost,
        "channels": listing.channels.load(std::sync::atomic::Ordering::Relaxed),
        "connected_ms": listing.connected_ms,
        "client": table_json::show(listing.client.as_table()),
        "channel_max": listing.tuning.channel_max,
        "frame_max": listing.tuning.frame_max,
        "heartbeat": listing.tuning.heartbeat,
    })
}
