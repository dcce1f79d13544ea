//! The codec against two others: `mqtt-protocol-core` (3.1.1 and 5.0) and `mqttbytes` (3.1.1).
//!
//! Valid packets and damaged ones are given to both sides. Where both accept, they have to mean the same; where the
//! verdicts differ, the reason has to stand in a list here. Both are laxer than the specification, so that list is
//! mostly about what only this codec refuses.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use proptest::prelude::*;
use tercet_mqtt::{
    ErrorKind, Limits, Packet, PacketType, PayloadFormat, ReasonCode, Version, decode, encode,
};

use crate::material::{Views, material};

/// What `mqtt-protocol-core` makes of the body of a packet: it is parsed and written again.
fn protocol_core(version: Version, first: u8, body: &[u8]) -> Result<Vec<u8>, MqttError> {
    macro_rules! by_body {
        ($packet:ty) => {{
            let (packet, used) = <$packet>::parse(body)?;
            if used == body.len() {
                Ok(packet.to_continuous_buffer())
            } else {
                Err(MqttError::MalformedPacket)
            }
        }};
    }
    macro_rules! by_flags {
        ($packet:ty) => {{ <$packet>::parse(first & 0x0F, Arc::from(body)).map(|(packet, _)| packet.to_continuous_buffer()) }};
    }
    let packet = PacketType::new(first >> 4).ok_or(MqttError::MalformedPacket)?;
    if version == Version::V5 {
        match packet {
            PacketType::Connect => by_body!(v5_0::Connect),
            PacketType::ConnAck => by_body!(v5_0::Connack),
            PacketType::Publish => by_flags!(v5_0::Publish),
            PacketType::PubAck => by_body!(v5_0::Puback),
            PacketType::PubRec => by_body!(v5_0::Pubrec),
            PacketType::PubRel => by_body!(v5_0::Pubrel),
            PacketType::PubComp => by_body!(v5_0::Pubcomp),
            PacketType::Subscribe => by_body!(v5_0::Subscribe),
            PacketType::SubAck => by_body!(v5_0::Suback),
            PacketType::Unsubscribe => by_body!(v5_0::Unsubscribe),
            PacketType::UnsubAck => by_body!(v5_0::Unsuback),
            PacketType::PingReq => by_body!(v5_0::Pingreq),
            PacketType::PingResp => by_body!(v5_0::Pingresp),
            PacketType::Disconnect => by_body!(v5_0::Disconnect),
            PacketType::Auth => by_body!(v5_0::Auth),
        }
    } else {
        match packet {
            PacketType::Connect => by_body!(v3_1_1::Connect),
            PacketType::ConnAck => by_body!(v3_1_1::Connack),
            PacketType::Publish => by_flags!(v3_1_1::Publish),
            PacketType::PubAck => by_body!(v3_1_1::Puback),
            PacketType::PubRec => by_body!(v3_1_1::Pubrec),
            PacketType::PubRel => by_body!(v3_1_1::Pubrel),
            PacketType::PubComp => by_body!(v3_1_1::Pubcomp),
            PacketType::Subscribe => by_body!(v3_1_1::Subscribe),
            PacketType::SubAck => by_body!(v3_1_1::Suback),
            PacketType::Unsubscribe => by_body!(v3_1_1::Unsubscribe),
            PacketType::UnsubAck => by_body!(v3_1_1::Unsuback),
            PacketType::PingReq => by_body!(v3_1_1::Pingreq),
            PacketType::PingResp => by_body!(v3_1_1::Pingresp),
            PacketType::Disconnect => by_body!(v3_1_1::Disconnect),
            PacketType::Auth => Err(MqttError::MalformedPacket),
        }
    }
}

