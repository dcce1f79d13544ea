//! UNSUBSCRIBE (§3.10).

use core::fmt;

use crate::error::{DecodeError, ErrorKind, Result};
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet_id::PacketId;
use crate::property::{UnsubscribeProperties, property_section, read_properties};
use crate::topic::TopicFilter;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// A client's request to end subscriptions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// Links the UNSUBACK to this packet.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: UnsubscribeProperties<'a>,
    /// Filters of the subscriptions to end: at least one.
    pub filters: Filters<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let packet_id = reader.packet_id()?;
        let properties =
            if version.is_v5() { read_properties(reader, limits)? } else { UnsubscribeProperties::default() };
        let filters = Filters(List::Wire(reader.rest()));
        if reader.is_empty() {
            return Err(reader.fail(ErrorKind::NoFilters(PacketType::Unsubscribe)));
        }
        while !reader.is_empty() {
            let at = reader.offset();
            TopicFilter::parse_bytes(reader.binary()?, limits).map_err(|kind| DecodeError::new(kind, at))?;
        }
        Ok(Self { packet_id, properties, filters })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.u16(self.packet_id.get());
        if version.is_v5() {
            property_section(&self.properties, out);
        }
        for filter in self.filters {
            out.text(filter.as_str());
        }
    }
}

/// The filters of an UNSUBSCRIBE, in order: a view of a decoded packet or of a slice.
#[derive(Clone, Copy)]
pub struct Filters<'a>(List<'a>);

#[derive(Clone, Copy)]
enum List<'a> {
    /// The validated payload of a packet.
    Wire(&'a [u8]),
    Slice(&'a [TopicFilter<'a>]),
}

impl<'a> Filters<'a> {
    /// The filters of a slice.
    pub const fn new(filters: &'a [TopicFilter<'a>]) -> Self {
        Self(List::Slice(filters))
    }

    /// The filters, in order.
    pub const fn iter(&self) -> FiltersIter<'a> {
        FiltersIter(self.0)
    }

    /// How many there are; counts them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none, which no valid packet has.
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            List::Wire(payload) => payload.is_empty(),
            List::Slice(filters) => filters.is_empty(),
        }
    }
}

impl<'a> From<&'a [TopicFilter<'a>]> for Filters<'a> {
    fn from(filters: &'a [TopicFilter<'a>]) -> Self {
        Self::new(filters)
    }
}

impl<'a, const N: usize> From<&'a [TopicFilter<'a>; N]> for Filters<'a> {
    fn from(filters: &'a [TopicFilter<'a>; N]) -> Self {
        Self::new(filters)
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Filters<'a> {
    type Item = TopicFilter<'a>;
    type IntoIter = FiltersIter<'a>;

    fn into_iter(self) -> FiltersIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Filters`].
#[derive(Clone, Copy)]
pub struct FiltersIter<'a>(List<'a>);

impl<'a> Iterator for FiltersIter<'a> {
    type Item = TopicFilter<'a>;

    fn next(&mut self) -> Option<TopicFilter<'a>> {
        match &mut self.0 {
            List::Wire(payload) => {
                let mut reader = Reader::new(payload, 0);
                let filter = TopicFilter::trusted(reader.text(false).ok()?);
                *payload = reader.rest();
                Some(filter)
            }
            List::Slice(filters) => {
                let (first, rest) = filters.split_first()?;
                *filters = rest;
                Some(*first)
            }
        }
    }
}
