//! What a message of CoAP says about itself, and what CoAP can say of others: the Content-Format, and nothing else.
//!
//! A message that comes by CoAP is kept with that option as it stood on the wire. MQTT and AMQP name types by text, CoAP by the
//! numbers of the registry (RFC 7252 §12.3): a number without a name, or a name without a number, is not carried.

use std::str;

use smallvec::SmallVec;
use tercet_amqp::content;
use tercet_coap::content_format::ContentFormat;

use crate::crossing::mqtt_list::{MqttProperties, MqttProperty};
use crate::crossing::{NotCarried, TEXT_ENCODING};
use crate::message::{Properties, PropertyEncoding};

/// Number of the option, which is also its delta from the beginning.
const CONTENT_FORMAT: u8 = 12;
/// Longest encoded option: delta and length, and a number of two bytes.
const LONGEST: usize = 3;

/// The options that a message is kept with: none, or its Content-Format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptOptions(SmallVec<[u8; LONGEST]>);

impl KeptOptions {
    /// The options of a message with this Content-Format.
    #[must_use]
    pub fn new(format: Option<ContentFormat>) -> Self {
        let mut bytes = SmallVec::new();
        if let Some(ContentFormat(number)) = format {
            // As short as can be (RFC 7252 §3.2).
            let [high, low] = number.to_be_bytes();
            let value: &[u8] = match (high, low) {
                (0, 0) => &[],
                (0, low) => &[low],
                (high, low) => &[high, low],
            };
            bytes.push(CONTENT_FORMAT << 4 | value.len() as u8);
            bytes.extend_from_slice(value);
        }
        Self(bytes)
    }

    /// As the properties of a publication.
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        let encoding = if self.0.is_empty() { PropertyEncoding::None } else { PropertyEncoding::Coap };
        Properties { encoding, bytes: &self.0 }
    }
}

/// The type of a message in CoAP, and whether all that is said about it could be carried.
///
/// Text in UTF-8 that names no other type is `text/plain;charset=utf-8`.
#[must_use]
pub fn content_format(properties: Properties<'_>) -> (Option<ContentFormat>, NotCarried) {
    match properties.encoding {
        PropertyEncoding::None => (None, NotCarried(0)),
        PropertyEncoding::Coap => (kept_format(properties.bytes), NotCarried(0)),
        PropertyEncoding::Mqtt5 => of_mqtt(properties.bytes),
        PropertyEncoding::Amqp => of_amqp(properties.bytes),
    }
}

