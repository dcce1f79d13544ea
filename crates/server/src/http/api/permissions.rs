//! Who may do what in which virtual host.

pub(super) mod topics;

use serde_json::{Value, json};
use tercet_broker::access::{AccessError, DEFAULT_VHOST, Permission};

use super::call::{Call, Reply};
use super::listing::Page;
use super::problem::Problem;

/// One permission, with whom and where.
struct Row {
    vhost: Box<str>,
    user: Box<str>,
    permission: Permission,
    /// Nobody has set it: the user comes from the password file and has the rights of such users.
    is_default: bool,
}

/// `/permissions`
pub(super) fn all(call: &Call<'_>) -> Result<Reply, Problem> {
    list(call, |_| true)
}

/// `/permissions/{vhost}`
pub(super) fn of_vhost(call: &Call<'_>, vhost: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    call.vhost(vhost)?;
    list(call, |row| *row.vhost == *vhost)
}

fn list(call: &Call<'_>, wanted: impl Fn(&Row) -> bool) -> Result<Reply, Problem> {
    call.administrators_only()?;
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let rows = rows(call).into_iter().filter(wanted);
    let page = Page::of(&call.target)?;
    Ok(Reply::value(page.cut(rows, |row| format!("{} {}", row.vhost, row.user), show)))
}

/// `/permissions/{vhost}/{user}`
pub(super) fn one(call: &Call<'_>, vhost: &str, user: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    call.vhost(vhost)?;
    match call.verb() {
        "GET" => {
            let row = rows(call).into_iter().find(|row| *row.vhost == *vhost && *row.user == *user);
            let missing = || AccessError::NoSuchPermission { user: user.to_owned(), vhost: vhost.to_owned() };
            Ok(Reply::value(show(&row.ok_or_else(missing)?)))
        }
        "PUT" => {
            call.body.only(&["configure", "write", "read"])?;
            let [configure, write, read] =
                ["configure", "write", "read"].map(|name| call.body.required(name));
            let permission = Permission::new(configure?, write?, read?).map_err(pattern_problem)?;
            Ok(Reply::done(call.access().set_permission(user, vhost, permission)?))
        }
        "DELETE" => Ok(Reply::done(call.access().remove_permission(user, vhost)?)),
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn rows(call: &Call<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (user, account) in call.access().accounts() {
        if account.has_default_rights() {
            if call.access().rights(&user, DEFAULT_VHOST).is_none() {
                continue;
            }
            rows.push(Row {
                vhost: DEFAULT_VHOST.into(),
                user,
                permission: Permission::everything(),
                is_default: true,
            });
            continue;
        }
        for (vhost, permission) in &account.permissions {
            let (vhost, user, permission) = (vhost.clone(), user.clone(), permission.clone());
            rows.push(Row { vhost, user, permission, is_default: false });
        }
    }
    rows.sort_by_key(|row| format!("{} {}", row.vhost, row.user));
    rows
}

fn show(row: &Row) -> Value {
    json!({
        "vhost": row.vhost,
        "user": row.user,
        "configure": row.permission.configure.as_str(),
        "write": row.permission.write.as_str(),
        "read": row.permission.read.as_str(),
        "default": row.is_default,
    })
}

fn pattern_problem(error: tercet_broker::access::PatternError) -> Problem {
    Problem::bad_request(
        error.to_string(),
        "look-around and back references are not offered; .* is everything, the empty text nothing",
    )
}
