//! Reading and writing a section of properties: its length, then identifiers and values.

use core::num::{NonZeroU16, NonZeroU32};

use crate::error::{DecodeError, ErrorKind, Result};
use crate::limits::Limits;
use crate::property::id::{PropertyId, ValueType};
use crate::property::{PayloadFormat, SubscriptionId, SubscriptionIds, UserProperties};
use crate::qos::QoS;
use crate::topic::parse_name;
use crate::wire::reader::Reader;
use crate::wire::sink::{Count, Sink};

/// The value of a property, read by the type its identifier stands for.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Byte(u8),
    U16(u16),
    U32(u32),
    VarInt(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair,
}

impl<'a> Value<'a> {
    #[inline]
    fn read(id: PropertyId, reader: &mut Reader<'a>, strict: bool) -> Result<Self> {
        Ok(match id.value_type() {
            ValueType::Byte => Self::Byte(reader.u8()?),
            ValueType::U16 => Self::U16(reader.u16()?),
            ValueType::U32 => Self::U32(reader.u32()?),
            ValueType::VarInt => Self::VarInt(reader.varint()?),
            ValueType::Text => Self::Text(reader.text(strict)?),
            ValueType::Binary => Self::Binary(reader.binary()?),
            ValueType::Pair => {
                reader.text(strict)?;
                reader.text(strict)?;
                Self::Pair
            }
        })
    }
}

/// The properties that one type of packet may carry.
pub(crate) trait PropertySet<'a>: Default {
    /// Bits of the identifiers that may occur.
    const ALLOWED: u64;
    /// Bits of the identifiers that may occur more than once.
    const REPEATABLE: u64;

    /// Takes a property that occurs once.
    fn set(&mut self, id: PropertyId, value: Value<'a>) -> core::result::Result<(), ErrorKind>;
    /// Takes the parts of the section that contain all properties that may repeat.
    fn set_lists(&mut self, user: UserProperties<'a>, subscriptions: SubscriptionIds<'a>);
    /// Writes identifiers and values, without the length.
    fn write<S: Sink>(&self, out: &mut S);
    /// Checks the rules that concern several properties.
    fn check(&self) -> core::result::Result<(), ErrorKind> {
        Ok(())
    }
}

/// From the first to the last occurrence of a property within a section.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn extend(&mut self, start: usize, end: usize) {
        if self.end == 0 {
            self.start = start;
        }
        self.end = end;
    }

    fn of(self, section: &[u8]) -> &[u8] {
        section.get(self.start..self.end).unwrap_or_default()
    }
}

/// Reads the property length and the properties.
#[inline]
pub(crate) fn read_properties<'a, P: PropertySet<'a>>(reader: &mut Reader<'a>, limits: &Limits) -> Result<P> {
    let len = reader.varint()?;
    if len == 0 { Ok(P::default()) } else { read_some(reader.part(len as usize)?, limits) }
}

