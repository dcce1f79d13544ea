//! Which path is about what.

use super::call::{Call, Reply};
use super::problem::Problem;
use super::{limits, permissions, status, users, vhosts};

/// Answers a request of somebody who may use the API.
pub(super) async fn dispatch(call: &Call<'_>) -> Result<Reply, Problem> {
    let segments = call.target.segments();
    let Some((&"v1", path)) = segments.split_first() else { return Err(nothing_here()) };
    match *path {
        ["status"] => status::status(call),
        ["whoami"] => status::whoami(call),
        ["users"] => users::all(call),
        ["users", user] => users::one(call, user).await,
        ["permissions"] => permissions::all(call),
        ["permissions", vhost] => permissions::of_vhost(call, vhost),
        ["permissions", vhost, user] => permissions::one(call, vhost, user),
        ["topic-permissions"] => permissions::topics::all(call),
        ["topic-permissions", vhost, user] => permissions::topics::one(call, vhost, user),
        ["user-limits", user] => limits::of_user(call, user),
        ["vhost-limits", vhost] => limits::of_vhost(call, vhost),
        ["vhosts"] => vhosts::all(call),
        ["vhosts", vhost] => vhosts::one(call, vhost),
        _ => Err(nothing_here()),
    }
}

fn nothing_here() -> Problem {
    Problem::not_found(
        "the API has no such path",
        "docs/control-api.md lists all paths; write / in names as %2F",
    )
}
