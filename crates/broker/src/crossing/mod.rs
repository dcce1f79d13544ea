//! What happens to a message that comes by one protocol and leaves by another.
//!
//! - [`address`]: topics of MQTT as routing keys of AMQP, and back.

pub mod address;
