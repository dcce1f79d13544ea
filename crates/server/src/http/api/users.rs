//! Users: their passwords and tags. Hashes are never shown.

use serde_json::{Value, json};
use tercet_broker::access::{Account, Credential, Tags};
use tokio::sync::oneshot;

use super::call::{Call, Reply};
use super::limits;
use super::listing::Page;
use super::problem::Problem;
use crate::auth::Secret;

/// Longest password in bytes: the longest binary field of MQTT.
const MAX_PASSWORD_BYTES: usize = 65_535;

/// `/users`
pub(super) fn all(call: &Call<'_>) -> Result<Reply, Problem> {
    call.administrators_only()?;
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let users = call.access().accounts();
    let page = Page::of(&call.target)?;
    Ok(Reply::value(page.cut(
        users,
        |(name, _)| name.to_string(),
        |(name, account)| show(call, name, account),
    )))
}

/// `/users/{user}`
pub(super) async fn one(call: &Call<'_>, user: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    match call.verb() {
        "GET" => match call.access().account(user) {
            Some(account) => Ok(Reply::value(show(call, user, &account))),
            None => Err(Problem::not_found(format!("there is no user '{user}'"), "tercet user list")),
        },
        "PUT" => put(call, user).await,
        "DELETE" => {
            let position = call.access().remove_user(user)?;
            if call.access().account(user).is_none() {
                call.close_connections(&format!("user '{user}' was deleted"), |listing| {
                    *listing.user == *user
                });
            }
            Ok(Reply::done(position))
        }
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn show(call: &Call<'_>, name: &str, account: &Account) -> Value {
    let tags = call.access().tags(name);
    let source = match account.credential {
        Credential::Hash(_) => "password",
        Credential::NoPassword | Credential::Removed => "none",
        Credential::Elsewhere => "password-file",
        Credential::BuiltIn => "built-in",
    };
    json!({
        "name": name,
        "tags": tags.names().collect::<Vec<_>>(),
        "credential": source,
        "limits": limits::show_user(account.limits),
    })
}

async fn put(call: &Call<'_>, user: &str) -> Result<Reply, Problem> {
    call.body.only(&["password", "tags"])?;
    let tags = tags(call)?;
    let credential = match call.body.get("password") {
        None => None,
        Some(Value::Null) => Some(Credential::NoPassword),
        Some(_) => Some(Credential::Hash(hash(call).await?)),
    };
    let (is_new, position) = call.access().set_user(user, credential, tags)?;
    Ok(if is_new { Reply::created(position) } else { Reply::done(position) })
}

/// Tags as a list of texts, or as one text with commas.
fn tags(call: &Call<'_>) -> Result<Option<Tags>, Problem> {
    let wrong = || Problem::bad_request("member 'tags' is not a list of tags", "\"tags\": [\"management\"]");
    let parsed = match call.body.get("tags") {
        None => return Ok(None),
        Some(Value::Null) => Ok(Tags::none()),
        Some(Value::String(text)) => Tags::parse(text),
        Some(Value::Array(names)) => {
            let names: Option<Vec<_>> = names.iter().map(Value::as_str).collect();
            Tags::from_names(names.ok_or_else(wrong)?)
        }
        Some(_) => return Err(wrong()),
    };
    parsed.map(Some).map_err(|error| {
        Problem::bad_request(
            error.to_string(),
            "use one of administrator, monitoring, policymaker, management, impersonator",
        )
    })
}

/// Hashes the new password where logins are hashed, so that nothing here waits for it.
async fn hash(call: &Call<'_>) -> Result<Box<str>, Problem> {
    let password = call.body.required("password")?;
    if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
        return Err(Problem::bad_request(
            "a password has between 1 and 65535 bytes",
            "choose another password",
        ));
    }
    let (send, receive) = oneshot::channel();
    call.shared.authenticator.hash_new(Secret::new(password.as_bytes().to_vec()), move |hash| {
        // Nobody waits any more when the connection is gone.
        let _ = send.send(hash);
    });
    let hash = receive.await.ok().flatten();
    hash.ok_or_else(|| {
        Problem::later(
            hyper::StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the password could not be hashed now",
            "try again in a while",
        )
    })
}
