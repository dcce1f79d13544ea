//! What the configuration says about a listener that speaks HTTP.

use tercet_net::websocket::{OriginPolicy, ServerOptions};

use crate::config::{Listener, Protocol};

/// Settings of a listener that speaks HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Path of the WebSocket.
    pub websocket_path: String,
    /// What is asked of an upgrade request.
    pub websocket: ServerOptions,
    /// Whether it serves more than the WebSocket.
    pub pages: bool,
}

impl HttpSettings {
    /// The settings of a listener; `None` when it does not speak HTTP.
    #[must_use]
    pub fn of(listener: &Listener) -> Option<Self> {
        let pages = match listener.protocol {
            Protocol::Http => true,
            Protocol::Ws => false,
            Protocol::Mqtt => return None,
        };
        let origins = if listener.websocket_origins.is_empty() {
            OriginPolicy::Any
        } else {
            OriginPolicy::Listed(listener.websocket_origins.clone())
        };
        let websocket = ServerOptions { origins, ..ServerOptions::mqtt() };
        Some(Self { websocket_path: listener.websocket_path.clone(), websocket, pages })
    }
}
