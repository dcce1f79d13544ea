//! The rule list in force, replaced as a whole.

use super::Permissions;
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::sync::Arc;

/// Holds the current [`Permissions`]. Reading takes no lock.
#[derive(Debug)]
pub struct PermissionStore {
    current: ArcSwap<Permissions>,
    latest_generation: Mutex<u64>,
}

impl PermissionStore {
    /// Starts with the given rules, as generation 1.
    pub fn new(permissions: Permissions) -> Self {
        Self {
            current: ArcSwap::from_pointee(permissions.with_generation(1)),
            latest_generation: Mutex::new(1),
        }
    }

    /// The rules in force now. Take it once per batch of packets.
    pub fn load(&self) -> Guard<Arc<Permissions>> {
        self.current.load()
    }

    /// The rules in force now, to keep.
    pub fn load_full(&self) -> Arc<Permissions> {
        self.current.load_full()
    }

    /// Puts new rules in force and returns their generation, which is larger than every one before.
    pub fn replace(&self, permissions: Permissions) -> u64 {
        let mut latest = self.latest_generation.lock();
        *latest += 1;
        self.current.store(Arc::new(permissions.with_generation(*latest)));
        *latest
    }
}

impl Default for PermissionStore {
    fn default() -> Self {
        Self::new(Permissions::allow_all())
    }
}
