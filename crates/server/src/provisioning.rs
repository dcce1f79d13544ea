//! What was defined at run time, put in force again when the server starts: policies and limits of virtual hosts.
//!
//! Users and their permissions need nothing done: whoever asks for them looks at the table's contents.

use tercet_broker::access::AccessStore;
use tercet_broker::clock::Now;
use tercet_broker::definitions::{OPERATOR_POLICIES, POLICIES, key_in};
use tercet_broker::effects::Effects;
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
