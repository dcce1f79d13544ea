//! Which path is about what.

use tercet_broker::policy::PolicyKind::{Operator, User};

use super::call::{Call, Reply};
use super::problem::Problem;
use super::{
    bindings, connections, exchanges, limits, messages, permissions, policies, queues, status, users, vhosts,
};

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
        ["exchanges"] => exchanges::all(call, None),
        ["exchanges", vhost] => exchanges::all(call, Some(vhost)),
        ["exchanges", vhost, name] => exchanges::one(call, vhost, name),
        ["bindings"] => bindings::all(call, None),
        ["bindings", vhost] => bindings::all(call, Some(vhost)),
        ["queues"] => queues::all(call, None),
        ["queues", vhost] => queues::all(call, Some(vhost)),
        ["queues", vhost, name] => queues::one(call, vhost, name).await,
        ["queues", vhost, name, "bindings"] => bindings::of_queue(call, vhost, name),
        ["queues", vhost, name, "messages"] => messages::peek(call, vhost, name).await,
        ["queues", vhost, name, "purge"] => queues::purge(call, vhost, name).await,
        ["queues", vhost, name, "move"] => queues::move_messages(call, vhost, name).await,
        ["queues", vhost, name, "pause"] => queues::pause(call, vhost, name, true),
        ["queues", vhost, name, "resume"] => queues::pause(call, vhost, name, false),
        ["connections"] => connections::all(call),
        ["connections", id] => connections::one(call, id),
        ["policies"] => policies::all(call, User, None),
        ["policies", vhost] => policies::all(call, User, Some(vhost)),
        ["policies", vhost, name] => policies::one(call, User, vhost, name).await,
        ["operator-policies"] => policies::all(call, Operator, None),
        ["operator-policies", vhost] => policies::all(call, Operator, Some(vhost)),
        ["operator-policies", vhost, name] => policies::one(call, Operator, vhost, name).await,
        ["vhosts"] => vhosts::all(call),
        ["vhosts", vhost] => vhosts::one(call, vhost).await,
        _ => Err(nothing_here()),
    }
}

fn nothing_here() -> Problem {
    Problem::not_found(
        "the API has no such path",
        "docs/control-api.md lists all paths; write / in names as %2F",
    )
}
