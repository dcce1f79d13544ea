//! Properties that may occur more than once.

use core::fmt;

use crate::property::id::PropertyId;
use crate::property::section::{Value, next_property};
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// User Properties: pairs of names and values, in order, names possibly repeated.
///
/// Either a view of a decoded packet or of a slice: `UserProperties::from(&[("name", "value")])`.
#[derive(Clone, Copy)]
pub struct UserProperties<'a>(User<'a>);

#[derive(Clone, Copy)]
enum User<'a> {
    /// A validated part of a property section. Other properties may stand between.
    Wire(&'a [u8]),
    Pairs(&'a [(&'a str, &'a str)]),
}

impl<'a> UserProperties<'a> {
    /// The pairs of a slice.
    pub const fn new(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self(User::Pairs(pairs))
    }

    pub(crate) const fn wire(section: &'a [u8]) -> Self {
        Self(User::Wire(section))
    }

    /// The pairs, in order.
    pub const fn iter(&self) -> UserPropertiesIter<'a> {
        UserPropertiesIter(self.0)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            User::Wire(section) => section.is_empty(),
            User::Pairs(pairs) => pairs.is_empty(),
        }
    }

    /// The first value with this name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn write<S: Sink>(&self, out: &mut S) {
        match self.0 {
            User::Wire(mut section) => {
                while let Some((id, _, bytes)) = next_property(&mut section) {
                    if id == PropertyId::UserProperty {
                        out.bytes(bytes);
                    }
                }
            }
            User::Pairs(pairs) => {
                for (name, value) in pairs {
                    out.u8(PropertyId::UserProperty as u8);
                    out.text(name);
                    out.text(value);
                }
            }
        }
    }
}

impl Default for UserProperties<'_> {
    #[inline]
    fn default() -> Self {
        Self(User::Wire(&[]))
    }
}

impl<'a> From<&'a [(&'a str, &'a str)]> for UserProperties<'a> {
    fn from(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self::new(pairs)
    }
}

impl<'a, const N: usize> From<&'a [(&'a str, &'a str); N]> for UserProperties<'a> {
    fn from(pairs: &'a [(&'a str, &'a str); N]) -> Self {
        Self::new(pairs)
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = UserPropertiesIter<'a>;

    fn into_iter(self) -> UserPropertiesIter<'a> {
        self.iter()
    }
}

/// Iterates over [`UserProperties`].
#[derive(Clone, Copy)]
pub struct UserPropertiesIter<'a>(User<'a>);

impl<'a> Iterator for UserPropertiesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        match &mut self.0 {
            User::Wire(section) => loop {
                let (id, _, bytes) = next_property(section)?;
                if id == PropertyId::UserProperty {
                    let mut pair = Reader::new(bytes.get(1..)?, 0);
                    return Some((pair.text(false).ok()?, pair.text(false).ok()?));
                }
            },
            User::Pairs(pairs) => {
                let (first, rest) = pairs.split_first()?;
                *pairs = rest;
                Some(*first)
            }
        }
    }
}

/// Subscription Identifiers of a PUBLISH, in order.
///
/// Either a view of a decoded packet or of a slice: `SubscriptionIds::from(&[1, 7])`. Values of a slice are to lie
/// within 1 to 268,435,455; others are not written.
#[derive(Clone, Copy)]
pub struct SubscriptionIds<'a>(Ids<'a>);

#[derive(Clone, Copy)]
enum Ids<'a> {
    /// A validated part of a property section. Other properties may stand between.
    Wire(&'a [u8]),
    Numbers(&'a [u32]),
}

impl<'a> SubscriptionIds<'a> {
    /// The identifiers of a slice.
    pub const fn new(ids: &'a [u32]) -> Self {
        Self(Ids::Numbers(ids))
    }

    pub(crate) const fn wire(section: &'a [u8]) -> Self {
        Self(Ids::Wire(section))
    }

    /// The identifiers, in order.
    pub const fn iter(&self) -> SubscriptionIdsIter<'a> {
        SubscriptionIdsIter(self.0)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Ids::Wire(section) => section.is_empty(),
            Ids::Numbers(ids) => ids.is_empty(),
        }
    }

    #[inline]
    pub(crate) fn write<S: Sink>(&self, out: &mut S) {
        for id in self.iter() {
            out.u8(PropertyId::SubscriptionIdentifier as u8);
            out.varint(id);
        }
    }
}

impl Default for SubscriptionIds<'_> {
    #[inline]
    fn default() -> Self {
        Self(Ids::Wire(&[]))
    }
}

impl<'a> From<&'a [u32]> for SubscriptionIds<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self::new(ids)
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for SubscriptionIds<'a> {
    fn from(ids: &'a [u32; N]) -> Self {
        Self::new(ids)
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for SubscriptionIds<'a> {
    type Item = u32;
    type IntoIter = SubscriptionIdsIter<'a>;

    fn into_iter(self) -> SubscriptionIdsIter<'a> {
        self.iter()
    }
}

/// Iterates over [`SubscriptionIds`].
#[derive(Clone, Copy)]
pub struct SubscriptionIdsIter<'a>(Ids<'a>);

impl Iterator for SubscriptionIdsIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match &mut self.0 {
            Ids::Wire(section) => loop {
                if let (PropertyId::SubscriptionIdentifier, Value::VarInt(id), _) = next_property(section)? {
                    return Some(id);
                }
            },
            Ids::Numbers(ids) => loop {
                let (&first, rest) = ids.split_first()?;
                *ids = rest;
                if crate::property::SubscriptionId::new(first).is_some() {
                    return Some(first);
                }
            },
        }
    }
}
