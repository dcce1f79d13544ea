//! Observing resources (RFC 7641), on both sides: what makes a notification newer, the numbers that a server gives them, and
//! a client's registration.

mod order;
mod registration;
mod sequence;

pub use order::is_newer;
pub use registration::{Notification, Registration};
pub use sequence::Sequence;

/// The value of the Observe option in a request that registers (RFC 7641 §2).
pub const REGISTER: u32 = 0;
/// The value of the Observe option in a request that deregisters (RFC 7641 §2).
pub const DEREGISTER: u32 = 1;
