//! Messages of AMQP as MQTT shows them.
//!
//! One that goes to the topic space is translated once, before it reaches sessions, groups and retained values.

use std::fmt::Write as _;

use tercet_amqp::content;
use tercet_amqp::field::{Table, Value};

use crate::crossing::address::TopicMapping;
use crate::crossing::coap;
use crate::crossing::mqtt_list::MqttProperty;
use crate::crossing::{CORRELATION_HEADER, NotCarried, TEXT_ENCODING, is_application_header};
use crate::message::{Properties, PropertyEncoding, Publication, Qos};
use crate::session::SessionId;

/// A header that makes a message the retained value of its topic.
const RETAIN_HEADER: &str = "x-retain";

/// The translated properties of a message: what a [`Publication`] borrows from. Reused from message to message.
#[derive(Debug, Default)]
pub struct MqttForm {
    properties: Vec<u8>,
    qos: Option<Qos>,
    retain: bool,
    expiry: Option<u32>,
    not_carried: NotCarried,
}

impl MqttForm {
    /// Translates the properties of a message that came by AMQP or CoAP. Those of one that came by MQTT stay as they are.
    pub fn translate(&mut self, properties: Properties<'_>, payload: &[u8], mapping: TopicMapping) {
        self.properties.clear();
        self.not_carried = NotCarried::default();
        (self.qos, self.retain, self.expiry) = (Some(Qos::AtMostOnce), false, None);
        match properties.encoding {
            PropertyEncoding::Amqp => {}
            PropertyEncoding::Coap => {
                self.not_carried = coap::mqtt_properties(properties, payload, &mut self.properties);
                return;
            }
            PropertyEncoding::None | PropertyEncoding::Mqtt5 => {
                self.properties.extend_from_slice(properties.bytes);
                return;
            }
        }
        // What the face lets through can be read.
        let Some(encoded) = content::Properties::from_bytes(properties.bytes) else { return };
        if encoded.flags() != 0 {
            self.read(&encoded, payload, mapping);
        }
    }

    fn read(&mut self, encoded: &content::Properties<'_>, payload: &[u8], mapping: TopicMapping) {
        use content::Property;
        if encoded.delivery_mode() == Ok(Some(2)) {
            self.qos = Some(Qos::AtLeastOnce);
        }
        self.expiry = encoded.expiration().ok().flatten().and_then(seconds);
        match encoded.content_encoding().ok().flatten() {
            Some(encoding) if encoding.eq_ignore_ascii_case(TEXT_ENCODING) => {
                // The receiver may check what it is told [MQTT-3.3.2-5].
                let is_text = std::str::from_utf8(payload).is_ok();
                self.put(is_text.then_some(MqttProperty::PayloadIsText(true)));
            }
            Some(_) => self.put(None),
            None => {}
        }
        if let Ok(Some(content_type)) = encoded.content_type() {
            self.put(Some(MqttProperty::ContentType(content_type)));
        }
        if let Ok(Some(key)) = encoded.reply_to() {
            let topic = mapping.to_mqtt(key);
            self.put(topic.as_deref().map(MqttProperty::ResponseTopic));
        }
        let headers = encoded.headers().ok().flatten().unwrap_or_default();
        self.correlate(encoded, &headers);
        for property in [
            Property::Priority,
            Property::MessageId,
            Property::Timestamp,
            Property::Type,
            Property::UserId,
            Property::AppId,
            Property::ClusterId,
        ] {
            if encoded.has(property) {
                self.not_carried.note(false);
            }
        }
        self.retain = matches!(headers.get(RETAIN_HEADER), Some(Value::Bool(true)));
        for (name, value) in headers.iter() {
            match std::str::from_utf8(name) {
                Ok(name) if is_application_header(name) => self.header(name, &value),
                Ok(_) => {}
                Err(_) => self.put(None),
            }
        }
    }

    fn correlate(&mut self, encoded: &content::Properties<'_>, headers: &Table<'_>) {
        let data = match (encoded.correlation_id(), headers.get(CORRELATION_HEADER)) {
            (Ok(Some(id)), _) => Some(id.as_bytes()),
            (_, Some(Value::Bytes(data) | Value::LongStr(data))) => Some(data),
            _ => None,
        };
        if let Some(data) = data {
            self.put(Some(MqttProperty::CorrelationData(data)));
        }
    }

    fn header(&mut self, name: &str, value: &Value<'_>) {
        match value {
            Value::Array(array) => {
                // One after the other, so that the whole of it crosses or nothing.
                let start = self.properties.len();
                let mut all = array.iter();
                let carried = all.all(|value| {
                    text(&value)
                        .is_some_and(|text| MqttProperty::User(name, &text).write(&mut self.properties))
                });
                if !carried {
                    self.properties.truncate(start);
                }
                self.not_carried.note(carried);
            }
            value => {
                let text = text(value);
                self.put(text.as_deref().map(|text| MqttProperty::User(name, text)));
            }
        }
    }

    fn put(&mut self, property: Option<MqttProperty<'_>>) {
        let carried = property.is_some_and(|property| property.write(&mut self.properties));
        self.not_carried.note(carried);
    }

    /// The message as a publication to its topic.
    #[must_use]
    pub fn publication<'a>(
        &'a self,
        topic: &'a str,
        payload: &'a [u8],
        publisher: SessionId,
    ) -> Publication<'a> {
        let encoding =
            if self.properties.is_empty() { PropertyEncoding::None } else { PropertyEncoding::Mqtt5 };
        Publication {
            topic,
            payload,
            properties: Properties { encoding, bytes: &self.properties },
            qos: self.qos.unwrap_or(Qos::AtMostOnce),
            retain: self.retain,
            expiry: self.expiry,
            publisher,
        }
    }

    /// Whether it becomes the retained value of its topic.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// How much could not be carried.
    #[must_use]
    pub fn not_carried(&self) -> NotCarried {
        self.not_carried
    }
}

/// Seconds, rounded up, of milliseconds as AMQP writes them.
fn seconds(expiration: &str) -> Option<u32> {
    let milliseconds: u64 = expiration.parse().ok()?;
    Some(u32::try_from(milliseconds.div_ceil(1000)).unwrap_or(u32::MAX))
}

/// The value of a header as text, if it is a text, a number or a truth value.
fn text<'a>(value: &Value<'a>) -> Option<std::borrow::Cow<'a, str>> {
    let mut text = String::new();
    let written = match *value {
        Value::LongStr(_) => return value.as_str().map(Into::into),
        Value::Bool(value) => write!(text, "{value}"),
        Value::F32(value) => write!(text, "{value}"),
        Value::F64(value) => write!(text, "{value}"),
        Value::Timestamp(value) => write!(text, "{value}"),
        _ => write!(text, "{}", value.as_i64()?),
    };
    written.ok().map(|()| text.into())
}
