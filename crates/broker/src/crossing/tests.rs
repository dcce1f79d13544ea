//! Properties there and back.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use tercet_amqp::content::{self, BasicProperties};
use tercet_amqp::field::{ArrayBuf, TableBuf, Value};
use tercet_coap::ContentFormat;

use super::address::TopicMapping;
use super::coap::{KeptOptions, content_format};
use super::mqtt_list::{MqttProperties, MqttProperty};
use super::to_amqp::{amqp_key, amqp_properties};
use super::to_mqtt::MqttForm;
use super::{CORRELATION_HEADER, NotCarried};
use crate::message::{Message, Payload, Properties, PropertyEncoding, Qos};
use crate::session::SessionId;

const MAPPING: TopicMapping = TopicMapping::Exact;

fn mqtt_message(properties: &[MqttProperty<'_>]) -> Message {
    let mut list = Vec::new();
    assert!(properties.iter().all(|property| property.write(&mut list)));
    Message {
        topic: Arc::from("a/v1.0"),
        exchange: None,
        payload: Payload::copy_from(b"payload"),
        properties: Bytes::from(list),
        encoding: PropertyEncoding::Mqtt5,
        qos: Qos::AtMostOnce,
        retain: false,
        publisher: SessionId(1),
        author: None,
        ingress_ms: 5_000,
        expires_at_ms: None,
        dead_lettered: false,
        blind_copies: None,
        shared: false,
        stored: Mutex::new(None),
    }
}

/// The list and headers of a message in AMQP's encoding.
fn translated(message: &Message) -> (Vec<u8>, NotCarried) {
    let mut out = vec![1, 2, 3];
    let not_carried = amqp_properties(message, MAPPING, &mut out);
    content::Properties::from_bytes(&out).expect("flags").validate(4).expect("valid");
    (out, not_carried)
}

fn read(bytes: &[u8]) -> content::Properties<'_> {
    content::Properties::from_bytes(bytes).expect("flags")
}

fn form(properties: &BasicProperties<'_>, payload: &[u8]) -> MqttForm {
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    properties.encode(&mut list).expect("fits").write(&mut bytes);
    let mut form = MqttForm::default();
    form.translate(Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes }, payload, MAPPING);
    form
}

fn list(form: &MqttForm) -> Vec<MqttProperty<'_>> {
    MqttProperties::of(form.publication("t", b"", SessionId::BROKER).properties.bytes).collect()
}

#[test]
fn each_property_of_mqtt_has_its_counterpart() {
    let message = Message {
        qos: Qos::ExactlyOnce,
        expires_at_ms: NonZeroU64::new(65_000),
        ..mqtt_message(&[
            MqttProperty::PayloadIsText(true),
            MqttProperty::ContentType("text/plain"),
            MqttProperty::ResponseTopic("answers/v1.0"),
            MqttProperty::CorrelationData(b"17"),
            MqttProperty::User("unit", "celsius"),
            MqttProperty::User("tag", "a"),
            MqttProperty::User("tag", "b"),
        ])
    };
    let (bytes, not_carried) = translated(&message);
    let properties = read(&bytes).decode(4).expect("valid");
    let mut tags = ArrayBuf::new();
    tags.push("a").expect("short").push("b").expect("short");
    let mut headers = TableBuf::new();
    headers.put("unit", "celsius").expect("short").put("tag", tags.as_array()).expect("short");
    assert_eq!(
        properties,
        BasicProperties {
            content_type: Some("text/plain"),
            content_encoding: Some("utf-8"),
            headers: Some(headers.as_table()),
            delivery_mode: Some(2),
            correlation_id: Some("17"),
            reply_to: Some("answers.v1%2E0"),
            expiration: Some("60000"),
            ..BasicProperties::default()
        }
    );
    assert_eq!(not_carried, NotCarried(0));
    assert_eq!(amqp_key(&message, MAPPING), "a.v1%2E0");
    assert_eq!(amqp_key(&message, TopicMapping::Swap), "a.v1/0");
}

