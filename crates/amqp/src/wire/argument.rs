//! The types that arguments of methods have, and how each is read and written.

use crate::error::{EncodeError, ErrorKind};
use crate::field::Table;
use crate::method::FieldKind;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A type of the wire. A reserved argument is read as its type and forgotten, and written as the type's default.
pub(crate) trait Argument<'a>: Sized + Default {
    const KIND: FieldKind;

    fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorKind>;

    fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError>;
}

macro_rules! integer {
    ($type:ty, $kind:ident, $read:ident) => {
        impl<'a> Argument<'a> for $type {
            const KIND: FieldKind = FieldKind::$kind;

            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorKind> {
                reader.$read()
            }

            #[inline]
            fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                writer.bytes(&self.to_be_bytes());
                Ok(())
            }
        }
    };
}

integer!(u8, Octet, u8);
integer!(u16, Short, u16);
integer!(u32, Long, u32);
integer!(u64, LongLong, u64);

impl<'a> Argument<'a> for bool {
    const KIND: FieldKind = FieldKind::Bit;

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorKind> {
        reader.bit()
    }

    #[inline]
    fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bit(self);
        Ok(())
    }
}

impl<'a> Argument<'a> for &'a str {
    const KIND: FieldKind = FieldKind::ShortStr;

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorKind> {
        reader.short_str()
    }

    #[inline]
    fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.short_bytes(self.as_bytes())
    }
}

impl<'a> Argument<'a> for &'a [u8] {
    const KIND: FieldKind = FieldKind::LongStr;

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorKind> {
        reader.long_bytes()
    }

    #[inline]
    fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.long_bytes(self)
    }
}

impl<'a> Argument<'a> for Table<'a> {
    const KIND: FieldKind = FieldKind::Table;

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, ErrorKind> {
        let depth = reader.depth;
        Table::parse(reader.long_bytes()?, depth)
    }

    #[inline]
    fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.long_bytes(self.as_bytes())
    }
}
