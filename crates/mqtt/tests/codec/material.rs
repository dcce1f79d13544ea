//! Random material and one packet of every type made of it, for property tests.

use core::num::{NonZeroU16, NonZeroU32};

use proptest::collection::vec;
use proptest::prelude::*;
use tercet_mqtt::property::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubAckProperties, SubscribeProperties, UnsubAckProperties, UnsubscribeProperties,
    UserProperties, WillProperties,
};
use tercet_mqtt::topic::TopicFilter;
use tercet_mqtt::{
    Ack, Auth, ConnAck, Connect, Disconnect, Filters, Limits, Packet, PacketId, PacketType, PayloadFormat,
    Publish, QoS, ReasonCode, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeOptions, Subscription,
    SubscriptionId, Subscriptions, UnsubAck, Unsubscribe, Version, Will,
};

pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// What packets are made of.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    texts: Vec<String>,
    topics: Vec<String>,
    blobs: Vec<Vec<u8>>,
    numbers: Vec<u32>,
    pairs: Vec<(String, String)>,
    filters: Vec<(String, u8)>,
    subscription_ids: Vec<u32>,
    codes: Vec<u8>,
    /// Which optional parts are there, and every flag.
    mask: u64,
}

pub(crate) fn material() -> impl Strategy<Value = Material> {
    let topic = "[a-z/$ äß€𝄞]{1,24}";
    let filter = prop_oneof![
        "[a-z/]{1,12}".prop_map(String::from),
        "([a-z]{0,3}|\\+)(/([a-z]{0,3}|\\+)){0,4}(/#)?".prop_filter("not empty", |filter| !filter.is_empty()),
        "\\$share/[a-z]{1,5}/([a-z]{1,3}|\\+)(/#)?".prop_map(String::from),
        "\\$queue/[a-z]{1,3}".prop_map(String::from),
    ];
    let number = prop_oneof![0..4u32, any::<u32>(), Just(u32::MAX)];
    let subscription_id = prop_oneof![1..200u32, 1..=268_435_455u32];
    (
        vec("[^\u{0}]{0,20}", 6),
        vec(topic, 2),
        vec(vec(any::<u8>(), 0..200), 3),
        vec(number, 6),
        vec(("[^\u{0}]{0,8}", "[^\u{0}]{0,8}"), 0..4),
        vec((filter, any::<u8>()), 1..5),
        vec(subscription_id, 0..4),
        vec(any::<u8>(), 1..5),
        any::<u64>(),
    )
        .prop_map(|(texts, topics, blobs, numbers, pairs, filters, subscription_ids, codes, mask)| {
            Material { texts, topics, blobs, numbers, pairs, filters, subscription_ids, codes, mask }
        })
}

/// Material in the form that packets borrow.
pub(crate) struct Views<'m> {
    material: &'m Material,
    version: Version,
    pairs: Vec<(&'m str, &'m str)>,
    subscriptions: Vec<Subscription<'m>>,
    filters: Vec<TopicFilter<'m>>,
    sub_codes: Vec<ReasonCode>,
    unsub_codes: Vec<ReasonCode>,
}

fn codes_for(packet: PacketType) -> Vec<ReasonCode> {
    (0..=0xFF).filter_map(ReasonCode::new).filter(|code| code.is_allowed_in(packet)).collect()
}

impl<'m> Views<'m> {
    pub(crate) fn new(material: &'m Material, version: Version) -> Self {
        let limits = Limits::default();
        let filters: Vec<_> = material
            .filters
            .iter()
            .map(|(text, _)| TopicFilter::parse(text, &limits).expect("valid"))
            .collect();
        let options = |byte: u8, shared: bool| SubscribeOptions {
            qos: QoS::new(byte % 3).expect("valid"),
            no_local: version.is_v5() && !shared && byte & 0x40 != 0,
            retain_as_published: version.is_v5() && byte & 0x80 != 0,
            retain_handling: match byte >> 4 & 3 {
                1 if version.is_v5() => RetainHandling::SendIfNew,
                2 if version.is_v5() => RetainHandling::DoNotSend,
                _ => RetainHandling::Send,
            },
        };
        let subscriptions = filters
            .iter()
            .zip(&material.filters)
            .map(|(&filter, (_, byte))| Subscription {
                filter,
                options: options(*byte, filter.shared().is_some()),
            })
            .collect();
        let v3 = [0, 1, 2, 0x80].map(|code| ReasonCode::new(code).expect("valid")).to_vec();
        let sub = if version.is_v5() { codes_for(PacketType::SubAck) } else { v3 };
        let unsub = codes_for(PacketType::UnsubAck);
        let pick = |from: &[ReasonCode]| -> Vec<ReasonCode> {
            material.codes.iter().map(|&code| from[usize::from(code) % from.len()]).collect()
        };
        Self {
            material,
            version,
            pairs: material.pairs.iter().map(|(name, value)| (&**name, &**value)).collect(),
            subscriptions,
            filters,
            sub_codes: pick(&sub),
            unsub_codes: if version.is_v5() { pick(&unsub) } else { Vec::new() },
        }
    }

