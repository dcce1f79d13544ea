//! What routing keys users may use with topic exchanges.

use serde_json::{Value, json};
use tercet_broker::access::{TopicKey, TopicPermission};

use super::super::call::{Call, Reply};
use super::super::listing::Page;
use super::super::problem::Problem;
use super::pattern_problem;

type Row = (Box<str>, TopicKey, TopicPermission);

/// `/topic-permissions`
pub(in crate::http::api) fn all(call: &Call<'_>) -> Result<Reply, Problem> {
    call.administrators_only()?;
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let page = Page::of(&call.target)?;
    Ok(Reply::value(page.cut(rows(call), key, show)))
}

/// `/topic-permissions/{vhost}/{user}`, with the exchange in body or query.
pub(in crate::http::api) fn one(call: &Call<'_>, vhost: &str, user: &str) -> Result<Reply, Problem> {
    call.administrators_only()?;
    call.vhost(vhost)?;
    match call.verb() {
        "GET" => {
            let of_user =
                rows(call).into_iter().filter(|(name, (host, _), _)| **name == *user && **host == *vhost);
            Ok(Reply::value(Page::of(&call.target)?.cut(of_user, key, show)))
        }
        "PUT" => {
            call.body.only(&["exchange", "write", "read"])?;
            let [exchange, write, read] = ["exchange", "write", "read"].map(|name| call.body.required(name));
            let permission = TopicPermission::new(write?, read?).map_err(pattern_problem)?;
            Ok(Reply::done(call.access().set_topic_permission(user, vhost, exchange?, permission)?))
        }
        "DELETE" => {
            let exchange = call.target.parameter("exchange");
            Ok(Reply::done(call.access().remove_topic_permission(user, vhost, exchange)?))
        }
        _ => Err(Problem::method("GET, PUT, DELETE")),
    }
}

fn rows(call: &Call<'_>) -> Vec<Row> {
    let accounts = call.access().accounts();
    let topics = accounts.iter().flat_map(|(user, account)| {
        account.topics.iter().map(|(topic, permission)| (user.clone(), topic.clone(), permission.clone()))
    });
    let mut rows: Vec<Row> = topics.collect();
    rows.sort_by_key(key);
    rows
}

fn key((user, (vhost, exchange), _): &Row) -> String {
    format!("{vhost} {user} {exchange}")
}

fn show((user, (vhost, exchange), permission): &Row) -> Value {
    json!({
        "vhost": vhost,
        "user": user,
        "exchange": exchange,
        "write": permission.write,
        "read": permission.read,
    })
}