/// The type that a message is kept with.
fn kept_format(options: &[u8]) -> Option<ContentFormat> {
    let (head, value) = options.split_first()?;
    let long_enough = head >> 4 == CONTENT_FORMAT && usize::from(head & 15) == value.len();
    match value {
        _ if !long_enough => None,
        [] => Some(ContentFormat(0)),
        [low] => Some(ContentFormat(u16::from(*low))),
        [high, low] => Some(ContentFormat(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

fn of_mqtt(list: &[u8]) -> (Option<ContentFormat>, NotCarried) {
    let (mut format, mut is_text, mut not_carried) = (None, false, NotCarried::default());
    for property in MqttProperties::of(list) {
        match property {
            MqttProperty::PayloadIsText(text) => is_text = text,
            MqttProperty::ContentType(name) => {
                format = ContentFormat::from_media_type(name);
                not_carried.note(format.is_some());
            }
            _ => not_carried.note(false),
        }
    }
    let untyped = is_text && format.is_none() && not_carried == NotCarried(0);
    (if untyped { Some(ContentFormat::TEXT) } else { format }, not_carried)
}

fn of_amqp(list: &[u8]) -> (Option<ContentFormat>, NotCarried) {
    let mut not_carried = NotCarried::default();
    let Some(properties) = content::Properties::from_bytes(list) else { return (None, not_carried) };
    let encoding = properties.content_encoding().ok().flatten();
    let is_text = encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case(TEXT_ENCODING));
    let format = match properties.content_type() {
        Ok(Some(name)) => {
            let format = ContentFormat::from_coded(name, encoding.filter(|_| !is_text));
            not_carried.note(format.is_some());
            format
        }
        _ => is_text.then_some(ContentFormat::TEXT),
    };
    (format, not_carried)
}

/// What the type of a message of CoAP is called elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    /// The media type.
    pub media_type: Option<&'static str>,
    /// What its payload is compressed with.
    pub coding: Option<&'static str>,
    /// Whether the payload is text in UTF-8: of a type that is, and found to be.
    pub is_text: bool,
}

/// What a message of CoAP says about itself. What it says beyond the registry is not carried.
pub(crate) fn described(properties: Properties<'_>, payload: &[u8]) -> (Described, NotCarried) {
    let mut not_carried = NotCarried::default();
    let Some(format) = kept_format(properties.bytes) else { return (Described::default(), not_carried) };
    let (media_type, coding) = (format.media_type(), format.content_coding());
    not_carried.note(media_type.is_some());
    // The receiver may check what it is told [MQTT-3.3.2-5].
    let is_text = format.is_text() && str::from_utf8(payload).is_ok();
    (Described { media_type, coding, is_text }, not_carried)
}

/// The properties of a message of CoAP as a list of MQTT. `out` is replaced by them.
pub fn mqtt_properties(properties: Properties<'_>, payload: &[u8], out: &mut Vec<u8>) -> NotCarried {
    out.clear();
    let (described, mut not_carried) = described(properties, payload);
    if described.is_text {
        MqttProperty::PayloadIsText(true).write(out);
    }
    match described {
        // MQTT has no word for a payload that is compressed.
        Described { coding: Some(_), .. } => not_carried.note(false),
        Described { media_type: Some(name), .. } => {
            MqttProperty::ContentType(name).write(out);
        }
        _ => {}
    }
    not_carried
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tercet_amqp::content::BasicProperties;

    fn mqtt(properties: &[MqttProperty<'_>]) -> Vec<u8> {
        let mut list = Vec::new();
        assert!(properties.iter().all(|property| property.write(&mut list)));
        list
    }

    #[test]
    fn types_of_mqtt_have_numbers() {
        use MqttProperty::{ContentType, PayloadIsText, User};
        for (list, format, lost) in [
            (mqtt(&[]), None, 0),
            (mqtt(&[ContentType("application/json")]), Some(50), 0),
            (mqtt(&[ContentType("text/plain;charset=utf-8"), PayloadIsText(true)]), Some(0), 0),
            (mqtt(&[PayloadIsText(true)]), Some(0), 0),
            (mqtt(&[PayloadIsText(false)]), None, 0),
            (mqtt(&[ContentType("image/x-unheard-of"), PayloadIsText(true)]), None, 1),
            (mqtt(&[User("a", "b"), ContentType("application/cbor")]), Some(60), 1),
        ] {
            let found = content_format(Properties { encoding: PropertyEncoding::Mqtt5, bytes: &list });
            assert_eq!(found, (format.map(ContentFormat), NotCarried(lost)), "{list:?}");
        }
    }

    #[test]
    fn types_of_amqp_have_numbers() {
        for (content_type, content_encoding, format, lost) in [
            (None, None, None, 0),
            (Some("application/json"), None, Some(50), 0),
            (Some("application/json"), Some("utf-8"), Some(50), 0),
            (Some("application/json"), Some("gzip"), None, 1),
            (Some("application/json"), Some("deflate"), Some(11_050), 0),
            (None, Some("UTF-8"), Some(0), 0),
            (Some("x"), None, None, 1),
        ] {
            let properties = BasicProperties { content_type, content_encoding, ..BasicProperties::default() };
            let (mut list, mut bytes) = (Vec::new(), Vec::new());
            properties.encode(&mut list).unwrap().write(&mut bytes);
            let found = content_format(Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes });
            assert_eq!(found, (format.map(ContentFormat), NotCarried(lost)), "{properties:?}");
        }
    }

    #[test]
    fn numbers_have_types_in_mqtt() {
        use MqttProperty::{ContentType, PayloadIsText};
        for (format, payload, expected, lost) in [
            (50, &b"{}"[..], mqtt(&[PayloadIsText(true), ContentType("application/json")]), 0),
            (50, b"\xff", mqtt(&[ContentType("application/json")]), 0),
            (60, b"\xa0", mqtt(&[ContentType("application/cbor")]), 0),
            (11_050, b"x", vec![], 1),
            (65_000, b"x", vec![], 1),
        ] {
            let kept = KeptOptions::new(Some(ContentFormat(format)));
            let mut out = vec![1];
            assert_eq!(mqtt_properties(kept.properties(), payload, &mut out), NotCarried(lost));
            assert_eq!(out, expected, "{format}");
        }
    }

    #[test]
    fn a_message_without_a_type_is_kept_with_nothing() {
        let kept = KeptOptions::new(None);
        assert_eq!(kept.properties().encoding, PropertyEncoding::None);
        assert_eq!(content_format(kept.properties()), (None, NotCarried(0)));
    }

    proptest! {
        #[test]
        fn a_format_is_kept_as_it_came(number: u16) {
            let kept = KeptOptions::new(Some(ContentFormat(number)));
            prop_assert_eq!(content_format(kept.properties()).0, Some(ContentFormat(number)));
            let shortest = 1 + usize::from(number > 0) + usize::from(number > 255);
            prop_assert_eq!(kept.properties().bytes.len(), shortest);
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            for encoding in [PropertyEncoding::Coap, PropertyEncoding::Mqtt5, PropertyEncoding::Amqp] {
                let _ = content_format(Properties { encoding, bytes: &bytes });
            }
        }
    }
}