    /// One packet of every type that the version has.
    pub(crate) fn packets(&self) -> Vec<Packet<'_>> {
        let mut packets = vec![
            Packet::Connect(self.connect()),
            Packet::ConnAck(self.connack()),
            Packet::Publish(self.publish()),
            Packet::PubAck(self.ack(PacketType::PubAck)),
            Packet::PubRec(self.ack(PacketType::PubRec)),
            Packet::PubRel(self.ack(PacketType::PubRel)),
            Packet::PubComp(self.ack(PacketType::PubComp)),
            Packet::Subscribe(Subscribe {
                packet_id: self.id(),
                properties: SubscribeProperties {
                    subscription_id: self
                        .v5(10, self.material.subscription_ids.first().copied())
                        .flatten()
                        .and_then(SubscriptionId::new),
                    user_properties: self.user(),
                },
                subscriptions: Subscriptions::new(&self.subscriptions),
            }),
            Packet::SubAck(SubAck {
                packet_id: self.id(),
                properties: SubAckProperties {
                    reason_string: self.text(11, 0),
                    user_properties: self.user(),
                },
                reason_codes: ReasonCodes::new(&self.sub_codes),
            }),
            Packet::Unsubscribe(Unsubscribe {
                packet_id: self.id(),
                properties: UnsubscribeProperties { user_properties: self.user() },
                filters: Filters::new(&self.filters),
            }),
            Packet::UnsubAck(UnsubAck {
                packet_id: self.id(),
                properties: UnsubAckProperties {
                    reason_string: self.text(12, 1),
                    user_properties: self.user(),
                },
                reason_codes: ReasonCodes::new(&self.unsub_codes),
            }),
            Packet::PingReq,
            Packet::PingResp,
            Packet::Disconnect(Disconnect {
                reason: self.reason(PacketType::Disconnect),
                properties: DisconnectProperties {
                    session_expiry: self.number(13, 0),
                    reason_string: self.text(14, 2),
                    server_reference: self.text(15, 3),
                    user_properties: self.user(),
                },
            }),
        ];
        if self.version.is_v5() {
            packets.push(Packet::Auth(Auth {
                reason: self.reason(PacketType::Auth),
                properties: AuthProperties {
                    authentication_method: Some(&self.material.texts[0]),
                    authentication_data: self.blob(16, 0),
                    reason_string: self.text(17, 1),
                    user_properties: self.user(),
                },
            }));
        }
        packets
    }

    fn connect(&self) -> Connect<'_> {
        let m = self.material;
        let username = self.flag(20).then_some(&*m.texts[1]);
        let method = self.text(21, 2);
        Connect {
            version: self.version,
            clean_start: self.flag(22) || self.version != Version::V5,
            keep_alive: m.numbers[0] as u16,
            client_id: if m.texts[0].is_empty() { "x" } else { &m.texts[0] },
            will: self.flag(23).then(|| Will {
                topic: &m.topics[0],
                payload: &m.blobs[0],
                qos: self.qos(),
                retain: self.flag(24),
                properties: WillProperties {
                    will_delay: self.number(25, 1).unwrap_or(0),
                    payload_format: self.v5(26, PayloadFormat::Utf8),
                    message_expiry: self.number(27, 2),
                    response_topic: self.v5(28, &m.topics[1]).map(String::as_str),
                    correlation_data: self.blob(29, 1),
                    content_type: self.text(30, 3),
                    user_properties: self.user(),
                },
            }),
            username,
            password: if username.is_some() || self.version.is_v5() {
                self.flag(31).then_some(&*m.blobs[2])
            } else {
                None
            },
            properties: ConnectProperties {
                session_expiry: self.number(32, 3),
                receive_maximum: self.number(33, 4).and_then(|n| NonZeroU16::new(n as u16)),
                maximum_packet_size: self.number(34, 5).and_then(NonZeroU32::new),
                topic_alias_maximum: self.number(35, 4).unwrap_or(0) as u16,
                request_response_information: self.v5(36, ()).is_some(),
                request_problem_information: self.v5(37, ()).is_none(),
                authentication_method: method,
                authentication_data: method.and_then(|_| self.blob(38, 2)),
                user_properties: self.user(),
            },
        }
    }

    fn connack(&self) -> ConnAck<'_> {
        let reason = if self.version.is_v5() {
            self.reason(PacketType::ConnAck)
        } else {
            ReasonCode::from_connect_return_code((self.material.mask % 6) as u8).expect("valid")
        };
        let method = self.text(40, 0);
        ConnAck {
            session_present: self.flag(39) && reason == ReasonCode::Success && self.version != Version::V31,
            reason,
            properties: ConnAckProperties {
                session_expiry: self.number(41, 0),
                receive_maximum: self.number(42, 1).and_then(|n| NonZeroU16::new(n as u16)),
                maximum_qos: self.v5(43, if self.flag(44) { QoS::AtMostOnce } else { QoS::AtLeastOnce }),
                retain_available: self.v5(45, ()).is_none(),
                maximum_packet_size: self.number(46, 2).and_then(NonZeroU32::new),
                assigned_client_id: self.text(47, 1),
                topic_alias_maximum: self.number(48, 3).unwrap_or(0) as u16,
                reason_string: self.text(49, 2),
                wildcard_subscription_available: self.v5(50, ()).is_none(),
                subscription_ids_available: self.v5(51, ()).is_none(),
                shared_subscription_available: self.v5(52, ()).is_none(),
                server_keep_alive: self.number(53, 4).map(|n| n as u16),
                response_information: self.text(54, 3),
                server_reference: self.text(55, 4),
                authentication_method: method,
                authentication_data: method.and_then(|_| self.blob(56, 0)),
                user_properties: self.user(),
            },
        }
    }

    fn publish(&self) -> Publish<'_> {
        let m = self.material;
        let qos = self.qos();
        let topic_alias = self.number(57, 0).and_then(|n| NonZeroU16::new(n as u16));
        Publish {
            dup: qos > QoS::AtMostOnce && self.flag(58),
            qos,
            retain: self.flag(59),
            topic: if topic_alias.is_some() && self.flag(60) { "" } else { &m.topics[0] },
            packet_id: (qos > QoS::AtMostOnce).then(|| self.id()),
            properties: PublishProperties {
                payload_format: self.v5(26, PayloadFormat::Bytes),
                message_expiry: self.number(27, 2),
                topic_alias,
                response_topic: self.v5(28, &m.topics[1]).map(String::as_str),
                correlation_data: self.blob(29, 1),
                content_type: self.text(30, 3),
                subscription_ids: if self.version.is_v5() { m.subscription_ids.as_slice() } else { &[] }
                    .into(),
                user_properties: self.user(),
            },
            payload: &m.blobs[0],
        }
    }

    fn ack(&self, packet: PacketType) -> Ack<'_> {
        Ack {
            packet_id: self.id(),
            reason: self.reason(packet),
            properties: AckProperties { reason_string: self.text(1, 5), user_properties: self.user() },
        }
    }

    fn flag(&self, bit: u32) -> bool {
        self.material.mask >> bit & 1 != 0
    }

    fn v5<T>(&self, bit: u32, value: T) -> Option<T> {
        (self.version.is_v5() && self.flag(bit)).then_some(value)
    }

    fn text(&self, bit: u32, index: usize) -> Option<&str> {
        self.v5(bit, &self.material.texts[index])
    }

    fn blob(&self, bit: u32, index: usize) -> Option<&[u8]> {
        self.v5(bit, &self.material.blobs[index])
    }

    fn number(&self, bit: u32, index: usize) -> Option<u32> {
        self.v5(bit, self.material.numbers[index])
    }

    fn user(&self) -> UserProperties<'_> {
        if self.version.is_v5() { UserProperties::new(&self.pairs) } else { UserProperties::default() }
    }

    fn id(&self) -> PacketId {
        PacketId::new(self.material.numbers[5] as u16).unwrap_or(PacketId::MIN)
    }

    fn qos(&self) -> QoS {
        QoS::new((self.material.mask % 3) as u8).expect("valid")
    }

    fn reason(&self, packet: PacketType) -> ReasonCode {
        let codes = codes_for(packet);
        if self.version.is_v5() {
            codes[usize::from(self.material.codes[0]) % codes.len()]
        } else {
            ReasonCode::Success
        }
    }
}
