//! Between this library's owned values and the packets of the codec, which borrow.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use tercet_mqtt::property::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UnsubscribeProperties, WillProperties,
};
use tercet_mqtt::{
    Auth, Connect, Disconnect, Filters, Limits, Packet, PacketId, PayloadFormat, Publish, RetainHandling,
    Subscribe, SubscribeOptions, Subscription, SubscriptionId, Subscriptions, Unsubscribe, encode,
};

use super::command::Outgoing;
use super::message::Message;
use super::options::Options;
use super::property::{Properties, Property};
use super::subscribe::{Filter, Retained};
use super::{ReasonCode, TopicFilter, Version};
use crate::{Error, Result};

/// Pairs borrowed from the user properties.
fn pairs(properties: &Properties) -> Vec<(&str, &str)> {
    properties.user().collect()
}

/// Fails on a property that packets of this kind cannot carry, rather than losing it silently.
fn check(properties: &Properties, packet: &str, allowed: &[u8]) -> Result<()> {
    match properties.iter().find(|property| property.id() != 0x26 && !allowed.contains(&property.id())) {
        Some(property) => Err(Error::Invalid(format!("{property:?} is not allowed in {packet}"))),
        None => Ok(()),
    }
}

fn put(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    encode(packet, version, out).map_err(|error| {
        out.truncate(start);
        Error::Invalid(error.to_string())
    })?;
    Ok(())
}

fn payload_format(properties: &Properties) -> Option<PayloadFormat> {
    properties
        .payload_format_indicator()
        .map(|n| if n == 0 { PayloadFormat::Bytes } else { PayloadFormat::Utf8 })
}

/// Writes CONNECT. `data` is the first authentication data of the authenticator.
pub(super) fn connect(
    options: &Options,
    client_id: &str,
    clean_start: bool,
    auth: Option<(&str, Option<&[u8]>)>,
    out: &mut Vec<u8>,
) -> Result<()> {
    const ALLOWED: &[u8] = &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x27];
    const WILL: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18];
    let (properties, version) = (&options.properties, options.version);
    check(properties, "CONNECT", ALLOWED)?;
    let flag = |id: u8, default: bool| {
        properties.iter().find(|property| property.id() == id).map_or(default, |property| {
            matches!(
                property,
                Property::RequestProblemInformation(1) | Property::RequestResponseInformation(1)
            )
        })
    };
    let user = pairs(properties);
    let none = Properties::new();
    let will_properties = options.will.as_ref().map_or(&none, |will| &will.properties);
    check(will_properties, "a will", WILL)?;
    let will_user = pairs(will_properties);
    let delay = will_properties.iter().find_map(|property| match property {
        Property::WillDelayInterval(seconds) => Some(*seconds),
        _ => None,
    });
    let will = options.will.as_ref().map(|will| tercet_mqtt::Will {
        topic: &will.topic,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        properties: WillProperties {
            will_delay: delay.unwrap_or(0),
            payload_format: payload_format(will_properties),
            message_expiry: will_properties.message_expiry_interval(),
            response_topic: will_properties.response_topic(),
            correlation_data: will_properties.correlation_data().map(|data| &data[..]),
            content_type: will_properties.content_type(),
            user_properties: will_user.as_slice().into(),
        },
    });
    let (method, data) = match auth {
        Some((method, data)) => (Some(method), data),
        None => (properties.authentication_method(), properties.authentication_data().map(|data| &data[..])),
    };
    let packet = Connect {
        version,
        clean_start,
        keep_alive: options.keep_alive,
        client_id,
        will,
        username: options.username.as_deref(),
        password: options.password.as_deref(),
        properties: ConnectProperties {
            session_expiry: properties.session_expiry_interval(),
            receive_maximum: properties.receive_maximum().and_then(NonZeroU16::new),
            maximum_packet_size: properties.maximum_packet_size().and_then(NonZeroU32::new),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            request_response_information: flag(0x19, false),
            request_problem_information: flag(0x17, true),
            authentication_method: method,
            authentication_data: data,
            user_properties: user.as_slice().into(),
        },
    };
    put(&Packet::Connect(packet), version, out)
}