fn read_some<'a, P: PropertySet<'a>>(mut reader: Reader<'a>, limits: &Limits) -> Result<P> {
    let section = reader.rest();
    let mut set = P::default();
    let mut seen = 0;
    let mut user_count = 0;
    let (mut user, mut subscriptions) = (Span::default(), Span::default());
    while !reader.is_empty() {
        let at = reader.offset();
        let start = section.len() - reader.rest().len();
        let fail = |kind| DecodeError::new(kind, at);
        let number = reader.varint()?;
        let id = PropertyId::new(number).ok_or_else(|| fail(ErrorKind::UnknownProperty(number)))?;
        if P::ALLOWED & id.bit() == 0 {
            return Err(fail(ErrorKind::PropertyNotAllowed(id)));
        }
        if seen & id.bit() & !P::REPEATABLE != 0 {
            return Err(fail(ErrorKind::DuplicateProperty(id)));
        }
        seen |= id.bit();
        let value = Value::read(id, &mut reader, limits.strict_utf8)?;
        let end = section.len() - reader.rest().len();
        match (id, value) {
            (PropertyId::UserProperty, _) => {
                user_count += 1;
                if user_count > u32::from(limits.max_user_properties) {
                    return Err(fail(ErrorKind::TooManyUserProperties));
                }
                user.extend(start, end);
                continue;
            }
            (PropertyId::SubscriptionIdentifier, Value::VarInt(0)) => {
                return Err(fail(ErrorKind::PropertyValue(id)));
            }
            (PropertyId::SubscriptionIdentifier, _) if P::REPEATABLE & id.bit() != 0 => {
                subscriptions.extend(start, end);
                continue;
            }
            // The topic to answer to is a topic name [MQTT-3.3.2-14].
            (PropertyId::ResponseTopic, Value::Text(topic)) => {
                parse_name(topic.as_bytes(), limits).map_err(fail)?;
            }
            _ => {}
        }
        set.set(id, value).map_err(fail)?;
    }
    set.set_lists(UserProperties::wire(user.of(section)), SubscriptionIds::wire(subscriptions.of(section)));
    set.check().map_err(|kind| reader.fail(kind))?;
    Ok(set)
}

/// Writes the property length and the properties.
pub(crate) fn property_section<'a, P: PropertySet<'a>, S: Sink>(set: &P, out: &mut S) {
    let mut count = Count::default();
    set.write(&mut count);
    out.varint(u32::try_from(count.len).unwrap_or(u32::MAX));
    if count.len > 0 {
        set.write(out);
    }
}

/// The next property of a validated section: its identifier, its value and the bytes of both.
pub(crate) fn next_property<'a>(rest: &mut &'a [u8]) -> Option<(PropertyId, Value<'a>, &'a [u8])> {
    let mut reader = Reader::new(rest, 0);
    let id = PropertyId::new(reader.varint().ok()?)?;
    let value = match id.value_type() {
        ValueType::Pair => {
            reader.binary().ok()?;
            reader.binary().ok()?;
            Value::Pair
        }
        _ => Value::read(id, &mut reader, false).ok()?,
    };
    let (bytes, tail) = rest.split_at_checked(rest.len() - reader.rest().len())?;
    *rest = tail;
    Some((id, value, bytes))
}

/// A type of field in a [`PropertySet`].
pub(crate) trait Field<'a>: Copy + PartialEq {
    /// The field for a value; `None` when the value is out of range.
    fn read(value: Value<'a>) -> Option<Self>;
    /// Writes the identifier and the value.
    fn write<S: Sink>(&self, id: PropertyId, out: &mut S);
}

macro_rules! fields {
    ($($type:ty: $value:ident => $read:expr; $self:ident, $out:ident => $write:expr;)*) => { $(
        impl<'a> Field<'a> for $type {
            #[inline]
            fn read(value: Value<'a>) -> Option<Self> {
                if let Value::$value(value) = value { $read(value) } else { None }
            }

            #[inline]
            fn write<S: Sink>(&self, id: PropertyId, $out: &mut S) {
                let $self = *self;
                $out.u8(id as u8);
                $write;
            }
        }
    )* };
}

fields! {
    u32: U32 => Some; v, out => out.u32(v);
    u16: U16 => Some; v, out => out.u16(v);
    bool: Byte => |v| match v { 0 => Some(false), 1 => Some(true), _ => None }; v, out => out.u8(u8::from(v));
    NonZeroU16: U16 => NonZeroU16::new; v, out => out.u16(v.get());
    NonZeroU32: U32 => NonZeroU32::new; v, out => out.u32(v.get());
    SubscriptionId: VarInt => SubscriptionId::new; v, out => out.varint(v.get());
    &'a str: Text => Some; v, out => out.text(v);
    &'a [u8]: Binary => Some; v, out => out.binary(v);
    PayloadFormat: Byte => |v| match v { 0 => Some(Self::Bytes), 1 => Some(Self::Utf8), _ => None }; v, out => out.u8(v as u8);
}

