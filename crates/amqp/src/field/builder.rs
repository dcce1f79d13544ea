//! Building tables and arrays.

use crate::error::EncodeError;
use crate::field::table::{Array, Table};
use crate::field::value::Value;
use crate::wire::writer::Writer;

/// A table being built; it owns its encoded bytes.
///
/// ```
/// use tercet_amqp::field::{TableBuf, Value};
///
/// let mut capabilities = TableBuf::new();
/// capabilities.put("basic.nack", true)?;
/// let mut properties = TableBuf::new();
/// properties.put("product", "example")?;
/// properties.put("capabilities", capabilities.as_table())?;
///
/// let Some(Value::Table(inner)) = properties.as_table().get("capabilities") else { unreachable!() };
/// assert_eq!(inner.get("basic.nack"), Some(Value::Bool(true)));
/// # Ok::<(), tercet_amqp::EncodeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableBuf {
    bytes: Vec<u8>,
}

impl TableBuf {
    /// An empty table. Nothing is allocated before the first field.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Fields that were copied out of a table.
    pub(crate) fn from_encoded(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Appends a field. Names that are there already are not replaced: the first one counts on look-up.
    ///
    /// # Errors
    /// When the name has more than 255 bytes or the value more than 4 GiB; the table is then as before.
    pub fn put<'v>(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value<'v>>,
    ) -> Result<&mut Self, EncodeError> {
        let len = self.bytes.len();
        let written = Writer::new(&mut self.bytes)
            .short_bytes(name.as_ref())
            .and_then(|()| value.into().write(&mut self.bytes));
        if let Err(error) = written {
            self.bytes.truncate(len);
            return Err(error);
        }
        Ok(self)
    }

    /// The table.
    pub fn as_table(&self) -> Table<'_> {
        Table::trusted(&self.bytes)
    }
}

impl From<Table<'_>> for TableBuf {
    fn from(table: Table<'_>) -> Self {
        Self { bytes: table.as_bytes().to_vec() }
    }
}

/// An array being built; it owns its encoded bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrayBuf {
    bytes: Vec<u8>,
}

impl ArrayBuf {
    /// An empty array. Nothing is allocated before the first value.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// When the value has more than 4 GiB; the array is then as before.
    pub fn push<'v>(&mut self, value: impl Into<Value<'v>>) -> Result<&mut Self, EncodeError> {
        let len = self.bytes.len();
        if let Err(error) = value.into().write(&mut self.bytes) {
            self.bytes.truncate(len);
            return Err(error);
        }
        Ok(self)
    }

    /// The array.
    pub fn as_array(&self) -> Array<'_> {
        Array::trusted(&self.bytes)
    }
}
