//! A recorded run, which can be stopped at every step of it.

use super::control::Control;
use super::disk::SimDisk;
use super::tree::{Step, Tree};

/// The steps done to a disk while it was recorded.
#[derive(Clone, Debug)]
pub struct History {
    start: Tree,
    first: u64,
    capacity: Option<u64>,
    steps: Vec<Step>,
}

impl History {
    pub(super) fn new(start: Tree, first: u64, capacity: Option<u64>) -> Self {
        Self { start, first, capacity, steps: Vec::new() }
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// [`SimDisk::steps`] at the first disk of [`History::disks`].
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Steps recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What step `index` did, in words.
    #[must_use]
    pub fn describe(&self, index: usize) -> String {
        self.steps.get(index).map_or_else(|| "nothing".to_owned(), Step::describe)
    }

    /// The disk as it was before the first step, after the first, after the second and so on, to the last.
    pub fn disks(&self) -> impl Iterator<Item = SimDisk> {
        let mut tree = self.start.clone();
        (0..=self.steps.len()).map(move |count| {
            if let Some(step) = count.checked_sub(1).and_then(|index| self.steps.get(index)) {
                tree.apply(step);
            }
            SimDisk::with(tree.clone(), Control::with_capacity(self.capacity))
        })
    }
}
