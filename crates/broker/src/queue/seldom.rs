//! A table that most queues never need.

/// A table that takes no more than a pointer until it is first used.
#[derive(Debug, Default)]
pub(crate) struct Seldom<T>(Option<Box<T>>);

impl<T: Default> Seldom<T> {
    /// The table, if it was ever used.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// The table, in order to put something in.
    pub(crate) fn get_or_make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// What is in the table, which is left empty.
    pub(crate) fn take(&mut self) -> T {
        self.0.take().map(|table| *table).unwrap_or_default()
    }

    /// Forgets the table with everything in it.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
