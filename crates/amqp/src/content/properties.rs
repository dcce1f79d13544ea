//! The properties of a message, encoded and decoded.

use crate::error::{EncodeError, ErrorKind};
use crate::field::Table;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A property of the class basic. Its number is its place in the order on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Property {
    /// Media type of the body.
    ContentType,
    /// Encoding of the body, such as `gzip`.
    ContentEncoding,
    /// Header fields of the application and of extensions.
    Headers,
    /// 2 for persistent.
    DeliveryMode,
    /// Priority, 0 to 255.
    Priority,
    /// What a reply refers to.
    CorrelationId,
    /// Where a reply goes.
    ReplyTo,
    /// Time to live in milliseconds, as decimal text.
    Expiration,
    /// The application's name of the message.
    MessageId,
    /// When it was made, in seconds since 1970.
    Timestamp,
    /// The application's type of the message.
    Type,
    /// Who published it.
    UserId,
    /// What published it.
    AppId,
    /// Of older versions; passed through.
    ClusterId,
}

impl Property {
    /// All properties in their order on the wire.
    pub const ALL: [Self; 14] = [
        Self::ContentType,
        Self::ContentEncoding,
        Self::Headers,
        Self::DeliveryMode,
        Self::Priority,
        Self::CorrelationId,
        Self::ReplyTo,
        Self::Expiration,
        Self::MessageId,
        Self::Timestamp,
        Self::Type,
        Self::UserId,
        Self::AppId,
        Self::ClusterId,
    ];

    /// The bit that says it is there: content-type has the highest.
    #[inline]
    pub(crate) const fn flag(self) -> u16 {
        1 << (15 - self as u8)
    }

    /// Steps over the value.
    #[inline]
    pub(crate) fn skip(self, reader: &mut Reader<'_>) -> Result<(), ErrorKind> {
        match self {
            Self::Headers => reader.long_bytes().map(drop),
            Self::DeliveryMode | Self::Priority => reader.u8().map(drop),
            Self::Timestamp => reader.u64().map(drop),
            _ => reader.short_bytes().map(drop),
        }
    }

    #[inline]
    fn read<'a>(self, reader: &mut Reader<'a>) -> Result<PropertyValue<'a>, ErrorKind> {
        Ok(match self {
            Self::Headers => {
                let depth = reader.depth;
                PropertyValue::Table(Table::parse(reader.long_bytes()?, depth)?)
            }
            Self::DeliveryMode | Self::Priority => PropertyValue::Octet(reader.u8()?),
            Self::Timestamp => PropertyValue::Timestamp(reader.u64()?),
            _ => PropertyValue::Text(reader.short_str()?),
        })
    }
}

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyValue<'a> {
    /// Of most properties.
    Text(&'a str),
    /// Of delivery-mode and priority.
    Octet(u8),
    /// Of timestamp: seconds since 1970.
    Timestamp(u64),
    /// Of headers.
    Table(Table<'a>),
}

impl PropertyValue<'_> {
    /// Appends the value of `property`.
    pub(crate) fn write(&self, property: Property, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        match (property, self) {
            (Property::Headers, Self::Table(table)) => return writer.long_bytes(table.as_bytes()),
            (Property::DeliveryMode | Property::Priority, Self::Octet(value)) => writer.bytes(&[*value]),
            (Property::Timestamp, Self::Timestamp(value)) => writer.bytes(&value.to_be_bytes()),
            (Property::Headers | Property::DeliveryMode | Property::Priority | Property::Timestamp, _) => {
                return Err(EncodeError::PropertyType);
            }
            (_, Self::Text(text)) => return writer.short_bytes(text.as_bytes()),
            _ => return Err(EncodeError::PropertyType),
        }
        Ok(())
    }
}

/// The properties of a message as they are encoded: flags, and the list of those that are there.
///
/// They are not validated when a header is decoded. [`validate`](Self::validate) does it once for what is to be kept;
/// every reader answers malformed ones with an error, and none reads beyond them. Looking up a property steps over
/// those before it by their lengths and parses none of them.
///
/// ```
/// use tercet_amqp::content::BasicProperties;
///
/// let mut bytes = Vec::new();
/// let wanted = BasicProperties { delivery_mode: Some(2), expiration: Some("60000"), ..Default::default() };
/// let properties = wanted.encode(&mut bytes)?;
/// assert_eq!(properties.delivery_mode(), Ok(Some(2)));
/// assert_eq!(properties.expiration(), Ok(Some("60000")));
/// assert_eq!(properties.priority(), Ok(None));
/// # Ok::<(), tercet_amqp::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Properties<'a> {
    flags: u16,
    list: &'a [u8],
}

/// The depth of headers whose frame was accepted; the limits for decoding come with
/// [`Properties::validate`].
const DEPTH: u8 = 32;

impl<'a> Properties<'a> {
    /// Encoded properties: 16 flags and the list of values, as they stand in a content header.
    pub const fn from_parts(flags: u16, list: &'a [u8]) -> Self {
        Self { flags, list }
    }

