//! Who consumes from a queue, and whose turn it is.
//!
//! Consumers of a higher priority come first; those of one priority take turns. With a single active consumer the first
//! one gets everything and the others wait for it to leave.

use std::sync::Arc;

use crate::named_queue::Consumption;

/// The consumers of one queue.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    /// By priority, the highest first.
    levels: Vec<Level>,
    count: usize,
    /// Nobody could take anything when somebody last looked; so nobody looks again until that may have changed.
    dry: bool,
    /// Level and place of the one that was offered something last.
    offered: (usize, usize),
    /// Who gets everything, if only one is to get something.
    active: Option<Arc<Consumption>>,
}

#[derive(Debug)]
struct Level {
    priority: i32,
    members: Vec<Arc<Consumption>>,
    /// Whose turn it is.
    turn: usize,
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in the order in which they would become active.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Consumption>> {
        self.levels.iter().flat_map(|level| &level.members)
    }

    /// Whether one of them wants nobody beside it.
    pub(super) fn any_exclusive(&self) -> bool {
        self.iter().any(|consumer| consumer.exclusive)
    }

    pub(super) fn add(&mut self, consumption: Arc<Consumption>) {
        self.active.get_or_insert_with(|| Arc::clone(&consumption));
        let priority = consumption.priority;
        let index = self.levels.partition_point(|level| level.priority > priority);
        match self.levels.get_mut(index).filter(|level| level.priority == priority) {
            Some(level) => level.members.push(consumption),
            None => self.levels.insert(index, Level { priority, members: vec![consumption], turn: 0 }),
        }
        self.count += 1;
        self.dry = false;
    }

    /// Removes one; false if it is not there.
    pub(super) fn remove(&mut self, consumption: &Arc<Consumption>) -> bool {
        let found = self.levels.iter_mut().enumerate().find_map(|(index, level)| {
            let at = level.members.iter().position(|other| Arc::ptr_eq(other, consumption))?;
            level.members.remove(at);
            if level.turn > at {
                level.turn -= 1;
            }
            Some((index, level.members.is_empty()))
        });
        let Some((index, emptied)) = found else { return false };
        if emptied {
            self.levels.remove(index);
        }
        if self.levels.is_empty() {
            self.levels = Vec::new();
        }
        self.count -= 1;
        if self.active.as_ref().is_some_and(|active| Arc::ptr_eq(active, consumption)) {
            let next = self.iter().next().cloned();
            self.active = next;
        }
        self.dry = false;
        true
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<Arc<Consumption>> {
        let all = self.iter().cloned().collect();
        *self = Self::default();
        all
    }

    /// Somebody may be able to take something again.
    pub(super) fn wake(&mut self) {
        self.dry = false;
    }

    /// Whether nobody can take anything.
    pub(super) fn is_dry(&self) -> bool {
        self.dry || self.count == 0
    }

    /// Messages that consumers could take at once, no more than `most`.
    pub(super) fn credit(&self, most: u64) -> u64 {
        let able = self.iter().filter(|consumer| consumer.is_able());
        able.fold(0, |sum: u64, consumer| sum.saturating_add(u64::from(consumer.credit()))).min(most)
    }

    /// Whether anybody can take something.
    pub(super) fn is_any_able(&mut self) -> bool {
        self.dry = self.dry || !self.iter().any(|consumer| consumer.is_able());
        !self.dry
    }

    /// Who is next; `None` if nobody can take anything. It stays its turn until [`Consumers::taken`].
    pub(super) fn next(&mut self) -> Option<&Arc<Consumption>> {
        if self.dry {
            return None;
        }
        let found = self.levels.iter().enumerate().find_map(|(index, level)| Some((index, level.able()?)));
        let Some((index, at)) = found else {
            self.dry = true;
            return None;
        };
        self.offered = (index, at);
        self.levels.get(index)?.members.get(at)
    }

    /// The one that was next has taken something: the turn passes on.
    #[inline]
    pub(super) fn taken(&mut self) {
        let (index, at) = self.offered;
        if let Some(level) = self.levels.get_mut(index) {
            level.turn = at + 1;
        }
    }

    /// Who is active, and able to take something. One of a higher priority takes over, if `by_priority`, once the active
    /// one has nothing outstanding, and until then that one gets nothing more.
    pub(super) fn next_active(&mut self, by_priority: bool) -> Option<&Arc<Consumption>> {
        let first = self.levels.first().and_then(|level| level.members.first())?;
        let outranked =
            by_priority && self.active.as_ref().is_some_and(|active| first.priority > active.priority);
        if outranked && self.active.as_ref().is_some_and(|active| active.unacked() == 0) {
            self.active = Some(Arc::clone(first));
        } else if outranked {
            self.dry = true;
            return None;
        }
        let active = self.active.as_ref().filter(|active| active.is_able());
        self.dry = active.is_none();
        active
    }

    /// Whether this one is active, where only one is.
    pub(super) fn is_active(&self, consumption: &Arc<Consumption>) -> bool {
        self.active.as_ref().is_some_and(|active| Arc::ptr_eq(active, consumption))
    }
}

impl Level {
    /// The first that can take something, beginning with the one whose turn it is.
    #[inline]
    fn able(&self) -> Option<usize> {
        let count = self.members.len();
        let start = if self.turn < count { self.turn } else { 0 };
        let (sooner, later) = self.members.split_at(start);
        let offset = later.iter().chain(sooner).position(|consumer| consumer.is_able())?;
        Some((start + offset) % count)
    }
}
