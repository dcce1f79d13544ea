//! What all threads of the server share.

use std::sync::Arc;

use tercet_broker::vhost::Vhost;

use crate::auth::Authenticator;
use crate::reactor::inbox::Inbox;

/// Shared by reactors, the HTTP listener and housekeeping.
pub struct Shared {
    /// The message core.
    pub vhost: Arc<Vhost>,
    /// Who may connect.
    pub authenticator: Authenticator,
    /// The reactors' mailboxes, by index.
    pub reactors: Vec<Arc<Inbox>>,
}
