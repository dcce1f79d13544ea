//! Properties of a topic as CBOR maps with integer keys (draft-ietf-core-coap-pubsub-21 §4.2).

use minicbor::data::{IanaTag, Tag, Type};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use tercet_coap::ContentFormat;

/// The value of the property resource-type of every topic.
pub(in crate::coap::resources) const TOPIC_DATA: &str = "core.ps.data";
/// How often an observer is asked whether it exists, in seconds, unless a topic says otherwise.
pub(in crate::coap::resources) const OBSERVER_CHECK: u32 = 86_400;

/// Keys of properties.
mod key {
    pub(super) const NAME: i64 = 0;
    pub(super) const DATA: i64 = 1;
    pub(super) const RESOURCE_TYPE: i64 = 2;
    pub(super) const CONTENT_FORMAT: i64 = 3;
    pub(super) const TOPIC_TYPE: i64 = 4;
    pub(super) const EXPIRATION: i64 = 5;
    pub(super) const MAX_SUBSCRIBERS: i64 = 6;
    pub(super) const OBSERVER_CHECK: i64 = 7;
    pub(super) const INITIALIZE: i64 = 8;
}

/// Some properties: those of a topic, or those that a request names. A field that is not there is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::coap::resources) struct Properties {
    /// topic-name.
    pub name: Option<String>,
    /// topic-data: where the data is.
    pub data: Option<String>,
    /// resource-type.
    pub resource_type: Option<String>,
    /// topic-content-format: the only one that is published.
    pub content_format: Option<ContentFormat>,
    /// topic-type.
    pub topic_type: Option<String>,
    /// expiration-date, UTC milliseconds.
    pub expires_ms: Option<u64>,
    /// max-subscribers.
    pub max_subscribers: Option<u32>,
    /// observer-check, seconds.
    pub observer_check: Option<u32>,
    /// initialize: a value for the beginning. No property of a topic that exists.
    pub initialize: Option<Vec<u8>>,
}

/// A payload is no map of properties; says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::coap::resources) struct NotProperties(pub &'static str);

impl From<Error> for NotProperties {
    fn from(_: Error) -> Self {
        Self("not a CBOR map of topic properties")
    }
}

impl Properties {
    /// Reads a map.
    ///
    /// # Errors
    /// It is none, a key comes twice or is not known, or a value is not of its type.
    pub(in crate::coap::resources) fn decode(bytes: &[u8]) -> Result<Self, NotProperties> {
        let mut decoder = Decoder::new(bytes);
        let mut properties = Self::default();
        let mut seen = 0_u16;
        entries(&mut decoder, |decoder| {
            let key = decoder.i64().map_err(|_| NotProperties("the keys of properties are integers"))?;
            let bit = u32::try_from(key).ok().and_then(|key| 1_u16.checked_shl(key)).unwrap_or(0);
            if bit == 0 {
                return Err(NotProperties("a property is not known"));
            }
            if seen & bit != 0 {
                return Err(NotProperties("a property comes twice"));
            }
            seen |= bit;
            properties.read(key, decoder)
        })?;
        if decoder.position() != bytes.len() {
            return Err(NotProperties("something follows the properties"));
        }
        Ok(properties)
    }

    fn read(&mut self, key: i64, decoder: &mut Decoder<'_>) -> Result<(), NotProperties> {
        match key {
            key::NAME => self.name = Some(decoder.str()?.to_owned()),
            key::DATA => self.data = Some(decoder.str()?.to_owned()),
            key::RESOURCE_TYPE => self.resource_type = Some(decoder.str()?.to_owned()),
            key::CONTENT_FORMAT => self.content_format = Some(ContentFormat(decoder.u16()?)),
            key::TOPIC_TYPE => self.topic_type = Some(decoder.str()?.to_owned()),
            key::EXPIRATION => self.expires_ms = Some(date(decoder)?),
            key::MAX_SUBSCRIBERS => self.max_subscribers = Some(decoder.u32()?),
            key::OBSERVER_CHECK => match decoder.u32()? {
                0 => return Err(NotProperties("observer-check is greater than 0")),
                seconds => self.observer_check = Some(seconds),
            },
            key::INITIALIZE => self.initialize = Some(decoder.bytes()?.to_vec()),
            _ => return Err(NotProperties("a property is not known")),
        }
        Ok(())
    }