/// As the value of Maximum QoS only 0 and 1 exist; 2 is said by leaving the property out.
impl<'a> Field<'a> for QoS {
    fn read(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Byte(0) => Some(Self::AtMostOnce),
            Value::Byte(1) => Some(Self::AtLeastOnce),
            _ => None,
        }
    }

    fn write<S: Sink>(&self, id: PropertyId, out: &mut S) {
        if *self != Self::ExactlyOnce {
            out.u8(id as u8);
            out.u8(*self as u8);
        }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    #[inline]
    fn read(value: Value<'a>) -> Option<Self> {
        T::read(value).map(Some)
    }

    #[inline]
    fn write<S: Sink>(&self, id: PropertyId, out: &mut S) {
        if let Some(value) = self {
            value.write(id, out);
        }
    }
}

/// Declares the properties of a packet type: `field: Type = Identifier, default`.
///
/// A field that has its default is not written.
macro_rules! property_set {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $id:ident, $default:expr; )*
        }
        $(repeated $subscriptions:ident;)?
        $(check $check:expr;)?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name<'a> {
            $( $(#[$field_meta])* pub $field: $type, )*
            $(
                /// Subscription Identifiers of the subscriptions that the message is delivered for.
                pub $subscriptions: $crate::property::SubscriptionIds<'a>,
            )?
            /// User Properties, in their order.
            pub user_properties: $crate::property::UserProperties<'a>,
        }

        impl $name<'_> {
            /// Whether no property is set.
            pub fn is_empty(&self) -> bool {
                *self == Self::default()
            }
        }

        impl Default for $name<'_> {
            #[inline]
            fn default() -> Self {
                Self {
                    $( $field: $default, )*
                    $( $subscriptions: $crate::property::SubscriptionIds::default(), )?
                    user_properties: $crate::property::UserProperties::default(),
                }
            }
        }

        impl<'a> $crate::property::section::PropertySet<'a> for $name<'a> {
            const ALLOWED: u64 =
                $( $crate::property::PropertyId::$id.bit() | )* Self::REPEATABLE;
            const REPEATABLE: u64 = $crate::property::PropertyId::UserProperty.bit()
                $( | { stringify!($subscriptions); $crate::property::PropertyId::SubscriptionIdentifier.bit() } )?;

            #[allow(unused_variables)]
            fn set(
                &mut self,
                id: $crate::property::PropertyId,
                value: $crate::property::section::Value<'a>,
            ) -> core::result::Result<(), $crate::error::ErrorKind> {
                #[allow(unused_imports)]
                use $crate::{error::ErrorKind, property::PropertyId};
                match id {
                    $( PropertyId::$id => {
                        self.$field = $crate::property::section::Field::read(value).ok_or(
                            if PropertyId::$id as u8 == PropertyId::TopicAlias as u8 {
                                ErrorKind::TopicAliasZero
                            } else {
                                ErrorKind::PropertyValue(id)
                            }
                        )?;
                    } )*
                    _ => {}
                }
                Ok(())
            }

            #[allow(unused_variables)]
            fn set_lists(
                &mut self,
                user: $crate::property::UserProperties<'a>,
                subscriptions: $crate::property::SubscriptionIds<'a>,
            ) {
                self.user_properties = user;
                $( self.$subscriptions = subscriptions; )?
            }

            fn write<S: $crate::wire::sink::Sink>(&self, out: &mut S) {
                $( if self.$field != $default {
                    $crate::property::section::Field::write(&self.$field, $crate::property::PropertyId::$id, out);
                } )*
                $( self.$subscriptions.write(out); )?
                self.user_properties.write(out);
            }

            $(
                fn check(&self) -> core::result::Result<(), $crate::error::ErrorKind> {
                    let check: fn(&Self) -> core::result::Result<(), $crate::error::ErrorKind> = $check;
                    check(self)
                }
            )?
        }
    };
}
pub(crate) use property_set;
