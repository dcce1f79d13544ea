//! Properties with one thing changed: everything else is copied as it was encoded.

use crate::content::properties::{Properties, Property, PropertyValue};
use crate::error::EncodeError;
use crate::field::{Table, TableBuf, Value};
use crate::wire::reader::Reader;

impl Properties<'_> {
    /// The same properties with `property` set to `value`, or removed. `out` is replaced by the new list, of which the
    /// result is a view.
    ///
    /// # Errors
    /// When the value has another type than the property or is too long, or these properties are malformed up to the
    /// one changed.
    pub fn with<'o>(
        &self,
        property: Property,
        value: Option<PropertyValue<'_>>,
        out: &'o mut Vec<u8>,
    ) -> Result<Properties<'o>, EncodeError> {
        let malformed = |_| EncodeError::Malformed;
        let mut reader: Reader<'_> = self.reader_at(property).map_err(malformed)?;
        let before = self.list().len() - reader.rest().len();
        if self.has(property) {
            property.skip(&mut reader).map_err(malformed)?;
        }
        out.clear();
        out.extend_from_slice(self.list().get(..before).unwrap_or_default());
        let mut flags = self.flags() & !property.flag();
        if let Some(value) = value {
            flags |= property.flag();
            value.write(property, out)?;
        }
        out.extend_from_slice(reader.rest());
        Ok(Properties::from_parts(flags, out))
    }

    /// The same properties with one header field set to `value`, or removed. All fields of that name go; the new one
    /// stands at the end, the others stay as they were encoded. Headers that become empty are removed, and are made
    /// when there are none.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn with_header<'o>(
        &self,
        name: &str,
        value: Option<Value<'_>>,
        out: &'o mut Vec<u8>,
    ) -> Result<Properties<'o>, EncodeError> {
        let headers = self.headers().map_err(|_| EncodeError::Malformed)?.unwrap_or_default();
        let mut changed = headers.without(name);
        if let Some(value) = value {
            changed.put(name, value)?;
        }
        let changed = changed.as_table();
        let value = (!changed.is_empty()).then_some(PropertyValue::Table(changed));
        self.with(Property::Headers, value, out)
    }
}

impl Table<'_> {
    /// A copy without the fields of this name; the others stay as they were encoded.
    pub fn without(&self, name: impl AsRef<[u8]>) -> TableBuf {
        let name = name.as_ref();
        let mut kept = Vec::with_capacity(self.as_bytes().len());
        let mut entries = self.iter();
        let mut rest = entries.rest();
        while let Some((key, _)) = entries.next() {
            let len = rest.len() - entries.rest().len();
            if key != name {
                kept.extend_from_slice(rest.get(..len).unwrap_or_default());
            }
            rest = entries.rest();
        }
        TableBuf::from_encoded(kept)
    }
}