    /// Writes the map, its keys ascending.
    pub(in crate::coap::resources) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a vector cannot fail.
        let _ = self.write(&mut Encoder::new(&mut out));
        out
    }

    fn write(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder.map(self.len())?;
        let texts =
            [(key::NAME, &self.name), (key::DATA, &self.data), (key::RESOURCE_TYPE, &self.resource_type)];
        for (key, text) in texts {
            if let Some(text) = text {
                encoder.i64(key)?.str(text)?;
            }
        }
        if let Some(ContentFormat(number)) = self.content_format {
            encoder.i64(key::CONTENT_FORMAT)?.u16(number)?;
        }
        if let Some(text) = &self.topic_type {
            encoder.i64(key::TOPIC_TYPE)?.str(text)?;
        }
        if let Some(ms) = self.expires_ms {
            encoder.i64(key::EXPIRATION)?.tag(IanaTag::Timestamp)?;
            match ms % 1000 {
                0 => encoder.u64(ms / 1000)?,
                _ => encoder.f64(ms as f64 / 1000.0)?,
            };
        }
        if let Some(most) = self.max_subscribers {
            encoder.i64(key::MAX_SUBSCRIBERS)?.u32(most)?;
        }
        if let Some(seconds) = self.observer_check {
            encoder.i64(key::OBSERVER_CHECK)?.u32(seconds)?;
        }
        if let Some(value) = &self.initialize {
            encoder.i64(key::INITIALIZE)?.bytes(value)?;
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        let there = [
            self.name.is_some(),
            self.data.is_some(),
            self.resource_type.is_some(),
            self.content_format.is_some(),
            self.topic_type.is_some(),
            self.expires_ms.is_some(),
            self.max_subscribers.is_some(),
            self.observer_check.is_some(),
            self.initialize.is_some(),
        ];
        there.into_iter().filter(|there| *there).count() as u64
    }

    /// Whether these are among the properties of `topic`, each with the same value.
    pub(in crate::coap::resources) fn match_those_of(&self, topic: &Self) -> bool {
        fn fits<T: PartialEq>(wanted: &Option<T>, there: &Option<T>) -> bool {
            wanted.is_none() || wanted == there
        }
        fits(&self.name, &topic.name)
            && fits(&self.data, &topic.data)
            && fits(&self.resource_type, &topic.resource_type)
            && fits(&self.content_format, &topic.content_format)
            && fits(&self.topic_type, &topic.topic_type)
            && fits(&self.expires_ms, &topic.expires_ms)
            && fits(&self.max_subscribers, &topic.max_subscribers)
            && fits(&self.observer_check, &topic.observer_check)
            && fits(&self.initialize, &topic.initialize)
    }

    /// Those of these properties that have the keys.
    pub(in crate::coap::resources) fn only(&self, keys: &[i64]) -> Self {
        fn chosen<T: Clone>(keys: &[i64], key: i64, value: &Option<T>) -> Option<T> {
            value.clone().filter(|_| keys.contains(&key))
        }
        Self {
            name: chosen(keys, key::NAME, &self.name),
            data: chosen(keys, key::DATA, &self.data),
            resource_type: chosen(keys, key::RESOURCE_TYPE, &self.resource_type),
            content_format: chosen(keys, key::CONTENT_FORMAT, &self.content_format),
            topic_type: chosen(keys, key::TOPIC_TYPE, &self.topic_type),
            expires_ms: chosen(keys, key::EXPIRATION, &self.expires_ms),
            max_subscribers: chosen(keys, key::MAX_SUBSCRIBERS, &self.max_subscribers),
            observer_check: chosen(keys, key::OBSERVER_CHECK, &self.observer_check),
            initialize: None,
        }
    }
}

/// Reads the keys of properties that a client wants: an array.
///
/// # Errors
/// It is none, or too long for the keys there are.
pub(in crate::coap::resources) fn decode_keys(bytes: &[u8]) -> Result<Vec<i64>, NotProperties> {
    const MOST: usize = 64;
    const REASON: NotProperties = NotProperties("not a CBOR array of keys");
    let mut decoder = Decoder::new(bytes);
    let mut keys = Vec::new();
    let count = decoder.array().map_err(|_| REASON)?;
    loop {
        match count {
            Some(count) if keys.len() as u64 == count => break,
            None if decoder.datatype().map_err(|_| REASON)? == Type::Break => {
                decoder.skip()?;
                break;
            }
            _ if keys.len() >= MOST => return Err(REASON),
            _ => keys.push(decoder.i64().map_err(|_| REASON)?),
        }
    }
    if decoder.position() == bytes.len() { Ok(keys) } else { Err(REASON) }
}

/// Reads the entries of a map, whether its length is said before or not.
fn entries<'b>(
    decoder: &mut Decoder<'b>,
    mut entry: impl FnMut(&mut Decoder<'b>) -> Result<(), NotProperties>,
) -> Result<(), NotProperties> {
    match decoder.map()? {
        Some(count) => {
            // Each entry takes bytes, so a count that lies ends with them.
            for _ in 0..count {
                entry(decoder)?;
            }
        }
        None => {
            while decoder.datatype()? != Type::Break {
                entry(decoder)?;
            }
            decoder.skip()?;
        }
    }
    Ok(())
}

