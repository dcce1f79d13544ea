//! One request that is understood, and how its answer is given.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;
use tercet_amqp::field::TableBuf;
use tercet_broker::access::AccessStore;
use tercet_broker::actor::{Actor, ConnectionId, Rights};
use tercet_broker::body::Stored;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_broker::message::Message;
use tercet_broker::read_back::{Bodies, Unreadable};
use tercet_broker::vhost::Vhost;

use super::body::Body;
use super::caller::Caller;
use super::path::Target;
use super::problem::Problem;
use super::rates::Rates;
use super::table_json;
use crate::amqp::listing::Listing;
use crate::housekeeping::carry_out;
use crate::http::answers::{self, Answer};
use crate::shared::Shared;

/// Who acts for operators: no connection has this identity, so it owns nothing.
const OPERATOR: ConnectionId = ConnectionId(0);
/// How often the log is looked at while an answer waits for it.
const LOOK: Duration = Duration::from_millis(1);
/// How long an answer waits for the log.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request.
pub(super) struct Call<'a> {
    pub(super) shared: Arc<Shared>,
    pub(super) rates: &'a Rates,
    pub(super) caller: Caller,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) body: Body,
}

/// What is to be answered, once what was done is on disk.
pub(super) struct Reply {
    status: StatusCode,
    value: Value,
    position: Position,
}

impl Reply {
    /// What was asked for.
    pub(super) fn value(value: Value) -> Self {
        Self { status: StatusCode::OK, value, position: Position::default() }
    }

    /// It is done.
    pub(super) fn done(position: Position) -> Self {
        Self { status: StatusCode::NO_CONTENT, value: Value::Null, position }
    }

    /// It is done, and did not exist before.
    pub(super) fn created(position: Position) -> Self {
        Self { status: StatusCode::CREATED, value: Value::Null, position }
    }

    /// It is done, with something to say about it.
    pub(super) fn done_with(value: Value, position: Position) -> Self {
        Self { status: StatusCode::OK, value, position }
    }
}

