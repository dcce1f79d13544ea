//! What happens to a message that comes by one protocol and leaves by another.
//!
//! - [`address`]: topics of MQTT as routing keys of AMQP, and back.
//! - [`to_amqp`], [`to_mqtt`], [`coap`]: what is said about a message beside its address and payload.
//!
//! The pairs are: Content Type and `content_type`; Message Expiry Interval and `expiration`; Response Topic and `reply_to`
//! (both as addresses in the topic space); Correlation Data and `correlation_id`; User Properties and application headers;
//! the Payload Format Indicator and `content_encoding` `utf-8`; QoS above 0 and persistent. CoAP has the type, as
//! Content-Format, and the expiry. What has no counterpart, or does not fit it, is not carried, and counted.

use std::ops::AddAssign;

pub mod address;
pub mod coap;
mod mqtt_list;
pub mod to_amqp;
pub mod to_mqtt;

#[cfg(test)]
mod tests;

/// `content_encoding` of text.
const TEXT_ENCODING: &str = "utf-8";

/// The header of Correlation Data that is no text, or too long for `correlation_id`.
const CORRELATION_HEADER: &str = "x-correlation-id";

/// Whether a header is the application's: what begins with `x-`, and `CC` and `BCC`, tell the broker something, or are
/// its own.
fn is_application_header(name: &str) -> bool {
    !(name.starts_with("x-") || name == "CC" || name == "BCC")
}

/// How many properties of a message could not be carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotCarried(pub u64);

impl NotCarried {
    fn note(&mut self, carried: bool) {
        self.0 += u64::from(!carried);
    }
}

impl AddAssign for NotCarried {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}