#[test]
fn a_message_without_properties_says_only_that_it_is_transient() {
    for encoding in [PropertyEncoding::None, PropertyEncoding::Mqtt5] {
        let (bytes, not_carried) = translated(&Message { encoding, ..mqtt_message(&[]) });
        let expected = BasicProperties { delivery_mode: Some(1), ..BasicProperties::default() };
        assert_eq!(read(&bytes).decode(4), Ok(expected));
        assert_eq!(not_carried, NotCarried(0));
    }
}

#[test]
fn what_came_by_amqp_stays_as_it_is() {
    let bytes = Bytes::from_static(&[0x10, 0x00, 2]);
    let message = Message {
        encoding: PropertyEncoding::Amqp,
        properties: bytes.clone(),
        exchange: Some("x".into()),
        ..mqtt_message(&[])
    };
    assert_eq!(translated(&message), (bytes.to_vec(), NotCarried(0)));
    assert_eq!(amqp_key(&message, MAPPING), "a/v1.0");
}

#[test]
fn correlation_data_that_is_no_short_text_goes_into_a_header() {
    let long = [b'x'; 256];
    for data in [&[0xFF, 0][..], &long] {
        let (bytes, not_carried) = translated(&mqtt_message(&[MqttProperty::CorrelationData(data)]));
        assert_eq!(read(&bytes).correlation_id(), Ok(None));
        let headers = read(&bytes).headers().expect("valid").expect("there");
        assert_eq!(headers.get(CORRELATION_HEADER), Some(Value::Bytes(data)));
        assert_eq!(not_carried, NotCarried(0));
        let back = form(&BasicProperties { headers: Some(headers), ..BasicProperties::default() }, b"");
        assert_eq!(list(&back), [MqttProperty::CorrelationData(data)]);
    }
}

#[test]
fn what_mqtt_says_that_amqp_cannot_is_counted() {
    let long = "x".repeat(256);
    for property in [
        MqttProperty::ContentType(&long),
        MqttProperty::ResponseTopic("$SYS/x"),
        MqttProperty::ResponseTopic(&long),
        MqttProperty::User(&long, "v"),
        MqttProperty::User("x-death", "forged"),
        MqttProperty::User("CC", "forged"),
    ] {
        let (bytes, not_carried) = translated(&mqtt_message(&[property]));
        assert_eq!(not_carried, NotCarried(1), "{property:?}");
        let expected = BasicProperties { delivery_mode: Some(1), ..BasicProperties::default() };
        assert_eq!(read(&bytes).decode(4), Ok(expected), "{property:?}");
    }
}

#[test]
fn many_names_keep_their_order_and_their_values() {
    let names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
    let twice = names.iter().chain(names.iter()).map(|name| MqttProperty::User(name, "v"));
    let (bytes, _) = translated(&mqtt_message(&twice.collect::<Vec<_>>()));
    let headers = read(&bytes).headers().expect("valid").expect("there");
    let found: Vec<_> = headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(found, names);
    for (_, value) in headers.iter() {
        assert!(matches!(value, Value::Array(values) if values.iter().count() == 2));
    }
}