/// Writes AUTH.
pub(super) fn auth(method: &str, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let properties = AuthProperties {
        authentication_method: Some(method),
        authentication_data: Some(data),
        ..AuthProperties::default()
    };
    put(&Packet::Auth(Auth { reason: ReasonCode::ContinueAuthentication, properties }), Version::V5, out)
}

/// How a PUBLISH goes out this time.
#[derive(Clone, Copy)]
pub(super) struct Sending {
    pub(super) id: Option<PacketId>,
    pub(super) dup: bool,
    pub(super) alias: Option<NonZeroU16>,
    /// The alias is known, so the topic can be left out.
    pub(super) topic_known: bool,
}

/// Writes PUBLISH.
pub(super) fn publish(
    message: &Outgoing,
    sending: Sending,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<()> {
    const ALLOWED: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23];
    let properties = &message.properties;
    let user = pairs(properties);
    let properties = if version.is_v5() && !properties.is_empty() {
        check(properties, "PUBLISH", ALLOWED)?;
        PublishProperties {
            payload_format: payload_format(properties),
            message_expiry: properties.message_expiry_interval(),
            topic_alias: properties.topic_alias().and_then(NonZeroU16::new).or(sending.alias),
            response_topic: properties.response_topic(),
            correlation_data: properties.correlation_data().map(|data| &data[..]),
            content_type: properties.content_type(),
            user_properties: user.as_slice().into(),
            ..PublishProperties::default()
        }
    } else {
        PublishProperties { topic_alias: sending.alias, ..PublishProperties::default() }
    };
    let packet = Publish {
        dup: sending.dup,
        qos: message.qos,
        retain: message.retain,
        topic: if sending.topic_known { "" } else { &message.topic },
        packet_id: sending.id,
        properties,
        payload: &message.payload,
    };
    put(&Packet::Publish(packet), version, out)
}

/// Writes SUBSCRIBE.
pub(super) fn subscribe(
    packet_id: PacketId,
    filters: &[Filter],
    properties: &Properties,
    subscription_id: Option<u32>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<()> {
    check(properties, "SUBSCRIBE", &[0x0B])?;
    let user = pairs(properties);
    let subscriptions = filters
        .iter()
        .map(|filter| {
            let parsed = TopicFilter::parse(&filter.filter, &Limits::protocol())
                .map_err(|error| Error::Invalid(format!("topic filter \"{}\": {error}", filter.filter)))?;
            let options = SubscribeOptions {
                qos: filter.qos,
                no_local: filter.no_local,
                retain_as_published: filter.retain_as_published,
                retain_handling: match filter.retained {
                    Retained::Send => RetainHandling::Send,
                    Retained::SendIfNew => RetainHandling::SendIfNew,
                    Retained::Skip => RetainHandling::DoNotSend,
                },
            };
            Ok(Subscription { filter: parsed, options })
        })
        .collect::<Result<Vec<_>>>()?;
    let properties = SubscribeProperties {
        subscription_id: subscription_id.and_then(SubscriptionId::new),
        user_properties: user.as_slice().into(),
    };
    let subscriptions = Subscriptions::new(&subscriptions);
    put(&Packet::Subscribe(Subscribe { packet_id, properties, subscriptions }), version, out)
}

/// Writes UNSUBSCRIBE.
pub(super) fn unsubscribe(
    packet_id: PacketId,
    filters: &[String],
    properties: &Properties,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<()> {
    check(properties, "UNSUBSCRIBE", &[])?;
    let user = pairs(properties);
    let parsed = filters
        .iter()
        .map(|filter| {
            TopicFilter::parse(filter, &Limits::protocol())
                .map_err(|error| Error::Invalid(format!("topic filter \"{filter}\": {error}")))
        })
        .collect::<Result<Vec<_>>>()?;
    let properties = UnsubscribeProperties { user_properties: user.as_slice().into() };
    let filters = Filters::new(&parsed);
    put(&Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters }), version, out)
}

