//! Properties of MQTT 5.0 packets (§2.2.2).
//!
//! Each packet type has a struct of the properties it may carry. All its fields are public and [`Default`] means
//! absent, so a packet is written as `ConnAckProperties { server_keep_alive: Some(30), ..Default::default() }` and read
//! by field. Lists ([`UserProperties`], [`SubscriptionIds`]) are views: of the packet they were decoded from, or of a
//! slice the caller has.

mod id;
mod lists;
mod publish;
mod section;
mod sets;

pub use id::PropertyId;
pub use lists::{SubscriptionIds, SubscriptionIdsIter, UserProperties, UserPropertiesIter};
pub use publish::PublishProperties;
pub(crate) use section::{property_section, read_properties};
pub use sets::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    SubAckProperties, SubscribeProperties, UnsubAckProperties, UnsubscribeProperties, WillProperties,
};

use core::num::NonZeroU32;

/// What a payload is (Payload Format Indicator).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Unspecified bytes, the same as no indicator.
    Bytes = 0,
    /// UTF-8 text.
    Utf8 = 1,
}

/// The identifier a client gives to a subscription: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The identifier with this number, or `None` outside of 1 to 268,435,455.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(id) if value <= crate::wire::sink::VARINT_MAX as u32 => Some(Self(id)),
            _ => None,
        }
    }

    /// The identifier as a number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}
