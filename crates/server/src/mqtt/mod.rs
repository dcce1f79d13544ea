//! The MQTT face: from bytes to operations of the core and back.
//!
//! - [`connection`]: the state machine of one connection; what each packet leads to.
//! - [`connecting`]: CONNECT, authentication and CONNACK.
//! - [`publishing`]: PUBLISH and the acknowledgements in both directions.
//! - [`subscribing`]: SUBSCRIBE and UNSUBSCRIBE.
//! - [`outbox`]: deliveries of the core, encoded into the connection's output.
//! - [`settings`]: what the configuration says, per listener.

pub mod connecting;
pub mod connection;
pub mod outbox;
pub mod publishing;
pub mod settings;
pub mod subscribing;
