//! What was defined at run time, put in force again when the server starts: policies and limits of virtual hosts.
//!
//! Users and their permissions need nothing done, but for topics: there they are put together with the rules of the ACL
//! file ([`TopicRules`]).

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tercet_broker::access::AccessStore;
use tercet_broker::clock::Now;
use tercet_broker::definitions::{OPERATOR_POLICIES, POLICIES, key_in};
use tercet_broker::effects::Effects;
use tercet_broker::permission::Permissions;
use tercet_broker::policy::{Policy, PolicyKind};
use tercet_broker::vhost::Vhost;

use crate::housekeeping::carry_out;
use crate::shared::Shared;

/// The class of the policies of a kind among the definitions.
#[must_use]
pub(crate) const fn policy_class(kind: PolicyKind) -> u8 {
    match kind {
        PolicyKind::User => POLICIES,
        PolicyKind::Operator => OPERATOR_POLICIES,
    }
}

/// What may be done in the topic space: the rules of the ACL file and what the accounts may do, put in force together
/// whenever either changes.
pub(crate) struct TopicRules {
    /// Those of the file. Locked while both are put together, so that neither change is lost.
    rules: Mutex<Permissions>,
    vhost: Arc<Vhost>,
    /// Not the owner: the accounts call this when they change.
    accounts: Weak<AccessStore>,
}

impl TopicRules {
    /// Puts these rules in force, and follows the accounts from now on.
    pub(crate) fn follow(rules: Permissions, vhost: &Arc<Vhost>, accounts: &Arc<AccessStore>) -> Arc<Self> {
        let rules = Mutex::new(rules);
        let this = Arc::new(Self { rules, vhost: Arc::clone(vhost), accounts: Arc::downgrade(accounts) });
        let following = Arc::clone(&this);
        accounts.on_change(move |_| following.put_in_force(&following.rules.lock()));
        this.put_in_force(&this.rules.lock());
        this
    }

    /// Replaces the rules of the file.
    pub(crate) fn replace(&self, rules: Permissions) {
        let mut current = self.rules.lock();
        *current = rules;
        self.put_in_force(&current);
    }

    fn put_in_force(&self, rules: &Permissions) {
        let rights =
            self.accounts.upgrade().and_then(|accounts| accounts.topic_rights(self.vhost.topic_mapping()));
        self.vhost.set_permissions(rules.with_accounts(rights));
    }
}

/// Puts policies and limits in force, in every virtual host.
pub(crate) fn put_in_force(shared: &Shared) {
    let mut effects = Effects::default();
    let access = shared.authenticator.access();
    for vhost in shared.hosts.all() {
        vhost.set_max_queues(access.vhost_limits(vhost.name()).max_queues);
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            put_policies_in_force(&access, kind, &vhost, &mut effects);
        }
    }
    carry_out(shared, &mut effects);
}

fn put_policies_in_force(access: &AccessStore, kind: PolicyKind, vhost: &Vhost, effects: &mut Effects) {
    let prefix = key_in(vhost.name(), "");
    for (key, value) in access.table().all(policy_class(kind)) {
        let Some(policy) = key.strip_prefix(&prefix) else { continue };
        match Policy::decode(kind, policy, &value) {
            Ok(policy) => vhost.set_policy(kind, policy, Now::read(), effects),
            Err(error) => {
                tracing::error!(vhost = %vhost.name(), policy, %error, "a policy that was set is not in force any more");
            }
        }
    }
}
