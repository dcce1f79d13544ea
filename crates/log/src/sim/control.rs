//! What is done to a disk from outside, and what is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::disk::Counts;
use super::fault::{self, Fault, Operation};
use super::history::History;
use super::tree::{Inode, Step};

/// Faults, limits, counters.
#[derive(Default)]
pub(super) struct Control {
    pub(super) faults: Vec<Fault>,
    pub(super) capacity: Option<u64>,
    pub(super) holding: bool,
    pub(super) held: u64,
    pub(super) steps: u64,
    pub(super) history: Option<History>,
    pub(super) counts: BTreeMap<Inode, Counts>,
    pub(super) total: Counts,
    pub(super) violations: Vec<String>,
    /// Steps until the power goes off.
    left: Option<u64>,
    broken: BTreeSet<Inode>,
}

impl Control {
    pub(super) fn with_capacity(capacity: Option<u64>) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// For the disk after a restart.
    pub(super) fn reborn(&self) -> Self {
        Self { capacity: self.capacity, violations: self.violations.clone(), ..Self::default() }
    }

    pub(super) fn power_off_after(&mut self, steps: u64) {
        self.left = Some(steps);
    }

    pub(super) fn is_off(&self) -> bool {
        self.left == Some(0)
    }

    pub(super) fn enter(&mut self, operation: Operation, path: &Path) -> Result<(), (io::Error, usize)> {
        if self.is_off() {
            return Err((fault::eio(), 0));
        }
        let struck = self.faults.iter_mut().find_map(|fault| fault.strike(operation, path));
        self.faults.retain(|fault| !fault.is_over());
        struck.map_or(Ok(()), Err)
    }

    pub(super) fn applied(&mut self, step: Step) {
        self.steps += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        if let Some(history) = &mut self.history {
            history.push(step);
        }
    }

    pub(super) fn count(&mut self, inode: Inode, count: impl Fn(&mut Counts)) {
        count(self.counts.entry(inode).or_default());
        count(&mut self.total);
    }

    /// A write or sync of the file has failed: it must not be synced any more.
    pub(super) fn failed(&mut self, inode: Inode) {
        self.broken.insert(inode);
    }

    /// A new process cannot know what failed before.
    pub(super) fn forget_errors(&mut self) {
        self.broken.clear();
    }

    pub(super) fn check_sync(&mut self, inode: Inode, path: &Path) {
        if !self.is_off() && self.broken.remove(&inode) {
            self.violations.push(format!("{} was synced again after an error", path.display()));
        }
    }
}
