//! The resource directory (RFC 9176): devices register what they serve, others look it up.
//!
//! Registrations are in memory, shared by all reactors, and end with the server: devices renew theirs within its lifetime
//! anyway. Their number and size are bounded. Who registered a name alone may register it again, renew or remove it
//! (RFC 9176 §7.5): the user, or without one the address.
//!
//! - [`parameters`]: what the query of a registration says.
//! - [`registration`]: what a device has told of itself.
//! - [`registrations`]: all of them, by place, by name, by time.
//! - [`lookup`]: which of them, and how they are written.
//! - [`resources`]: requests and their answers.

mod lookup;
mod parameters;
mod registration;
mod registrations;
mod resources;

use std::sync::Arc;

use parking_lot::Mutex;
use tercet_coap::link_format::Link;

use self::registrations::Registrations;
pub use self::resources::{is_for, serve};

/// The directory of a server.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Mutex<Registrations>>);

/// What `/.well-known/core` says about it (RFC 9176 §4).
pub fn links() -> [Link<'static>; 3] {
    [("/rd", "core.rd"), ("/rd-lookup/res", "core.rd-lookup-res"), ("/rd-lookup/ep", "core.rd-lookup-ep")]
        .map(|(path, kind)| Link::new(path).with("rt", kind).with("ct", "40"))
}
