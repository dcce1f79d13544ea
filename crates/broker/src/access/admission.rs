//! Counting connections and channels against the limits of users and virtual hosts.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::limits::{UserLimits, VhostLimits};
use crate::refusal::{Refusal, ReplyCode};

/// What is open now.
#[derive(Debug, Default)]
pub(super) struct Census {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    users: HashMap<Arc<str>, Open>,
    vhosts: HashMap<Arc<str>, u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    connections: u32,
    channels: u32,
}

impl Census {
    pub(super) fn admit(
        self: &Arc<Self>,
        user: &Arc<str>,
        vhost: &Arc<str>,
        user_limits: UserLimits,
        vhost_limits: VhostLimits,
    ) -> Result<ConnectionPermit, Refusal> {
        let mut counts = self.counts.lock();
        let in_vhost = counts.vhosts.get(vhost).copied().unwrap_or_default();
        if let Some(limit) = reached(in_vhost, vhost_limits.max_connections) {
            return Err(not_allowed(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
            )));
        }
        let of_user = counts.users.get(user).copied().unwrap_or_default();
        if let Some(limit) = reached(of_user.connections, user_limits.max_connections) {
            return Err(not_allowed(format!(
                "connection refused for user '{user}': user connection limit ({limit}) is reached"
            )));
        }
        *counts.vhosts.entry(Arc::clone(vhost)).or_default() += 1;
        counts.users.entry(Arc::clone(user)).or_default().connections += 1;
        drop(counts);
        Ok(ConnectionPermit {
            census: Arc::clone(self),
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            channels: 0,
        })
    }

    /// Connections that are open in a virtual host.
    pub(super) fn connections_in(&self, vhost: &str) -> u32 {
        self.counts.lock().vhosts.get(vhost).copied().unwrap_or_default()
    }
}

/// One admitted connection; counted out, with its channels, when it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    census: Arc<Census>,
    user: Arc<str>,
    vhost: Arc<str>,
    channels: u32,
}

impl ConnectionPermit {
    /// Counts a channel that is being opened. `limits` are those of the user now.
    ///
    /// # Errors
    /// 530 when the user has as many channels as it may have.
    pub fn open_channel(&mut self, limits: UserLimits) -> Result<(), Refusal> {
        let mut counts = self.census.counts.lock();
        let open = counts.users.entry_ref(&*self.user).or_default();
        if let Some(limit) = reached(open.channels, limits.max_channels) {
            return Err(not_allowed(format!(
                "number of channels opened for user '{}' has reached the maximum allowed user limit of ({limit})",
                self.user
            )));
        }
        open.channels += 1;
        self.channels += 1;
        Ok(())
    }

    /// Counts a channel out.
    pub fn close_channel(&mut self) {
        if self.channels == 0 {
            return;
        }
        self.channels -= 1;
        if let Some(open) = self.census.counts.lock().users.get_mut(&self.user) {
            open.channels = open.channels.saturating_sub(1);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock();
        if let Some(open) = counts.users.get_mut(&self.user) {
            open.connections = open.connections.saturating_sub(1);
            open.channels = open.channels.saturating_sub(self.channels);
            if open.connections == 0 {
                counts.users.remove(&self.user);
            }
        }
        if let Some(open) = counts.vhosts.get_mut(&self.vhost) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                counts.vhosts.remove(&self.vhost);
            }
        }
    }
}

/// The limit, if there is one and it is reached.
fn reached(open: u32, limit: Option<u32>) -> Option<u32> {
    limit.filter(|limit| open >= *limit)
}

fn not_allowed(text: String) -> Refusal {
    Refusal::new(ReplyCode::NotAllowed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: UserLimits = UserLimits { max_connections: None, max_channels: None };

    #[test]
    fn connections_are_counted_in_and_out_for_user_and_vhost() {
        let census = Arc::new(Census::default());
        let (ann, bob, root): (Arc<str>, Arc<str>, Arc<str>) = ("ann".into(), "bob".into(), "/".into());
        let two = VhostLimits { max_connections: Some(2), max_queues: None };
        let one = UserLimits { max_connections: Some(1), ..FREE };
        let first = census.admit(&ann, &root, one, two).unwrap();
        let refused = census.admit(&ann, &root, one, two).unwrap_err();
        assert_eq!(refused.code, ReplyCode::NotAllowed);
        assert_eq!(refused.text, "connection refused for user 'ann': user connection limit (1) is reached");
        let second = census.admit(&bob, &root, FREE, two).unwrap();
        let refused = census.admit(&bob, &root, FREE, two).unwrap_err();
        assert_eq!(
            refused.text,
            "access to vhost '/' refused for user 'bob': connection limit (2) is reached"
        );
        assert_eq!(census.connections_in("/"), 2);
        drop((first, second));
        assert_eq!(census.connections_in("/"), 0);
        assert!(census.admit(&ann, &root, one, two).is_ok());
        let none = UserLimits { max_connections: Some(0), ..FREE };
        assert!(census.admit(&ann, &root, none, two).is_err());
    }

    #[test]
    fn channels_of_all_connections_count_for_the_user() {
        let census = Arc::new(Census::default());
        let (ann, root): (Arc<str>, Arc<str>) = ("ann".into(), "/".into());
        let limits = UserLimits { max_channels: Some(2), ..FREE };
        let mut first = census.admit(&ann, &root, limits, VhostLimits::default()).unwrap();
        let mut second = census.admit(&ann, &root, limits, VhostLimits::default()).unwrap();
        first.open_channel(limits).unwrap();
        second.open_channel(limits).unwrap();
        assert!(first.open_channel(limits).unwrap_err().text.contains("limit of (2)"));
        second.close_channel();
        second.close_channel();
        first.open_channel(limits).unwrap();
        assert!(second.open_channel(limits).is_err());
        drop(first);
        second.open_channel(limits).unwrap();
        second.open_channel(limits).unwrap();
        assert!(second.open_channel(limits).is_err());
    }
}
