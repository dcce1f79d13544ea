//! What is kept of a protected request to protect what answers it.

use std::sync::Arc;

use tercet_coap::oscore::{Exchange, ProtectError};
use tercet_coap::{Code, Limits, OwnedMessage, Writer, stream};

use super::security::Security;

/// How the responses of a request are protected.
pub struct Protection {
    pub(super) security: Arc<Security>,
    pub(super) exchange: Exchange,
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protection").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Protection {
    /// Another one for the notifications that follow the response.
    #[must_use]
    pub fn for_notifications(&self) -> Self {
        Self { security: Arc::clone(&self.security), exchange: self.exchange.for_notifications() }
    }

    /// What is mixed into the names of its bodies under way, so that nobody without the key adds blocks to them.
    #[must_use]
    pub fn salt(&self) -> u64 {
        self.security.salt
    }

    /// Protects a message that is written as if it were not.
    ///
    /// # Errors
    /// No sequence number may be used.
    pub fn protect(
        &mut self,
        code: Code,
        token: &[u8],
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<OwnedMessage, ProtectError> {
        let mut bytes = Vec::new();
        write(&mut Writer::websocket(&mut bytes, code, token));
        let message =
            stream::decode_websocket(&bytes, &Limits::protocol()).map_err(|_| ProtectError::Message)?;
        self.security.protect(&mut self.exchange, &message)
    }
}
