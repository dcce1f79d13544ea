//! Where bindings lead, and sets of that.

use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::named_queue::{NamedQueue, QueueId};

/// Where a binding leads.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A queue.
    Queue(Arc<NamedQueue>),
    /// The exchange of this name.
    Exchange(Arc<str>),
}

/// What a target is told from others by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TargetKey {
    Queue(QueueId),
    Exchange(Arc<str>),
}

impl Target {
    pub(crate) fn key(&self) -> TargetKey {
        match self {
            Self::Queue(queue) => TargetKey::Queue(queue.id()),
            Self::Exchange(name) => TargetKey::Exchange(Arc::clone(name)),
        }
    }

    /// The queue, if it is one.
    pub(crate) fn queue(&self) -> Option<&Arc<NamedQueue>> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Exchange(_) => None,
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Queue(a), Self::Queue(b)) => a.id() == b.id(),
            (Self::Exchange(a), Self::Exchange(b)) => a == b,
            _ => false,
        }
    }
}

/// Targets, each with the number of bindings that lead there.
#[derive(Debug)]
pub(crate) enum TargetSet {
    /// A few, one after the other.
    Few(SmallVec<[(Target, u32); 1]>),
    /// Many, by what tells them apart.
    Many(Box<HashMap<TargetKey, (Target, u32)>>),
}

impl Default for TargetSet {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl TargetSet {
    /// Targets up to which looking at each of them costs less than a table.
    const FEW: usize = 16;

    pub(crate) fn add(&mut self, target: &Target) {
        match self {
            Self::Few(targets) => {
                if let Some((_, bindings)) = targets.iter_mut().find(|(known, _)| known.is(target)) {
                    *bindings += 1;
                    return;
                }
                targets.push((target.clone(), 1));
                if targets.len() > Self::FEW {
                    let many = targets.drain(..).map(|(target, count)| (target.key(), (target, count)));
                    *self = Self::Many(Box::new(many.collect()));
                }
            }
            Self::Many(targets) => {
                targets.entry(target.key()).or_insert_with(|| (target.clone(), 0)).1 += 1;
            }
        }
    }

    /// Forgets one binding to the target.
    pub(crate) fn remove(&mut self, target: &Target) {
        match self {
            Self::Few(targets) => {
                let Some(at) = targets.iter().position(|(known, _)| known.is(target)) else { return };
                if let Some((_, bindings)) = targets.get_mut(at).filter(|(_, bindings)| *bindings > 1) {
                    *bindings -= 1;
                } else {
                    targets.remove(at);
                }
            }
            Self::Many(targets) => {
                let key = target.key();
                if let Some((_, bindings)) = targets.get_mut(&key).filter(|(_, bindings)| *bindings > 1) {
                    *bindings -= 1;
                } else {
                    targets.remove(&key);
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Few(targets) => targets.is_empty(),
            Self::Many(targets) => targets.is_empty(),
        }
    }

    pub(crate) fn for_each<'t>(&'t self, mut visit: impl FnMut(&'t Target)) {
        match self {
            Self::Few(targets) => targets.iter().for_each(|(target, _)| visit(target)),
            Self::Many(targets) => targets.values().for_each(|(target, _)| visit(target)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_as_long_as_a_binding_leads_there() {
        for others in [0, 3, 40] {
            let mut set = TargetSet::default();
            let target = |n: usize| Target::Exchange(format!("x{n}").into());
            (1..=others).for_each(|n| set.add(&target(n)));
            set.add(&target(0));
            set.add(&target(0));
            let has = |set: &TargetSet| {
                let mut found = false;
                set.for_each(|known| found |= known.is(&target(0)));
                found
            };
            set.remove(&target(0));
            assert!(has(&set), "one binding is left");
            set.remove(&target(0));
            assert!(!has(&set));
            set.remove(&target(0));
            (1..=others).for_each(|n| set.remove(&target(n)));
            assert!(set.is_empty());
        }
    }
}
