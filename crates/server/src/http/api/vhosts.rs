//! Virtual hosts: `/vhosts`, `/vhosts/{vhost}`.

use serde_json::{Value, json};
use tercet_broker::access::{DEFAULT_VHOST, Permission};
use tercet_broker::hosts::HostError;
use tercet_broker::journal::Position;

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
pub(super) async fn one(call: &Call<'_>, vhost: &str) -> Result<Reply, Problem> {
    match call.verb() {
        "GET" => {
            call.seen_vhost(vhost)?;
            Ok(Reply::value(show(call, vhost)))
        }
        "PUT" => put(call, vhost),
        "DELETE" => delete(call, vhost).await,
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

/// Makes a virtual host. Whoever makes it may do everything in it, so that somebody can.
fn put(call: &Call<'_>, vhost: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    call.body.only(&[])?;
    if call.shared.hosts.find(vhost).is_some() {
        return Ok(Reply::done(Position::default()));
    }
    let (_, created) = call.shared.hosts.create(vhost)?;
    let access = call.access();
    let user = &*call.caller.user;
    let by_default = access.account(user).is_some_and(|account| account.has_default_rights());
    if by_default && call.rights(DEFAULT_VHOST).is_some() {
        // The first permission ends the rights that nobody has set: they stay.
        access.set_permission(user, DEFAULT_VHOST, Permission::everything())?;
    }
    let permitted = access.set_permission(user, vhost, Permission::everything())?;
    Ok(Reply::created(created.max(permitted)))
}

async fn delete(call: &Call<'_>, vhost: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    let (hosts, name) = (std::sync::Arc::clone(&call.shared.hosts), vhost.to_owned());
    let deleted = call.aside(move |now, effects| hosts.delete(&name, now, effects)).await??;
    let forgotten = call.access().forget_vhost(vhost)?;
    call.close_connections(&format!("vhost '{vhost}' was deleted"), |listing| *listing.vhost == *vhost);
    Ok(Reply::done(deleted.max(forgotten)))
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let text = error.to_string();
        match error {
            HostError::NotFound(_) => Self::not_found(text, "tercet vhost list"),
            HostError::Exists(_) => {
                Self::new(hyper::StatusCode::CONFLICT, "exists", text, "tercet vhost list")
            }
            _ => Self::bad_request(text, "choose another name"),
        }
    }
}

fn show(call: &Call<'_>, name: &str) -> Value {
    let access = call.access();
    let host = call.shared.hosts.find(name);
    json!({
        "name": name,
        "connections": access.connections_in(name),
        "queues": host.map_or(0, |host| host.queues().len()),
        "limits": limits::show_vhost(access.vhost_limits(name)),
    })
}