    /// Encoded properties with their flags in front, as [`write`](Self::write) leaves them. `None` when there are no
    /// two bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (flags, list) = bytes.split_first_chunk()?;
        Some(Self { flags: u16::from_be_bytes(*flags), list })
    }

    /// The flags.
    pub const fn flags(&self) -> u16 {
        self.flags
    }

    /// The list of values.
    pub const fn list(&self) -> &'a [u8] {
        self.list
    }

    /// How many bytes [`write`](Self::write) appends.
    pub const fn encoded_len(&self) -> usize {
        2 + self.list.len()
    }

    /// Appends flags and list, unchanged.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(self.list);
    }

    /// Whether the property is there.
    #[inline]
    pub const fn has(&self, property: Property) -> bool {
        self.flags & property.flag() != 0
    }

    /// Checks all properties: lengths, text, the headers to the last value, nothing after them. `depth` levels of
    /// tables are accepted.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn validate(&self, depth: u8) -> Result<(), ErrorKind> {
        self.decode(depth).map(drop)
    }

    /// The value of a property. Headers are validated down to 32 levels.
    ///
    /// # Errors
    /// When this property or the length of one before it is malformed.
    pub fn get(&self, property: Property) -> Result<Option<PropertyValue<'a>>, ErrorKind> {
        if !self.has(property) {
            return Ok(None);
        }
        let mut reader = self.reader_at(property)?;
        property.read(&mut reader).map(Some)
    }

    /// All properties, decoded. `depth` levels of tables are accepted in the headers.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(&self, depth: u8) -> Result<BasicProperties<'a>, ErrorKind> {
        if self.flags & 0b11 != 0 {
            return Err(ErrorKind::PropertyFlags(self.flags));
        }
        let mut reader = Reader::new(self.list, depth);
        let mut decoded = BasicProperties::default();
        for property in Property::ALL {
            if self.has(property) {
                decoded.set(property, property.read(&mut reader)?);
            }
        }
        reader.finish()?;
        Ok(decoded)
    }

    /// A reader that stands where the value of `property` is or would be.
    #[inline]
    pub(crate) fn reader_at(&self, property: Property) -> Result<Reader<'a>, ErrorKind> {
        let mut reader = Reader::new(self.list, DEPTH);
        // Most messages have nothing but what is asked for.
        let before = self.flags & !(property.flag() | (property.flag() - 1));
        if before != 0 {
            for earlier in Property::ALL {
                if earlier == property {
                    break;
                }
                if self.has(earlier) {
                    earlier.skip(&mut reader)?;
                }
            }
        }
        Ok(reader)
    }
}

macro_rules! properties {
    ($($(#[$meta:meta])* $field:ident: $type:ty = $property:ident, $value:ident;)*) => {
        impl<'a> Properties<'a> {$(
            $(#[$meta])*
            ///
            /// # Errors
            /// When it or the length of a property before it is malformed.
            pub fn $field(&self) -> Result<Option<$type>, ErrorKind> {
                Ok(match self.get(Property::$property)? {
                    Some(PropertyValue::$value(value)) => Some(value),
                    _ => None,
                })
            }
        )*}

        /// Properties, decoded or to be encoded.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct BasicProperties<'a> {
            $($(#[$meta])* pub $field: Option<$type>,)*
        }

        impl<'a> BasicProperties<'a> {
            fn set(&mut self, property: Property, value: PropertyValue<'a>) {
                match (property, value) {
                    $((Property::$property, PropertyValue::$value(value)) => self.$field = Some(value),)*
                    _ => {}
                }
            }

            /// The value of a property.
            pub fn get(&self, property: Property) -> Option<PropertyValue<'a>> {
                match property {
                    $(Property::$property => self.$field.map(PropertyValue::$value),)*
                }
            }
        }
    };
}

properties! {
    /// Media type of the body.
    content_type: &'a str = ContentType, Text;
    /// Encoding of the body.
    content_encoding: &'a str = ContentEncoding, Text;
    /// Header fields.
    headers: Table<'a> = Headers, Table;
    /// Delivery mode, 2 for persistent.
    delivery_mode: u8 = DeliveryMode, Octet;
    /// Priority.
    priority: u8 = Priority, Octet;
    /// What a reply refers to.
    correlation_id: &'a str = CorrelationId, Text;
    /// Where a reply goes.
    reply_to: &'a str = ReplyTo, Text;
    /// Time to live in milliseconds, as text.
    expiration: &'a str = Expiration, Text;
    /// The application's name of the message.
    message_id: &'a str = MessageId, Text;
    /// When it was made, in seconds since 1970.
    timestamp: u64 = Timestamp, Timestamp;
    /// The application's type of the message.
    kind: &'a str = Type, Text;
    /// Who published it.
    user_id: &'a str = UserId, Text;
    /// What published it.
    app_id: &'a str = AppId, Text;
    /// Of older versions.
    cluster_id: &'a str = ClusterId, Text;
}

impl BasicProperties<'_> {
    /// Replaces the contents of `out` by the encoded properties, and is a view of them.
    ///
    /// # Errors
    /// When a text has more than 255 bytes.
    pub fn encode<'o>(&self, out: &'o mut Vec<u8>) -> Result<Properties<'o>, EncodeError> {
        out.clear();
        let mut flags = 0;
        for property in Property::ALL {
            if let Some(value) = self.get(property) {
                flags |= property.flag();
                value.write(property, out)?;
            }
        }
        Ok(Properties::from_parts(flags, out))
    }
}