/// What `mqttbytes` makes of a packet of MQTT 3.1.1: it is parsed and written again.
fn mqttbytes_v4(data: &[u8]) -> Result<Vec<u8>, mqttbytes::Error> {
    use mqttbytes::v4::{Disconnect, Packet as P, PingReq, PingResp, read};
    let mut stream = bytes::BytesMut::from(data);
    let mut out = bytes::BytesMut::new();
    match read(&mut stream, 1 << 20)? {
        P::Connect(p) => p.write(&mut out),
        P::ConnAck(p) => p.write(&mut out),
        P::Publish(p) => p.write(&mut out),
        P::PubAck(p) => p.write(&mut out),
        P::PubRec(p) => p.write(&mut out),
        P::PubRel(p) => p.write(&mut out),
        P::PubComp(p) => p.write(&mut out),
        P::Subscribe(p) => p.write(&mut out),
        P::SubAck(p) => p.write(&mut out),
        P::Unsubscribe(p) => p.write(&mut out),
        P::UnsubAck(p) => p.write(&mut out),
        P::PingReq => PingReq.write(&mut out),
        P::PingResp => PingResp.write(&mut out),
        P::Disconnect => Disconnect.write(&mut out),
    }?;
    Ok(out.to_vec())
}

/// What only this codec refuses, and the rule that makes it right.
const fn only_we_refuse(kind: ErrorKind) -> bool {
    matches!(
        kind,
        // [MQTT-1.5.4-2]: neither looks for U+0000.
        ErrorKind::NulCharacter
            // [MQTT-1.5.5-1]
            | ErrorKind::OverlongInteger
            // [MQTT-2.2.1-3]: not checked in answers.
            | ErrorKind::PacketIdZero
            // [MQTT-3.8.3-2], [MQTT-3.10.3-2], [MQTT-3.9.3-1], [MQTT-3.11.3-1]: lists may be empty to them.
            | ErrorKind::NoFilters(_)
            | ErrorKind::NoReasonCodes(_)
            // §2.1.4: bodies that go on after their last field.
            | ErrorKind::TrailingBytes
            // [MQTT-3.1.2-3], [MQTT-3.1.2-11], [MQTT-3.1.2-13]
            | ErrorKind::ReservedConnectFlag
            | ErrorKind::WillFlags
            // [MQTT-3.2.2-1], [MQTT-3.2.2-6]
            | ErrorKind::ConnAckFlags
            | ErrorKind::SessionPresentWithError
            // §3.1.2.11.10, not checked in CONNACK.
            | ErrorKind::AuthDataWithoutMethod
            // [MQTT-4.7.3-1], [MQTT-3.3.2-2], [MQTT-4.7.1-1], [MQTT-4.8.2-1]: topics are not looked into.
            | ErrorKind::EmptyTopicName
            | ErrorKind::NoTopic
            | ErrorKind::EmptyTopicFilter
            | ErrorKind::WildcardInTopicName
            | ErrorKind::MisplacedWildcard
            | ErrorKind::InvalidShare
            // [MQTT-3.8.3-4], [MQTT-3.8.3-5]
            | ErrorKind::NoLocalOnShared
            | ErrorKind::SubscriptionOptions
    )
}

/// What `mqtt-protocol-core` refuses and the specification allows.
fn only_protocol_core_refuses(packet: &Packet<'_>) -> bool {
    match packet {
        // §3.1.2.9: MQTT 5.0 allows a password without a user name. And §3.3.2.3.2 leaves the check of a payload
        // that calls itself UTF-8 to the receiver, who has it as an option here.
        Packet::Connect(connect) => {
            let will_differs =
                connect.will.is_some_and(|will| claims_text(will.properties.payload_format, will.payload));
            (connect.password.is_some() && connect.username.is_none()) || will_differs
        }
        Packet::Publish(publish) => claims_text(publish.properties.payload_format, publish.payload),
        // §2.4 lists it for DISCONNECT, the table of §3.14.2.1 does not.
        Packet::Disconnect(disconnect) => disconnect.reason == ReasonCode::BadAuthenticationMethod,
        _ => false,
    }
}

/// The payload calls itself UTF-8 and is not.
fn claims_text(format: Option<PayloadFormat>, payload: &[u8]) -> bool {
    format == Some(PayloadFormat::Utf8) && core::str::from_utf8(payload).is_err()
}

