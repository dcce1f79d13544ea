//! Virtual hosts: names and what they are known by in the log.

/// Identifies a virtual host in the log; never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VhostId(pub u64);

impl VhostId {
    /// The virtual host that always exists, `/`; MQTT's.
    pub const DEFAULT: Self = Self(0);
}