#[test]
fn each_property_of_amqp_has_its_counterpart() {
    let mut tags = ArrayBuf::new();
    tags.push("a").expect("short").push(7).expect("short");
    let mut headers = TableBuf::new();
    for (name, value) in [
        ("text", Value::from("t")),
        ("yes", Value::Bool(true)),
        ("number", Value::I16(-3)),
        ("float", Value::F64(1.5)),
        ("tags", tags.as_array().into()),
        ("x-own", Value::from("not carried, and not counted")),
        ("x-retain", Value::Bool(true)),
    ] {
        headers.put(name, value).expect("short");
    }
    let properties = BasicProperties {
        content_type: Some("text/plain"),
        content_encoding: Some("UTF-8"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        correlation_id: Some("17"),
        reply_to: Some("answers.v1%2E0"),
        expiration: Some("1001"),
        ..BasicProperties::default()
    };
    let form = form(&properties, "é".as_bytes());
    assert_eq!(
        list(&form),
        [
            MqttProperty::PayloadIsText(true),
            MqttProperty::ContentType("text/plain"),
            MqttProperty::ResponseTopic("answers/v1.0"),
            MqttProperty::CorrelationData(b"17"),
            MqttProperty::User("text", "t"),
            MqttProperty::User("yes", "true"),
            MqttProperty::User("number", "-3"),
            MqttProperty::User("float", "1.5"),
            MqttProperty::User("tags", "a"),
            MqttProperty::User("tags", "7"),
        ]
    );
    assert_eq!(form.not_carried(), NotCarried(0));
    let publication = form.publication("t", b"p", SessionId(3));
    assert_eq!((publication.qos, publication.retain, publication.expiry), (Qos::AtLeastOnce, true, Some(2)));
    assert_eq!(
        (publication.topic, publication.payload, publication.publisher),
        ("t", &b"p"[..], SessionId(3))
    );
}

#[test]
fn without_properties_nothing_is_said() {
    let form = form(&BasicProperties::default(), b"");
    let publication = form.publication("t", b"p", SessionId(3));
    assert_eq!(publication.properties.encoding, PropertyEncoding::None);
    assert_eq!((publication.qos, publication.retain, publication.expiry), (Qos::AtMostOnce, false, None));
}

#[test]
fn what_amqp_says_that_mqtt_cannot_is_counted() {
    let none = BasicProperties::default;
    let mut inner = TableBuf::new();
    inner.put("k", 1).expect("short");
    let mut mixed = ArrayBuf::new();
    mixed.push("a").expect("short").push(inner.as_table()).expect("short");
    let mut headers = TableBuf::new();
    headers.put("table", inner.as_table()).expect("short").put("mixed", mixed.as_array()).expect("short");
    headers.put("void", Value::Void).expect("short").put("bin", Value::LongStr(&[0xFF])).expect("short");
    headers.put("nul", "a\0b").expect("short");
    for (properties, payload, count) in [
        (BasicProperties { content_encoding: Some("gzip"), ..none() }, &b""[..], 1),
        (BasicProperties { content_encoding: Some("utf-8"), ..none() }, &[0xFF], 1),
        (BasicProperties { reply_to: Some("a/b"), ..none() }, b"", 1),
        (BasicProperties { priority: Some(1), message_id: Some("m"), ..none() }, b"", 2),
        (BasicProperties { user_id: Some("u"), app_id: Some("a"), timestamp: Some(1), ..none() }, b"", 3),
        (BasicProperties { headers: Some(headers.as_table()), ..none() }, b"", 5),
    ] {
        let form = form(&properties, payload);
        assert_eq!(form.not_carried(), NotCarried(count), "{properties:?}");
        assert_eq!(list(&form), [], "{properties:?}");
    }
}

#[test]
fn a_form_that_is_used_again_forgets_what_it_was() {
    let mut headers = TableBuf::new();
    headers.put("x-retain", true).expect("short");
    let full = BasicProperties {
        delivery_mode: Some(2),
        content_type: Some("x"),
        expiration: Some("0"),
        priority: Some(3),
        headers: Some(headers.as_table()),
        ..BasicProperties::default()
    };
    let mut form = form(&full, b"");
    assert!(form.retain());
    form.translate(Properties { encoding: PropertyEncoding::Amqp, bytes: &[0, 0] }, b"", MAPPING);
    let publication = form.publication("t", b"", SessionId::BROKER);
    assert_eq!((publication.qos, publication.retain, publication.expiry), (Qos::AtMostOnce, false, None));
    assert!(publication.properties.bytes.is_empty());
    assert_eq!(form.not_carried(), NotCarried(0));
}

#[test]
fn the_format_of_coap_is_the_content_type_of_amqp() {
    for (format, payload, content_type, encoding, lost) in [
        (0, &b"21"[..], Some("text/plain; charset=utf-8"), Some("utf-8"), 0),
        (50, b"{}", Some("application/json"), Some("utf-8"), 0),
        (50, b"\xff", Some("application/json"), None, 0),
        (60, b"\x01", Some("application/cbor"), None, 0),
        (11_050, b"x", Some("application/json"), Some("deflate"), 0),
        (65_000, b"x", None, None, 1),
    ] {
        let kept = KeptOptions::new(Some(ContentFormat(format)));
        let message = Message {
            payload: Payload::copy_from(payload),
            properties: Bytes::copy_from_slice(kept.properties().bytes),
            encoding: PropertyEncoding::Coap,
            qos: Qos::AtLeastOnce,
            expires_at_ms: NonZeroU64::new(65_000),
            ..mqtt_message(&[])
        };
        let (bytes, not_carried) = translated(&message);
        let list = read(&bytes);
        assert_eq!(list.content_type(), Ok(content_type), "{format}");
        assert_eq!(list.content_encoding(), Ok(encoding), "{format}");
        assert_eq!((list.delivery_mode(), list.expiration()), (Ok(Some(2)), Ok(Some("60000"))));
        assert_eq!(not_carried, NotCarried(lost), "{format}");
        let back = content_format(Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes }).0;
        assert_eq!(back, content_type.map(|_| ContentFormat(format)), "{format}");
    }
}