/// What `mqttbytes` refuses or changes and the specification allows: it takes passwords for text, and empty names and
/// passwords for absent ones.
fn only_mqttbytes_differs(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Connect(connect) => {
            let password = connect.password.unwrap_or_default();
            core::str::from_utf8(password).is_err()
                || connect.username.is_some_and(str::is_empty)
                || (connect.password.is_some() && password.is_empty())
        }
        _ => false,
    }
}

fn compare<E: core::fmt::Debug>(
    data: &[u8],
    version: Version,
    theirs: Result<Vec<u8>, E>,
    only_they_differ: fn(&Packet<'_>) -> bool,
) {
    match (decode(data, version, &Limits::protocol()), theirs) {
        (Ok(Some((packet, _))), Ok(written)) => {
            let again = decode(&written, version, &Limits::protocol());
            let same = matches!(again, Ok(Some((again, _))) if again == packet);
            assert!(
                same || only_they_differ(&packet),
                "{data:02X?} means {packet:?}, to them {written:02X?}"
            );
        }
        (Ok(Some((packet, _))), Err(error)) => {
            assert!(only_they_differ(&packet), "only they refuse {data:02X?} {packet:?}: {error:?}");
        }
        (Err(error), Ok(written)) => {
            // §3.3.2.3.1, §3.15.2.2.1: mqtt-protocol-core does without the property length at the end of a PUBLISH, and
            // of an AUTH that has a reason code, which only shorter packets may.
            let no_property_length = error.kind == ErrorKind::Truncated
                && error.offset as usize == data.len()
                && matches!(data[0] >> 4, 3 | 15)
                && version == Version::V5;
            assert!(
                no_property_length || only_we_refuse(error.kind),
                "only we refuse {data:02X?}: {error}; to them {written:02X?}"
            );
        }
        (Err(_), Err(_)) => {}
        (Ok(None), _) => panic!("incomplete: {data:02X?}"),
    }
}

/// A change to the body of a packet.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::None),
        any::<(prop::sample::Index, u8)>().prop_map(|(at, byte)| Damage::Replace(at, byte)),
        any::<(prop::sample::Index, u8)>().prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<prop::sample::Index>().prop_map(Damage::Remove),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::None => {}
            Self::Replace(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Self::Insert(at, byte) => body.insert(at.index(body.len()), *byte),
            Self::Remove(at) => {
                body.remove(at.index(body.len()));
            }
            Self::Cut(at) => body.truncate(at.index(body.len())),
        }
    }
}

/// The body of an encoded packet.
fn body_of(packet: &[u8]) -> Vec<u8> {
    let length_bytes = packet[1..].iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
    packet[1 + length_bytes..].to_vec()
}

/// A packet with this body, under a fixed header that fits.
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let more = if rest > 0x7F { 0x80 } else { 0 };
        packet.push((rest & 0x7F) as u8 | more);
        rest >>= 7;
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdict_and_meaning_agree(material in material(), damage in damage()) {
        for version in [Version::V311, Version::V5] {
            let views = Views::new(&material, version);
            for packet in views.packets() {
                let mut bytes = Vec::new();
                encode(&packet, version, &mut bytes).unwrap();
                let mut body = body_of(&bytes);
                damage.apply(&mut body);
                let data = frame(bytes[0], &body);
                // The others decide the version of a CONNECT before they read it.
                let other_version = matches!(packet, Packet::Connect(_)) && body.get(6) != Some(&version.level());
                if other_version {
                    continue;
                }
                compare(&data, version, protocol_core(version, bytes[0], &body), only_protocol_core_refuses);
                // It wants a body in every packet but pings and DISCONNECT, and cannot be asked about those.
                if version == Version::V311 && !body.is_empty() {
                    compare(&data, version, mqttbytes_v4(&data), only_mqttbytes_differs);
                }
            }
        }
    }
}
