//! What the configuration says about a listener that speaks HTTP.

use tercet_coap::stream;
use tercet_net::websocket::{OriginPolicy, ServerOptions};

use crate::config::{Config, Listener, Protocol};
use crate::reactor::face::FaceKind;

/// Settings of a listener that speaks HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Path of MQTT over WebSocket.
    pub websocket_path: String,
    /// What is asked of an upgrade request to it.
    pub websocket: ServerOptions,
    /// Path of AMQP over WebSocket.
    pub amqp_path: String,
    /// What is asked of an upgrade request to it.
    pub amqp: ServerOptions,
    /// What is asked of an upgrade request to speak CoAP; `None` when no listener speaks it.
    pub coap: Option<ServerOptions>,
    /// Whether it serves more than the WebSockets.
    pub pages: bool,
}

impl HttpSettings {
    /// The settings of a listener; `None` when it does not speak HTTP.
    #[must_use]
    pub fn of(config: &Config, listener: &Listener) -> Option<Self> {
        let pages = match listener.protocol {
            Protocol::Http => true,
            Protocol::Ws => false,
            Protocol::Mqtt | Protocol::Amqp | Protocol::Coap | Protocol::CoapTcp => return None,
        };
        let origins = if listener.websocket_origins.is_empty() {
            OriginPolicy::Any
        } else {
            OriginPolicy::Listed(listener.websocket_origins.clone())
        };
        let websocket = ServerOptions { origins, ..ServerOptions::mqtt() };
        // The path says what it is: there are clients that ask for no subprotocol.
        let amqp = ServerOptions {
            subprotocols: vec!["amqp".to_owned()],
            require_subprotocol: false,
            ..websocket.clone()
        };
        // RFC 8323 §8.1: without the subprotocol it is none of CoAP.
        let speaks_coap =
            |listener: &Listener| matches!(listener.protocol, Protocol::Coap | Protocol::CoapTcp);
        let coap = config.listeners.iter().any(speaks_coap).then(|| ServerOptions {
            subprotocols: vec![stream::WEBSOCKET_SUBPROTOCOL.to_owned()],
            ..websocket.clone()
        });
        let websocket_path = listener.websocket_path.clone();
        Some(Self {
            websocket_path,
            websocket,
            amqp_path: config.amqp.websocket_path.clone(),
            amqp,
            coap,
            pages,
        })
    }

    /// What is asked of an upgrade request to speak this protocol; `None` if it is not spoken.
    #[must_use]
    pub fn options(&self, face: FaceKind) -> Option<&ServerOptions> {
        match face {
            FaceKind::Mqtt => Some(&self.websocket),
            FaceKind::Amqp => Some(&self.amqp),
            FaceKind::Coap | FaceKind::CoapWebSocket => self.coap.as_ref(),
        }
    }
}
