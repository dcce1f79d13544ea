//! Views of encoded tables and arrays.
//!
//! Invariant: the bytes inside a [`Table`] or [`Array`] are valid to the last nested value. Only the constructors that
//! check it, and slicing out of something that was checked, make one.

use core::fmt;

use crate::error::ErrorKind;
use crate::field::value::{Nested, Value};
use crate::wire::reader::Reader;

/// A field table: names and values in the order they were written, encoded.
///
/// Two tables are equal when their bytes are. Names are bytes: RabbitMQ does not ask them to be text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    bytes: &'a [u8],
}

/// An array of values, encoded. Two arrays are equal when their bytes are.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// Validates the encoded fields in `bytes`, without the length before them. `depth` levels of tables and arrays
    /// are accepted, this one included.
    pub fn parse(bytes: &'a [u8], depth: u8) -> Result<Self, ErrorKind> {
        let depth = depth.checked_sub(1).ok_or(ErrorKind::TooDeep)?;
        let mut reader = Reader::new(bytes, 0);
        while !reader.is_empty() {
            reader.short_bytes()?;
            Value::read(&mut reader, |nested| nested.validate(depth))?;
        }
        Ok(Self { bytes })
    }

    pub(crate) fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The encoded fields, without the length before them.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The table has no field.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The fields in the order they were written.
    pub fn iter(&self) -> Entries<'a> {
        Entries { reader: Reader::new(self.bytes, 0) }
    }

    /// The value of the first field with this name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let name = name.as_ref();
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl<'a> Array<'a> {
    /// Validates the encoded values in `bytes`, without the length before them. `depth` levels of tables and arrays
    /// are accepted, this one included.
    pub fn parse(bytes: &'a [u8], depth: u8) -> Result<Self, ErrorKind> {
        let depth = depth.checked_sub(1).ok_or(ErrorKind::TooDeep)?;
        let mut reader = Reader::new(bytes, 0);
        while !reader.is_empty() {
            Value::read(&mut reader, |nested| nested.validate(depth))?;
        }
        Ok(Self { bytes })
    }

    pub(crate) fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The encoded values, without the length before them.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The array has no value.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The values in their order.
    pub fn iter(&self) -> Values<'a> {
        Values { reader: Reader::new(self.bytes, 0) }
    }
}

impl Nested<'_> {
    /// Recursion ends after `depth` levels, which come from our limits and not from the peer.
    fn validate(self, depth: u8) -> Result<(), ErrorKind> {
        match self {
            Nested::Table(bytes) => Table::parse(bytes, depth).map(drop),
            Nested::Array(bytes) => Array::parse(bytes, depth).map(drop),
        }
    }
}

/// The fields of a [`Table`]: name and value.
#[derive(Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
}

impl<'a> Entries<'a> {
    /// The fields that are still to come, encoded.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.reader.short_bytes().ok()?;
        let value = Value::read(&mut self.reader, |_| Ok(())).ok()?;
        Some((name, value))
    }
}

/// The values of an [`Array`].
#[derive(Clone)]
pub struct Values<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        Value::read(&mut self.reader, |_| Ok(())).ok()
    }
}

impl<'a> IntoIterator for Table<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = Values<'a>;

    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (String::from_utf8_lossy(name), value)))
            .finish()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
