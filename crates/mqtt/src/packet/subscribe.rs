//! SUBSCRIBE (§3.8).

use core::fmt;

use crate::error::{DecodeError, ErrorKind, Result};
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet_id::PacketId;
use crate::property::{SubscribeProperties, property_section, read_properties};
use crate::qos::QoS;
use crate::topic::TopicFilter;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// A client's request for subscriptions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// Links the SUBACK to this packet.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: SubscribeProperties<'a>,
    /// What is subscribed to: at least one filter.
    pub subscriptions: Subscriptions<'a>,
}

/// One topic filter of a SUBSCRIBE and how to serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Topic filter.
    pub filter: TopicFilter<'a>,
    /// Options.
    pub options: SubscribeOptions,
}

/// How a subscription is to be served (§3.8.3.1). MQTT 3.x has only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscribeOptions {
    /// Greatest QoS to deliver with.
    pub qos: QoS,
    /// Do not deliver what this client publishes itself.
    pub no_local: bool,
    /// Deliver with the retain flag that the message was published with.
    pub retain_as_published: bool,
    /// Which retained messages to deliver now.
    pub retain_handling: RetainHandling,
}

/// Whether a new subscription gets the retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Always.
    #[default]
    Send = 0,
    /// Only if the subscription did not exist before.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl From<QoS> for SubscribeOptions {
    fn from(qos: QoS) -> Self {
        Self { qos, ..Self::default() }
    }
}

impl SubscribeOptions {
    /// The options byte of MQTT 5.0; its lower two bits are that of MQTT 3.x.
    pub const fn to_byte(self) -> u8 {
        self.qos as u8
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }

    fn parse(byte: u8, version: Version) -> core::result::Result<Self, ErrorKind> {
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        if byte & reserved != 0 {
            return Err(ErrorKind::SubscriptionOptions);
        }
        // §3.8.3.1 calls 3 a Protocol Error; 3.1.1 treats it as a reserved value [MQTT-3-8.3-4].
        let qos = QoS::new(byte & 0b11).ok_or(ErrorKind::SubscriptionQos)?;
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(ErrorKind::RetainHandling),
        };
        Ok(Self { qos, no_local: byte & 0x04 != 0, retain_as_published: byte & 0x08 != 0, retain_handling })
    }
}

impl<'a> Subscribe<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let packet_id = reader.packet_id()?;
        let properties =
            if version.is_v5() { read_properties(reader, limits)? } else { SubscribeProperties::default() };
        let subscriptions = Subscriptions(List::Wire(reader.rest()));
        if reader.is_empty() {
            return Err(reader.fail(ErrorKind::NoFilters(PacketType::Subscribe)));
        }
        while !reader.is_empty() {
            let at = reader.offset();
            let filter = TopicFilter::parse_bytes(reader.binary()?, limits)
                .map_err(|kind| DecodeError::new(kind, at))?;
            let at = reader.offset();
            let options =
                SubscribeOptions::parse(reader.u8()?, version).map_err(|kind| DecodeError::new(kind, at))?;
            if options.no_local && filter.shared().is_some() {
                return Err(DecodeError::new(ErrorKind::NoLocalOnShared, at));
            }
        }
        Ok(Self { packet_id, properties, subscriptions })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.u16(self.packet_id.get());
        if version.is_v5() {
            property_section(&self.properties, out);
        }
        for subscription in self.subscriptions {
            out.text(subscription.filter.as_str());
            let options = subscription.options;
            out.u8(if version.is_v5() { options.to_byte() } else { options.qos as u8 });
        }
    }
}

/// The subscriptions of a SUBSCRIBE, in order: a view of a decoded packet or of a slice.
#[derive(Clone, Copy)]
pub struct Subscriptions<'a>(List<'a>);

#[derive(Clone, Copy)]
enum List<'a> {
    /// The validated payload of a packet.
    Wire(&'a [u8]),
    Slice(&'a [Subscription<'a>]),
}

impl<'a> Subscriptions<'a> {
    /// The subscriptions of a slice.
    pub const fn new(subscriptions: &'a [Subscription<'a>]) -> Self {
        Self(List::Slice(subscriptions))
    }

    /// The subscriptions, in order.
    pub const fn iter(&self) -> SubscriptionsIter<'a> {
        SubscriptionsIter(self.0)
    }

    /// How many there are; counts them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none, which no valid packet has.
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            List::Wire(payload) => payload.is_empty(),
            List::Slice(subscriptions) => subscriptions.is_empty(),
        }
    }
}

impl<'a> From<&'a [Subscription<'a>]> for Subscriptions<'a> {
    fn from(subscriptions: &'a [Subscription<'a>]) -> Self {
        Self::new(subscriptions)
    }
}

impl<'a, const N: usize> From<&'a [Subscription<'a>; N]> for Subscriptions<'a> {
    fn from(subscriptions: &'a [Subscription<'a>; N]) -> Self {
        Self::new(subscriptions)
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Subscriptions<'a> {
    type Item = Subscription<'a>;
    type IntoIter = SubscriptionsIter<'a>;

    fn into_iter(self) -> SubscriptionsIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Subscriptions`].
#[derive(Clone, Copy)]
pub struct SubscriptionsIter<'a>(List<'a>);

impl<'a> Iterator for SubscriptionsIter<'a> {
    type Item = Subscription<'a>;

    fn next(&mut self) -> Option<Subscription<'a>> {
        match &mut self.0 {
            List::Wire(payload) => {
                let mut reader = Reader::new(payload, 0);
                let filter = TopicFilter::trusted(reader.text(false).ok()?);
                let options = SubscribeOptions::parse(reader.u8().ok()?, Version::V5).ok()?;
                *payload = reader.rest();
                Some(Subscription { filter, options })
            }
            List::Slice(subscriptions) => {
                let (first, rest) = subscriptions.split_first()?;
                *subscriptions = rest;
                Some(*first)
            }
        }
    }
}
