//! Messages of MQTT as AMQP shows them.
//!
//! A message keeps its properties as its publisher encoded them. They are translated when it is delivered, or looked into.

use std::borrow::Cow;
use std::str;

use hashbrown::HashMap;
use smallvec::SmallVec;
use tercet_amqp::content::{self, BasicProperties};
use tercet_amqp::field::{ArrayBuf, TableBuf, Value};

use crate::crossing::address::TopicMapping;
use crate::crossing::coap;
use crate::crossing::mqtt_list::{MqttProperties, MqttProperty};
use crate::crossing::{CORRELATION_HEADER, NotCarried, TEXT_ENCODING, is_application_header};
use crate::message::{Message, PropertyEncoding, Qos};

/// Longest short string of AMQP, in bytes: names of fields, and most properties.
const LONGEST_SHORT: usize = 255;

/// The routing key of a message as AMQP shows it: its own, or that of its topic. Empty for a topic that has none, which
/// reaches no queue.
#[must_use]
pub fn amqp_key(message: &Message, mapping: TopicMapping) -> Cow<'_, str> {
    match message.exchange {
        Some(_) => Cow::Borrowed(&*message.topic),
        None => Cow::Owned(mapping.to_amqp(&message.topic).unwrap_or_default()),
    }
}

/// The properties of a message in AMQP's encoding, flags and list: its own, or those of MQTT or CoAP translated. `out` is replaced
/// by them. Says how much could not be carried.
pub fn amqp_properties(message: &Message, mapping: TopicMapping, out: &mut Vec<u8>) -> NotCarried {
    out.clear();
    let mut not_carried = NotCarried::default();
    let bytes = match message.encoding {
        PropertyEncoding::Amqp => {
            out.extend_from_slice(&message.properties);
            return NotCarried::default();
        }
        PropertyEncoding::Mqtt5 => &message.properties[..],
        PropertyEncoding::None | PropertyEncoding::Coap => &[],
    };
    let mut reply_to = None;
    let mut headers = Headers::default();
    let expiration = message.expires_at_ms.map(|at| at.get().saturating_sub(message.ingress_ms).to_string());
    let mut properties = BasicProperties {
        delivery_mode: Some(if message.qos > Qos::AtMostOnce { 2 } else { 1 }),
        expiration: expiration.as_deref(),
        ..BasicProperties::default()
    };
    if message.encoding == PropertyEncoding::Coap {
        let (described, lost) = coap::described(message.properties(), &message.payload);
        properties.content_type = described.media_type;
        properties.content_encoding = described.coding.or(described.is_text.then_some(TEXT_ENCODING));
        not_carried += lost;
    }
    for property in MqttProperties::of(bytes) {
        let carried = match property {
            MqttProperty::PayloadIsText(is_text) => {
                properties.content_encoding = is_text.then_some(TEXT_ENCODING);
                true
            }
            MqttProperty::ContentType(text) => {
                properties.content_type = short(text);
                properties.content_type.is_some()
            }
            MqttProperty::ResponseTopic(topic) => {
                reply_to = mapping.to_amqp(topic);
                reply_to.is_some()
            }
            MqttProperty::CorrelationData(data) => {
                properties.correlation_id = str::from_utf8(data).ok().and_then(short);
                properties.correlation_id.is_some()
                    || headers.correlation.put(CORRELATION_HEADER, Value::Bytes(data)).is_ok()
            }
            MqttProperty::User(name, value) => headers.add(name, value),
        };
        not_carried.note(carried);
    }
    properties.reply_to = reply_to.as_deref();
    let (headers, lost) = headers.finish();
    not_carried += lost;
    properties.headers = (!headers.as_table().is_empty()).then(|| headers.as_table());
    write(&properties, out);
    not_carried
}

fn short(text: &str) -> Option<&str> {
    (text.len() <= LONGEST_SHORT).then_some(text)
}

fn write(properties: &BasicProperties<'_>, out: &mut Vec<u8>) {
    let mut list = Vec::new();
    // Every text was found to be short enough.
    let encoded = properties.encode(&mut list).unwrap_or(content::Properties::from_parts(0, &[]));
    encoded.write(out);
}

/// A name with its values.
type UserProperty<'a> = (&'a str, SmallVec<[&'a str; 1]>);

/// User properties on their way into a table. One whose name comes more than once becomes an array.
#[derive(Default)]
struct Headers<'a> {
    correlation: TableBuf,
    names: SmallVec<[UserProperty<'a>; 8]>,
    /// Where a name stands, once there are many.
    index: HashMap<&'a str, usize>,
}

impl<'a> Headers<'a> {
    /// Names up to which a look at each of them is cheaper than a table.
    const LINEAR: usize = 8;

    fn add(&mut self, name: &'a str, value: &'a str) -> bool {
        if name.len() > LONGEST_SHORT || !is_application_header(name) {
            return false;
        }
        let linear = self.names.iter().take(Self::LINEAR).position(|(known, _)| *known == name);
        match linear.or_else(|| self.index.get(name).copied()).and_then(|at| self.names.get_mut(at)) {
            Some((_, values)) => values.push(value),
            None => {
                if self.names.len() >= Self::LINEAR {
                    self.index.insert(name, self.names.len());
                }
                self.names.push((name, SmallVec::from_slice(&[value])));
            }
        }
        true
    }

    fn finish(self) -> (TableBuf, NotCarried) {
        let mut table = self.correlation;
        let mut not_carried = NotCarried::default();
        for (name, values) in self.names {
            let put = match &values[..] {
                [value] => table.put(name, *value).is_ok(),
                values => {
                    let mut array = ArrayBuf::new();
                    values.iter().all(|value| array.push(*value).is_ok())
                        && table.put(name, array.as_array()).is_ok()
                }
            };
            not_carried.note(put);
        }
        (table, not_carried)
    }
}