#[test]
fn a_message_of_coap_in_the_topic_space_is_one_of_mqtt_there() {
    let kept = KeptOptions::new(Some(ContentFormat::JSON));
    let mut form = MqttForm::default();
    form.translate(kept.properties(), b"{}", MAPPING);
    assert_eq!(
        list(&form),
        [MqttProperty::PayloadIsText(true), MqttProperty::ContentType("application/json"),]
    );
    let publication = form.publication("t", b"{}", SessionId::BROKER);
    assert_eq!(content_format(publication.properties).0, Some(ContentFormat::JSON));
}

proptest! {
    #[test]
    fn mqtt_properties_come_back_from_amqp(
        content_type in prop::option::of("[a-z/]{0,20}"),
        response in prop::option::of("[a-c./%]{1,10}"),
        correlation in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        users in prop::collection::btree_map("[a-d]{1,3}", prop::collection::vec("[^\0]{0,8}", 1..3), 0..12),
        is_text: bool,
        qos: bool,
        seconds in prop::option::of(1_u32..1000),
    ) {
        let mut properties = Vec::new();
        if is_text {
            properties.push(MqttProperty::PayloadIsText(true));
        }
        properties.extend(content_type.as_deref().map(MqttProperty::ContentType));
        properties.extend(response.as_deref().map(MqttProperty::ResponseTopic));
        properties.extend(correlation.as_deref().map(MqttProperty::CorrelationData));
        for (name, values) in &users {
            properties.extend(values.iter().map(|value| MqttProperty::User(name, value)));
        }
        let message = Message {
            qos: if qos { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            expires_at_ms: seconds.and_then(|s| NonZeroU64::new(5_000 + u64::from(s) * 1000)),
            ..mqtt_message(&properties)
        };
        let (bytes, not_carried) = translated(&message);
        prop_assert_eq!(not_carried, NotCarried(0));
        let mut form = MqttForm::default();
        form.translate(Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes }, b"text", MAPPING);
        prop_assert_eq!(form.not_carried(), NotCarried(0));
        prop_assert_eq!(list(&form), properties);
        let publication = form.publication("t", b"", SessionId::BROKER);
        prop_assert_eq!((publication.qos, publication.expiry), (message.qos, seconds));
    }
}