/// Writes DISCONNECT. Before MQTT 5 it carries nothing.
pub(super) fn disconnect(
    reason: ReasonCode,
    properties: &Properties,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<()> {
    check(properties, "DISCONNECT", &[0x11, 0x1F])?;
    let user = pairs(properties);
    let properties = DisconnectProperties {
        session_expiry: properties.session_expiry_interval(),
        reason_string: properties.reason_string(),
        user_properties: user.as_slice().into(),
        ..DisconnectProperties::default()
    };
    put(&Packet::Disconnect(Disconnect { reason, properties }), version, out)
}

/// A received message, copied out of the read buffer: a small payload must not keep the whole buffer alive.
pub(super) fn message(packet: &Publish<'_>, topic: Arc<str>) -> Message {
    let mut properties = Properties::new();
    let wire = &packet.properties;
    if !wire.is_empty() {
        let mut add = |property: Option<Property>| property.into_iter().for_each(|it| properties.push(it));
        add(wire.payload_format.map(|format| Property::PayloadFormatIndicator(format as u8)));
        add(wire.content_type.map(|text| Property::ContentType(text.into())));
        add(wire.response_topic.map(|text| Property::ResponseTopic(text.into())));
        add(wire.correlation_data.map(|data| Property::CorrelationData(Bytes::copy_from_slice(data))));
        wire.user_properties.iter().for_each(|(k, v)| add(Some(Property::UserProperty(k.into(), v.into()))));
        wire.subscription_ids.iter().for_each(|id| add(Some(Property::SubscriptionIdentifier(id))));
        add(wire.topic_alias.map(|alias| Property::TopicAlias(alias.get())));
        add(wire.message_expiry.map(Property::MessageExpiryInterval));
    }
    Message {
        topic,
        payload: Bytes::copy_from_slice(packet.payload),
        qos: packet.qos,
        retain: packet.retain,
        dup: packet.dup,
        packet_id: packet.packet_id.map(PacketId::get),
        properties,
    }
}

/// The properties of CONNACK.
pub(super) fn connack(wire: &ConnAckProperties<'_>) -> Properties {
    let mut properties = Properties::new();
    let mut add = |property: Option<Property>| property.into_iter().for_each(|it| properties.push(it));
    add(wire.session_expiry.map(Property::SessionExpiryInterval));
    add(wire.receive_maximum.map(|n| Property::ReceiveMaximum(n.get())));
    add(wire.maximum_qos.map(|qos| Property::MaximumQos(qos as u8)));
    add((!wire.retain_available).then_some(Property::RetainAvailable(0)));
    add(wire.maximum_packet_size.map(|n| Property::MaximumPacketSize(n.get())));
    add(wire.assigned_client_id.map(|text| Property::AssignedClientIdentifier(text.into())));
    add((wire.topic_alias_maximum > 0).then_some(Property::TopicAliasMaximum(wire.topic_alias_maximum)));
    add(wire.reason_string.map(|text| Property::ReasonString(text.into())));
    add((!wire.wildcard_subscription_available).then_some(Property::WildcardSubscriptionAvailable(0)));
    add((!wire.subscription_ids_available).then_some(Property::SubscriptionIdentifierAvailable(0)));
    add((!wire.shared_subscription_available).then_some(Property::SharedSubscriptionAvailable(0)));
    add(wire.server_keep_alive.map(Property::ServerKeepAlive));
    add(wire.response_information.map(|text| Property::ResponseInformation(text.into())));
    add(wire.server_reference.map(|text| Property::ServerReference(text.into())));
    add(wire.authentication_method.map(|text| Property::AuthenticationMethod(text.into())));
    add(wire.authentication_data.map(|data| Property::AuthenticationData(Bytes::copy_from_slice(data))));
    wire.user_properties.iter().for_each(|(k, v)| add(Some(Property::UserProperty(k.into(), v.into()))));
    properties
}

/// The properties of an acknowledgement.
pub(super) fn ack(wire: &AckProperties<'_>) -> Properties {
    let mut properties = Properties::new();
    if let Some(text) = wire.reason_string {
        properties.push(Property::ReasonString(text.into()));
    }
    wire.user_properties
        .iter()
        .for_each(|(k, v)| properties.push(Property::UserProperty(k.into(), v.into())));
    properties
}