/// Seconds since 1970 with the tag that says so, as UTC milliseconds.
fn date(decoder: &mut Decoder<'_>) -> Result<u64, NotProperties> {
    const REASON: NotProperties = NotProperties("expiration-date is a number of seconds with tag 1");
    if decoder.tag().map_err(|_| REASON)? != Tag::from(IanaTag::Timestamp) {
        return Err(REASON);
    }
    match decoder.datatype().map_err(|_| REASON)? {
        Type::F16 | Type::F32 | Type::F64 => {
            let seconds = decoder.f64().map_err(|_| REASON)?;
            // As far as milliseconds are exact.
            if (0.0..9e12).contains(&seconds) { Ok((seconds * 1000.0).round() as u64) } else { Err(REASON) }
        }
        _ => decoder.u64().ok().and_then(|seconds| seconds.checked_mul(1000)).ok_or(REASON),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> Properties {
        Properties {
            name: Some("living-room/temp".into()),
            data: Some("/ps/living-room/temp".into()),
            resource_type: Some(TOPIC_DATA.into()),
            content_format: Some(ContentFormat(112)),
            topic_type: Some("temperature".into()),
            expires_ms: Some(1_680_566_400_000),
            max_subscribers: Some(100),
            observer_check: Some(3600),
            initialize: None,
        }
    }

    #[test]
    fn the_map_has_ascending_integer_keys() {
        let properties = Properties { data: None, topic_type: None, ..full() };
        let bytes = properties.encode();
        assert_eq!(bytes.first(), Some(&0xa6));
        // 5: 1(1680566400), as in the draft's example.
        let date = [0x05, 0xc1, 0x1a, 0x64, 0x2b, 0x68, 0x80];
        assert!(bytes.windows(date.len()).any(|window| window == date), "{bytes:02x?}");
    }

    #[test]
    fn maps_that_are_none_of_properties_are_refused() {
        for (bytes, reason) in [
            (&b""[..], "empty"),
            (b"\x80", "an array"),
            (b"\xa1\x00", "no value"),
            (b"\xa1\x00\x01", "a name that is a number"),
            (b"\xa1\x61a\x61b", "a key that is text"),
            (b"\xa1\x09\x01", "an unknown key"),
            (b"\xa1\x20\x01", "a negative key"),
            (b"\xa1\x18\x40\x01", "a key beyond the shift"),
            (b"\xa2\x00\x61a\x00\x61b", "a key twice"),
            (b"\xa1\x00\x61a\x00", "bytes behind it"),
            (b"\xa1\x07\x00", "observer-check 0"),
            (b"\xa1\x06\x20", "a negative number of subscribers"),
            (b"\xa1\x05\x01", "a date without tag"),
            (b"\xa1\x05\xc1\x20", "a date before 1970"),
            (b"\xa1\x05\xc1\xfb\x7f\xf0\0\0\0\0\0\0", "a date that never comes"),
            (b"\xa1\x03\x1a\0\x01\0\0", "a format above 65535"),
            (b"\xbf\x00\x61a", "no end"),
            (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "a length that lies"),
        ] {
            assert!(Properties::decode(bytes).is_err(), "{reason}");
        }
        let endless = Properties::decode(b"\xbf\x00\x61a\xff").unwrap();
        assert_eq!(endless.name.as_deref(), Some("a"));
    }

    #[test]
    fn keys_come_as_an_array() {
        assert_eq!(decode_keys(b"\x82\x01\x03"), Ok(vec![1, 3]));
        assert_eq!(decode_keys(b"\x9f\x01\xff"), Ok(vec![1]));
        assert_eq!(decode_keys(b"\x80"), Ok(vec![]));
        for bytes in [&b"\xa1\x01\x03"[..], b"\x82\x01", b"\x81\x61a", b"\x80\x00", b""] {
            assert!(decode_keys(bytes).is_err(), "{bytes:?}");
        }
        let partial = full().only(&[1, 3, 77]);
        let expected =
            Properties { data: full().data, content_format: full().content_format, ..Properties::default() };
        assert_eq!(partial, expected);
    }

    #[test]
    fn a_filter_asks_for_each_of_its_properties() {
        let filter = |change: fn(&mut Properties)| {
            let mut filter = Properties::default();
            change(&mut filter);
            filter.match_those_of(&full())
        };
        assert!(filter(|_| {}));
        assert!(filter(|f| f.topic_type = Some("temperature".into())));
        assert!(filter(|f| (f.max_subscribers, f.observer_check) = (Some(100), Some(3600))));
        assert!(!filter(|f| f.topic_type = Some("humidity".into())));
        assert!(!filter(|f| (f.max_subscribers, f.observer_check) = (Some(100), Some(1))));
        assert!(!filter(|f| f.initialize = Some(vec![1])));
    }

    proptest! {
        #[test]
        fn properties_are_read_as_they_were_written(
            name in prop::option::of(".{0,20}"),
            topic_type in prop::option::of(".{0,20}"),
            format in prop::option::of(any::<u16>()),
            expires_ms in prop::option::of(0_u64..4_000_000_000_000),
            max_subscribers: Option<u32>,
            observer_check in prop::option::of(1_u32..),
            initialize: Option<Vec<u8>>,
        ) {
            let content_format = format.map(ContentFormat);
            let properties = Properties {
                name, topic_type, content_format, expires_ms, max_subscribers, observer_check, initialize,
                ..Properties::default()
            };
            prop_assert_eq!(Properties::decode(&properties.encode()), Ok(properties));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Properties::decode(&bytes);
            let _ = decode_keys(&bytes);
        }
    }
}
