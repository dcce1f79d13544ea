//! Who acts on exchanges and queues, and what they may.

use std::fmt;
use std::sync::Arc;

use crate::refusal::Refusal;

/// A connection, or an operator's request, as owner of exclusive queues; never reused while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The three rights of RabbitMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Create and delete.
    Configure,
    /// Put messages in: publish, be the destination of a binding.
    Write,
    /// Take messages out: consume, get, purge, be the source of a binding.
    Read,
}

/// What a user may do in one virtual host. Rights may change at any time; each question is answered by what is in force.
pub trait Rights: Send + Sync + fmt::Debug {
    /// Whether the user has this right on the exchange or queue of that name. The default exchange is asked for as
    /// `amq.default`.
    fn allows(&self, right: Right, resource: &str) -> bool;

    /// Whether the user may write to, or read from, the topic exchange with this routing key.
    fn allows_topic(&self, right: Right, exchange: &str, routing_key: &str) -> bool;

    /// Whether the user may publish in the name of another (the tag `impersonator`).
    fn may_impersonate(&self) -> bool {
        false
    }

    /// Changes whenever an answer may have changed; lets a route be cached together with the permission to use it.
    fn generation(&self) -> u64;
}

/// Everything is allowed: for operations of the server itself, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllRights;

impl Rights for AllRights {
    fn allows(&self, _: Right, _: &str) -> bool {
        true
    }

    fn allows_topic(&self, _: Right, _: &str, _: &str) -> bool {
        true
    }

    fn may_impersonate(&self) -> bool {
        true
    }

    fn generation(&self) -> u64 {
        0
    }
}

/// Somebody who acts in one virtual host.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The authenticated user.
    pub user: Arc<str>,
    /// The name of the virtual host, for texts.
    pub vhost: Arc<str>,
    /// The connection: owns what is exclusive.
    pub connection: ConnectionId,
    /// What the user may do here.
    pub rights: Arc<dyn Rights>,
}

impl Actor {
    /// Asks for a right on an exchange or queue.
    ///
    /// # Errors
    /// 403, in RabbitMQ's words.
    pub fn check(&self, right: Right, kind: &str, resource: &str) -> Result<(), Refusal> {
        let asked = if resource.is_empty() { "amq.default" } else { resource };
        if self.rights.allows(right, asked) {
            return Ok(());
        }
        let right = match right {
            Right::Configure => "configure",
            Right::Write => "write",
            Right::Read => "read",
        };
        Err(Refusal::access_refused(format!(
            "{right} access to {kind} '{asked}' in vhost '{}' refused for user '{}'",
            self.vhost, self.user
        )))
    }
}
