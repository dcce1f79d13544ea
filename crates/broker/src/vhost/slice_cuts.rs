//! Up to where the slices of a table in a checkpoint contain what happened.

use crate::journal::Place;
use crate::vhost::recovery::Contradiction;

/// Cuts of the slices of a table, by the last key of each, in order; `None` for the last slice.
pub(super) struct SliceCuts<K>(Vec<(Option<K>, Place)>);

impl<K> Default for SliceCuts<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord> SliceCuts<K> {
    /// Another slice was loaded, which ends with this key.
    pub(super) fn push(&mut self, last: Option<K>, cut: Place) -> Result<(), Contradiction> {
        let before = self.0.last().map(|(last, _)| last);
        if before.is_some_and(|before| before.is_none() || last.is_some() && *before >= last) {
            return Err(Contradiction("slices of a table are out of order"));
        }
        self.0.push((last, cut));
        Ok(())
    }

    /// Whether a record at `place` about this key is still to be applied.
    pub(super) fn awaits(&self, key: &K, place: Place) -> bool {
        let slice = self.0.partition_point(|(last, _)| last.as_ref().is_some_and(|last| last < key));
        self.0.get(slice).is_none_or(|(_, cut)| place >= *cut)
    }
}
