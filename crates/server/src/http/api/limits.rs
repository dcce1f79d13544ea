//! How much users and virtual hosts may have open.

use serde_json::{Value, json};
use tercet_broker::access::{UserLimits, VhostLimits};

use super::call::{Call, Reply};
use super::problem::Problem;

/// `/user-limits/{user}`
pub(super) fn of_user(call: &Call<'_>, user: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    match call.verb() {
        "GET" => Ok(Reply::value(show_user(call.access().user_limits(user)))),
        "PUT" => {
            call.body.only(&["max-connections", "max-channels"])?;
            let mut limits = call.access().user_limits(user);
            set(call, "max-connections", &mut limits.max_connections)?;
            set(call, "max-channels", &mut limits.max_channels)?;
            Ok(Reply::done(call.access().set_user_limits(user, limits)?))
        }
        "DELETE" => Ok(Reply::done(call.access().set_user_limits(user, UserLimits::default())?)),
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

/// `/vhost-limits/{vhost}`
pub(super) fn of_vhost(call: &Call<'_>, vhost: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    call.vhost(vhost)?;
    match call.verb() {
        "GET" => Ok(Reply::value(show_vhost(call.access().vhost_limits(vhost)))),
        "PUT" => {
            call.body.only(&["max-connections", "max-queues"])?;
            let mut limits = call.access().vhost_limits(vhost);
            set(call, "max-connections", &mut limits.max_connections)?;
            set(call, "max-queues", &mut limits.max_queues)?;
            put(call, vhost, limits)
        }
        "DELETE" => put(call, vhost, VhostLimits::default()),
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn put(call: &Call<'_>, vhost: &str, limits: VhostLimits) -> Result<Reply, Problem> {
    let host = call.vhost(vhost)?;
    let position = call.access().set_vhost_limits(vhost, limits)?;
    host.set_max_queues(limits.max_queues);
    Ok(Reply::done(position))
}

/// Changes a limit that the request names: `null` and -1 take it away.
fn set(call: &Call<'_>, name: &str, limit: &mut Option<u32>) -> Result<(), Problem> {
    if call.body.get(name).is_none() {
        return Ok(());
    }
    *limit = match call.body.integer(name)? {
        None | Some(-1) => None,
        Some(number) => Some(u32::try_from(number).map_err(|_| {
            Problem::bad_request(format!("'{name}' is out of range"), "0 and more, or -1 for no limit")
        })?),
    };
    Ok(())
}

/// Limits of a user.
pub(super) fn show_user(limits: UserLimits) -> Value {
    json!({ "max-connections": limits.max_connections, "max-channels": limits.max_channels })
}

/// Limits of a virtual host.
pub(super) fn show_vhost(limits: VhostLimits) -> Value {
    json!({ "max-connections": limits.max_connections, "max-queues": limits.max_queues })
}
