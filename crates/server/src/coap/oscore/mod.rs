//! OSCORE (RFC 8613): requests and notifications protected end to end, on any transport.
//!
//! Contexts come from a file (`coap.oscore-file`) and are shared by all reactors, because a client may come back by another
//! one: each has a lock of its own. A request that was read goes through the face like any other, with an identity that its
//! context has proven; what answers it carries along how to be protected ([`Protection`]).
//!
//! - [`contexts`]: the file, and finding the context of a request.
//! - [`security`]: one context, its sequence numbers and how they are stored.
//! - [`protection`]: what is kept to protect responses and notifications.
//! - [`requests`]: the way of a protected request into the face.

pub mod contexts;
pub mod protection;
pub mod requests;
pub mod security;

pub use contexts::Contexts;
pub use protection::Protection;
