//! The property list that messages of MQTT 5 are kept with, read and written.
//!
//! What a message is kept with has no length in front, and of the properties of PUBLISH only those that belong to the
//! message (§3.3.2.3). That is all that crosses, and all that is known here.

use std::str;

/// Property identifiers (§2.2.2.2).
const PAYLOAD_FORMAT: u8 = 0x01;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER_PROPERTY: u8 = 0x26;

/// One property of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MqttProperty<'a> {
    /// Whether the payload is text in UTF-8.
    PayloadIsText(bool),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    User(&'a str, &'a str),
}

/// The properties of a list, in their order. Ends before anything that is none of them, which the face lets nobody keep.
pub(crate) struct MqttProperties<'a> {
    rest: &'a [u8],
}

impl<'a> MqttProperties<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk::<2>()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        self.rest = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn property(&mut self) -> Option<MqttProperty<'a>> {
        let (id, rest) = self.rest.split_first()?;
        self.rest = rest;
        match *id {
            PAYLOAD_FORMAT => {
                let (format, rest) = self.rest.split_first()?;
                self.rest = rest;
                Some(MqttProperty::PayloadIsText(*format == 1))
            }
            CONTENT_TYPE => self.text().map(MqttProperty::ContentType),
            RESPONSE_TOPIC => self.text().map(MqttProperty::ResponseTopic),
            CORRELATION_DATA => self.bytes().map(MqttProperty::CorrelationData),
            USER_PROPERTY => Some(MqttProperty::User(self.text()?, self.text()?)),
            _ => None,
        }
    }
}

impl<'a> Iterator for MqttProperties<'a> {
    type Item = MqttProperty<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let property = self.property();
        if property.is_none() {
            self.rest = &[];
        }
        property
    }
}

impl MqttProperty<'_> {
    /// Appends it. False if it has no form in MQTT, for it is too long or has a character that is not allowed: then nothing
    /// was written.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let written = match *self {
            Self::PayloadIsText(is_text) => {
                out.extend_from_slice(&[PAYLOAD_FORMAT, u8::from(is_text)]);
                true
            }
            Self::ContentType(text) => put_text(out, Some(CONTENT_TYPE), text),
            Self::ResponseTopic(text) => put_text(out, Some(RESPONSE_TOPIC), text),
            Self::CorrelationData(bytes) => put(out, Some(CORRELATION_DATA), bytes),
            Self::User(name, value) => put_text(out, Some(USER_PROPERTY), name) && put_text(out, None, value),
        };
        if !written {
            out.truncate(start);
        }
        written
    }
}

/// Text in MQTT has no NUL [MQTT-1.5.4-2].
fn put_text(out: &mut Vec<u8>, id: Option<u8>, text: &str) -> bool {
    !text.contains('\0') && put(out, id, text.as_bytes())
}

fn put(out: &mut Vec<u8>, id: Option<u8>, bytes: &[u8]) -> bool {
    let Ok(len) = u16::try_from(bytes.len()) else { return false };
    out.extend(id);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_no_form_leaves_nothing_behind() {
        let long = "x".repeat(65_536);
        for property in [
            MqttProperty::ContentType("a\0b"),
            MqttProperty::User("name", "a\0b"),
            MqttProperty::User("name", &long),
            MqttProperty::CorrelationData(long.as_bytes()),
        ] {
            let mut out = vec![7];
            assert!(!property.write(&mut out));
            assert_eq!(out, [7]);
        }
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(
            is_text: bool,
            texts in prop::collection::vec("[^\0]{0,20}", 4),
            data in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let properties = [
                MqttProperty::PayloadIsText(is_text),
                MqttProperty::User(&texts[0], &texts[1]),
                MqttProperty::ContentType(&texts[2]),
                MqttProperty::CorrelationData(&data),
                MqttProperty::ResponseTopic(&texts[3]),
                MqttProperty::User(&texts[0], &texts[3]),
            ];
            let mut out = Vec::new();
            prop_assert!(properties.iter().all(|property| property.write(&mut out)));
            prop_assert_eq!(MqttProperties::of(&out).collect::<Vec<_>>(), properties);
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(MqttProperties::of(&bytes).count() <= bytes.len());
        }
    }
}
