//! Where definitions are kept.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::journal::Position;

/// Class of the accounts; the key is the user name.
pub const ACCOUNTS: u8 = 1;
/// Class of the limits of virtual hosts; the key is the name of the virtual host.
pub const VHOST_LIMITS: u8 = 2;

/// A table of small values by class and key that survives a restart.
pub trait DefinitionTable: Send + Sync {
    /// Everything of one class.
    fn all(&self, class: u8) -> Vec<(Box<str>, Vec<u8>)>;

    /// Sets a value. The position is that at which it is durable.
    fn put(&self, class: u8, key: &str, value: &[u8]) -> Position;

    /// Removes a value, if there is one.
    fn remove(&self, class: u8, key: &str) -> Position;
}

type ClassAndKey = (u8, Box<str>);

/// A table in memory.
#[derive(Debug, Default)]
pub struct MemoryTable {
    values: Mutex<BTreeMap<ClassAndKey, Vec<u8>>>,
}

impl DefinitionTable for MemoryTable {
    fn all(&self, class: u8) -> Vec<(Box<str>, Vec<u8>)> {
        let values = self.values.lock();
        let of_class = values.range((class, Box::from(""))..).take_while(|((found, _), _)| *found == class);
        of_class.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn put(&self, class: u8, key: &str, value: &[u8]) -> Position {
        self.values.lock().insert((class, key.into()), value.to_vec());
        Position::default()
    }

    fn remove(&self, class: u8, key: &str) -> Position {
        self.values.lock().remove(&(class, Box::from(key)));
        Position::default()
    }
}
