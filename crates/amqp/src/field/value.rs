//! One value of a table or array.

use crate::error::{EncodeError, ErrorKind};
use crate::field::table::{Array, Table};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A value of a [`Table`] or [`Array`].
///
/// Equal values of different integer types are not equal here; [`as_i64`](Self::as_i64) compares by value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` when read
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// `S`: text by custom, any bytes by rule.
    LongStr(&'a [u8]),
    /// `x`
    Bytes(&'a [u8]),
    /// `A`
    Array(Array<'a>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`
    Table(Table<'a>),
    /// `V`
    Void,
}

impl<'a> Value<'a> {
    /// The value of any of the integer types.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(v) => Some(v.into()),
            Self::U8(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I64(v) => Some(v),
            _ => None,
        }
    }

    /// The text of a long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::LongStr(bytes) => core::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Reads a tag and a value. Tables and arrays are sliced, not looked into: `nested` decides about them.
    #[inline]
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        nested: impl FnOnce(Nested<'a>) -> Result<(), ErrorKind>,
    ) -> Result<Self, ErrorKind> {
        Ok(match reader.u8()? {
            b't' => Self::Bool(reader.u8()? != 0),
            b'b' => Self::I8(reader.array().map(i8::from_be_bytes)?),
            b'B' => Self::U8(reader.u8()?),
            b's' => Self::I16(reader.array().map(i16::from_be_bytes)?),
            b'u' => Self::U16(reader.u16()?),
            b'I' => Self::I32(reader.array().map(i32::from_be_bytes)?),
            b'i' => Self::U32(reader.u32()?),
            b'l' | b'L' => Self::I64(reader.array().map(i64::from_be_bytes)?),
            b'f' => Self::F32(reader.array().map(f32::from_be_bytes)?),
            b'd' => Self::F64(reader.array().map(f64::from_be_bytes)?),
            b'D' => Self::Decimal { scale: reader.u8()?, value: reader.u32()? },
            b'S' => Self::LongStr(reader.long_bytes()?),
            b'x' => Self::Bytes(reader.long_bytes()?),
            b'A' => {
                let bytes = reader.long_bytes()?;
                nested(Nested::Array(bytes))?;
                Self::Array(Array::trusted(bytes))
            }
            b'T' => Self::Timestamp(reader.u64()?),
            b'F' => {
                let bytes = reader.long_bytes()?;
                nested(Nested::Table(bytes))?;
                Self::Table(Table::trusted(bytes))
            }
            b'V' => Self::Void,
            tag => return Err(ErrorKind::FieldType(tag)),
        })
    }

    /// Writes a tag and the value.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        match *self {
            Self::Bool(v) => writer.bytes(&[b't', v.into()]),
            Self::I8(v) => tagged(&mut writer, b'b', v.to_be_bytes()),
            Self::U8(v) => tagged(&mut writer, b'B', v.to_be_bytes()),
            Self::I16(v) => tagged(&mut writer, b's', v.to_be_bytes()),
            Self::U16(v) => tagged(&mut writer, b'u', v.to_be_bytes()),
            Self::I32(v) => tagged(&mut writer, b'I', v.to_be_bytes()),
            Self::U32(v) => tagged(&mut writer, b'i', v.to_be_bytes()),
            Self::I64(v) => tagged(&mut writer, b'l', v.to_be_bytes()),
            Self::F32(v) => tagged(&mut writer, b'f', v.to_be_bytes()),
            Self::F64(v) => tagged(&mut writer, b'd', v.to_be_bytes()),
            Self::Decimal { scale, value } => {
                writer.bytes(&[b'D', scale]);
                writer.bytes(&value.to_be_bytes());
            }
            Self::LongStr(bytes) => return long(&mut writer, b'S', bytes),
            Self::Bytes(bytes) => return long(&mut writer, b'x', bytes),
            Self::Array(array) => return long(&mut writer, b'A', array.as_bytes()),
            Self::Timestamp(v) => tagged(&mut writer, b'T', v.to_be_bytes()),
            Self::Table(table) => return long(&mut writer, b'F', table.as_bytes()),
            Self::Void => writer.bytes(b"V"),
        }
        Ok(())
    }
}

/// A nested table or array, encoded.
pub(crate) enum Nested<'a> {
    Table(&'a [u8]),
    Array(&'a [u8]),
}

fn tagged<const N: usize>(writer: &mut Writer<'_>, tag: u8, bytes: [u8; N]) {
    writer.bytes(&[tag]);
    writer.bytes(&bytes);
}

fn long(writer: &mut Writer<'_>, tag: u8, bytes: &[u8]) -> Result<(), EncodeError> {
    writer.bytes(&[tag]);
    writer.long_bytes(bytes)
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::LongStr(text.as_bytes())
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

from!(bool => Bool, i32 => I32, u32 => U32, i64 => I64, f64 => F64, Table<'a> => Table, Array<'a> => Array);