impl Call<'_> {
    /// The method, with HEAD as GET: the library leaves the body out.
    pub(super) fn verb(&self) -> &str {
        if self.method == Method::HEAD { "GET" } else { self.method.as_str() }
    }

    /// The accounts.
    pub(super) fn access(&self) -> Arc<AccessStore> {
        self.shared.authenticator.access()
    }

    /// Only administrators go on.
    pub(super) fn administrators_only(&self) -> Result<(), Problem> {
        self.needs(self.caller.tags.may_administer(), "administrator")
    }

    /// Only those who may make policies go on.
    pub(super) fn needs(&self, allowed: bool, tag: &str) -> Result<(), Problem> {
        if allowed {
            return Ok(());
        }
        let user = &self.caller.user;
        Err(Problem::not_permitted(
            format!("user '{user}' needs the tag '{tag}' for this"),
            format!("an administrator can give it: tercet user tags {user} {tag}"),
        ))
    }

    /// The virtual host of this name.
    pub(super) fn vhost(&self, name: &str) -> Result<Arc<Vhost>, Problem> {
        let missing =
            || Problem::not_found(format!("there is no virtual host '{name}'"), "tercet vhost list");
        self.shared.hosts.find(name).ok_or_else(missing)
    }

    /// What the caller may do in a virtual host, if it has access to it.
    pub(super) fn rights(&self, vhost: &str) -> Option<Arc<dyn Rights>> {
        self.access().rights(&self.caller.user, vhost)
    }

    /// Whether the caller may see what is in a virtual host.
    pub(super) fn may_see(&self, vhost: &str) -> bool {
        self.caller.tags.may_monitor() || self.rights(vhost).is_some()
    }

    /// The virtual host, for somebody who looks at what is in it.
    pub(super) fn seen_vhost(&self, name: &str) -> Result<Arc<Vhost>, Problem> {
        if self.may_see(name) { self.vhost(name) } else { Err(self.no_access(name)) }
    }

    /// The virtual hosts that the caller may look into: all of them, or the one that is named.
    pub(super) fn visible(&self, wanted: Option<&str>) -> Result<Vec<(String, Arc<Vhost>)>, Problem> {
        if let Some(name) = wanted {
            return Ok(vec![(name.to_owned(), self.seen_vhost(name)?)]);
        }
        let all = all_vhosts(&self.shared);
        Ok(all.into_iter().filter(|(name, _)| self.may_see(name)).collect())
    }

    /// The virtual host and who acts in it.
    pub(super) fn act(&self, vhost: &str) -> Result<(Arc<Vhost>, Actor), Problem> {
        let rights = self.rights(vhost).ok_or_else(|| self.no_access(vhost))?;
        let host = self.vhost(vhost)?;
        let user = Arc::clone(&self.caller.user);
        Ok((host, Actor { user, vhost: vhost.into(), connection: OPERATOR, rights }))
    }

    fn no_access(&self, vhost: &str) -> Problem {
        let user = &self.caller.user;
        Problem::not_permitted(
            format!("access to vhost '{vhost}' refused for user '{user}'"),
            format!(
                "an administrator can allow it: tercet permission set --vhost '{vhost}' {user} '.*' '.*' '.*'"
            ),
        )
    }

    /// Runs an operation of the core and carries its effects out.
    pub(super) fn run<T>(&self, operation: impl FnOnce(Now, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let done = operation(Now::read(), &mut effects);
        carry_out(&self.shared, &mut effects);
        done
    }

    /// The same on a thread of its own, for what takes long or reads the log.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        operation: impl FnOnce(Now, &mut Effects) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let mut effects = Effects::default();
            let done = operation(Now::read(), &mut effects);
            carry_out(&shared, &mut effects);
            done
        });
        done.await.map_err(|_| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal-error",
                "the operation ended unexpectedly",
                "see the log of the server",
            )
        })
    }

    /// Closes the AMQP connections that are concerned.
    pub(super) fn close_connections(&self, reason: &str, concerned: impl Fn(&Listing) -> bool) {
        let connections = &self.shared.amqp.connections;
        for listing in connections.all().iter().filter(|listing| concerned(listing)) {
            // One that is gone already is what is wanted.
            let _ = connections.close(listing.id, reason, &self.shared);
        }
    }

    /// Where messages are read back from.
    pub(super) fn bodies(&self) -> Arc<dyn Bodies> {
        match &self.shared.storage {
            Some(storage) => Arc::clone(storage.journal()) as Arc<dyn Bodies>,
            None => Arc::new(NoLog),
        }
    }

    /// The member `arguments` as a field table.
    pub(super) fn arguments(&self) -> Result<TableBuf, Problem> {
        self.body.object("arguments")?.map_or_else(|| Ok(TableBuf::new()), table_json::table)
    }

    /// Only POST is known.
    pub(super) fn only_post(&self) -> Result<(), Problem> {
        if self.verb() == "POST" { Ok(()) } else { Err(Problem::method("POST")) }
    }

    /// Waits until what was done is on disk, and says so.
    pub(super) async fn finish(&self, reply: Reply) -> Result<Answer, Problem> {
        let vhost = &self.shared.vhost;
        vhost.flush();
        let end = tokio::time::Instant::now() + PATIENCE;
        while vhost.durable() < reply.position {
            if tokio::time::Instant::now() >= end {
                return Err(Problem::later(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "not-durable",
                    "it is done, but not on disk yet: a crash would undo it",
                    "see the log of the server for what is wrong with the disk",
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(match reply.status {
            StatusCode::NO_CONTENT => {
                let mut answer = Answer::default();
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
            }
            status => answers::json(status, &reply.value),
        })
    }
}

/// All virtual hosts, by name.
pub(crate) fn all_vhosts(shared: &Shared) -> Vec<(String, Arc<Vhost>)> {
    let mut all: Vec<_> =
        shared.hosts.all().into_iter().map(|host| (host.name().to_string(), host)).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// There is no log: every message is in memory.
struct NoLog;

impl Bodies for NoLog {
    fn read(&self, records: &[Stored]) -> Vec<Result<Arc<Message>, Unreadable>> {
        records.iter().map(|_| Err(Unreadable::default())).collect()
    }
}
