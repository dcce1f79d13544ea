//! Policies: `/policies`, `/policies/{vhost}`, `/policies/{vhost}/{name}`; those of operators at `/operator-policies`.

use std::sync::Arc;

use serde_json::{Value, json};
use tercet_broker::definitions::key_in;
use tercet_broker::journal::Position;
use tercet_broker::policy::{ApplyTo, Policy, PolicyError, PolicyKind};

use super::call::{Call, Reply};
use super::listing::Page;
use super::problem::Problem;
use super::table_json;
use crate::provisioning::policy_class;

/// All policies of a kind, or those of one virtual host.
pub(super) fn all(call: &Call<'_>, kind: PolicyKind, vhost: Option<&str>) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let mut rows = Vec::new();
    for (name, host) in call.visible(vhost)? {
        rows.extend(host.policies().all(kind).iter().map(|policy| (name.clone(), Arc::clone(policy))));
    }
    rows.sort_by_cached_key(key);
    Ok(Reply::value(Page::of(&call.target)?.cut(rows, key, |(vhost, policy)| show(vhost, policy))))
}

fn key((vhost, policy): &(String, Arc<Policy>)) -> String {
    format!("{vhost} {}", policy.name())
}

/// One policy.
pub(super) async fn one(
    call: &Call<'_>,
    kind: PolicyKind,
    vhost: &str,
    name: &str,
) -> Result<Reply, Problem> {
    match call.verb() {
        "GET" => {
            let policies = call.seen_vhost(vhost)?.policies();
            let found = policies.all(kind).iter().find(|policy| **policy.name() == *name);
            found.map(|policy| Reply::value(show(vhost, policy))).ok_or_else(|| missing(vhost, name))
        }
        "PUT" => put(call, kind, vhost, name).await,
        "DELETE" => delete(call, kind, vhost, name).await,
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn missing(vhost: &str, name: &str) -> Problem {
    Problem::not_found(format!("no policy '{name}' in vhost '{vhost}'"), "tercet policy list")
}

/// Those who may set policies set them where they have access; those of operators are for administrators.
fn check(call: &Call<'_>, kind: PolicyKind) -> Result<(), Problem> {
    match kind {
        PolicyKind::Operator => call.administrators_only(),
        PolicyKind::User => call.needs(call.caller.tags.may_make_policies(), "policymaker"),
    }
}

async fn put(call: &Call<'_>, kind: PolicyKind, vhost: &str, name: &str) -> Result<Reply, Problem> {
    check(call, kind)?;
    call.body.only(&["pattern", "apply-to", "priority", "definition"])?;
    if name.is_empty() || name.len() > 255 || name.contains(char::is_control) {
        return Err(Problem::bad_request(
            "the name cannot be that of a policy",
            "1 to 255 bytes, no control characters",
        ));
    }
    let apply_to = call.body.text("apply-to")?.unwrap_or("all");
    let apply_to = ApplyTo::from_name(apply_to).ok_or_else(|| {
        let hint = "all, queues, classic_queues, quorum_queues, streams or exchanges";
        Problem::bad_request(format!("'{apply_to}' is nothing that policies apply to"), hint)
    })?;
    let definition = call.body.object("definition")?.ok_or_else(|| {
        Problem::bad_request("'definition' is missing", "\"definition\": {\"max-length\": 1000}")
    })?;
    let definition = table_json::table(definition)?;
    let priority = call.body.integer("priority")?.unwrap_or(0);
    let pattern = call.body.required("pattern")?;
    let policy = Policy::new(kind, name, pattern, apply_to, priority, &definition.as_table())?;
    let encoded = policy.encode().map_err(PolicyError::from)?;
    let (host, _) = call.act(vhost)?;
    let is_new = host.policies().all(kind).iter().all(|known| **known.name() != *name);
    let table = call.access().table();
    let key = key_in(vhost, name);
    let position: Position = call
        .aside(move |now, effects| {
            // First on disk: what is in force and not kept would be gone with the next start, and nobody would know.
            let position = table.put(policy_class(kind), &key, &encoded);
            host.set_policy(kind, policy, now, effects);
            position
        })
        .await?;
    Ok(if is_new { Reply::created(position) } else { Reply::done(position) })
}

async fn delete(call: &Call<'_>, kind: PolicyKind, vhost: &str, name: &str) -> Result<Reply, Problem> {
    check(call, kind)?;
    let (host, _) = call.act(vhost)?;
    let table = call.access().table();
    let (key, of) = (key_in(vhost, name), name.to_owned());
    let position = call.aside(move |now, effects| {
        let position = table.remove(policy_class(kind), &key);
        host.clear_policy(kind, &of, now, effects).then_some(position)
    });
    position.await?.map(Reply::done).ok_or_else(|| missing(vhost, name))
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        let hint = match error {
            PolicyError::Pattern(_) => "look-around and back references are not offered; .* is everything",
            PolicyError::UnknownKey(_) => "keys are those of RabbitMQ's policies; operators set limits only",
            _ => "\"definition\": {\"max-length\": 1000, \"overflow\": \"reject-publish\"}",
        };
        Self::bad_request(error.to_string(), hint)
    }
}

fn show(vhost: &str, policy: &Policy) -> Value {
    json!({
        "vhost": vhost,
        "name": &**policy.name(),
        "pattern": policy.pattern(),
        "apply-to": policy.apply_to().name(),
        "priority": policy.priority(),
        "definition": table_json::show(policy.definition()),
    })
}
