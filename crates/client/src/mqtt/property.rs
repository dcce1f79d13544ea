//! The properties of MQTT 5 packets, owned and in the order of the wire.

use bytes::Bytes;

/// One property. Names and units are those of the specification (MQTT 5 §2.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// 0x01: 1 if the payload is UTF-8 text, 0 if it is bytes.
    PayloadFormatIndicator(u8),
    /// 0x02: seconds until the message is worthless.
    MessageExpiryInterval(u32),
    /// 0x03: what the payload is, usually a MIME type.
    ContentType(String),
    /// 0x08: where an answer is expected.
    ResponseTopic(String),
    /// 0x09: what the answer shall carry, at most 65,535 bytes.
    CorrelationData(Bytes),
    /// 0x0B: identifies subscriptions, 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// 0x11: seconds the session lives after the connection; `u32::MAX` for ever.
    SessionExpiryInterval(u32),
    /// 0x12: the client id that the server chose.
    AssignedClientIdentifier(String),
    /// 0x13: the keep alive in seconds that the server demands.
    ServerKeepAlive(u16),
    /// 0x15: name of the enhanced authentication method.
    AuthenticationMethod(String),
    /// 0x16: what the method exchanges.
    AuthenticationData(Bytes),
    /// 0x17: 0 asks the server for no Reason Strings and User Properties in its answers.
    RequestProblemInformation(u8),
    /// 0x18: seconds that the will waits after the connection ended.
    WillDelayInterval(u32),
    /// 0x19: 1 asks the server for Response Information.
    RequestResponseInformation(u8),
    /// 0x1A: a basis for response topics.
    ResponseInformation(String),
    /// 0x1C: another server to use.
    ServerReference(String),
    /// 0x1F: an explanation for people.
    ReasonString(String),
    /// 0x21: how many unacknowledged QoS 1 and 2 messages the sender of it takes, at least 1.
    ReceiveMaximum(u16),
    /// 0x22: highest topic alias that the sender of it takes.
    TopicAliasMaximum(u16),
    /// 0x23: a number instead of the topic.
    TopicAlias(u16),
    /// 0x24: highest QoS of the server (0 or 1).
    MaximumQos(u8),
    /// 0x25: 0 if the server keeps no retained messages.
    RetainAvailable(u8),
    /// 0x26: a name and a value of the application's own.
    UserProperty(String, String),
    /// 0x27: largest packet in bytes that the sender of it takes.
    MaximumPacketSize(u32),
    /// 0x28: 0 if the server takes no wildcards.
    WildcardSubscriptionAvailable(u8),
    /// 0x29: 0 if the server takes no subscription identifiers.
    SubscriptionIdentifierAvailable(u8),
    /// 0x2A: 0 if the server has no shared subscriptions.
    SharedSubscriptionAvailable(u8),
}

impl Property {
    /// The identifier on the wire.
    pub fn id(&self) -> u8 {
        match self {
            Self::PayloadFormatIndicator(_) => 0x01,
            Self::MessageExpiryInterval(_) => 0x02,
            Self::ContentType(_) => 0x03,
            Self::ResponseTopic(_) => 0x08,
            Self::CorrelationData(_) => 0x09,
            Self::SubscriptionIdentifier(_) => 0x0B,
            Self::SessionExpiryInterval(_) => 0x11,
            Self::AssignedClientIdentifier(_) => 0x12,
            Self::ServerKeepAlive(_) => 0x13,
            Self::AuthenticationMethod(_) => 0x15,
            Self::AuthenticationData(_) => 0x16,
            Self::RequestProblemInformation(_) => 0x17,
            Self::WillDelayInterval(_) => 0x18,
            Self::RequestResponseInformation(_) => 0x19,
            Self::ResponseInformation(_) => 0x1A,
            Self::ServerReference(_) => 0x1C,
            Self::ReasonString(_) => 0x1F,
            Self::ReceiveMaximum(_) => 0x21,
            Self::TopicAliasMaximum(_) => 0x22,
            Self::TopicAlias(_) => 0x23,
            Self::MaximumQos(_) => 0x24,
            Self::RetainAvailable(_) => 0x25,
            Self::UserProperty(..) => 0x26,
            Self::MaximumPacketSize(_) => 0x27,
            Self::WildcardSubscriptionAvailable(_) => 0x28,
            Self::SubscriptionIdentifierAvailable(_) => 0x29,
            Self::SharedSubscriptionAvailable(_) => 0x2A,
        }
    }

    /// Whether a packet may carry several of this kind.
    fn repeats(&self) -> bool {
        matches!(self, Self::UserProperty(..) | Self::SubscriptionIdentifier(_))
    }
}

/// The properties of one packet, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<Property>);

impl Properties {
    /// No properties.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a property; one that may stand only once replaces an earlier one of its kind.
    pub fn set(&mut self, property: Property) {
        let earlier = (!property.repeats())
            .then(|| self.0.iter_mut().find(|existing| existing.id() == property.id()))
            .flatten();
        match earlier {
            Some(existing) => *existing = property,
            None => self.0.push(property),
        }
    }

    /// As [`set`](Self::set), for chains.
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.set(property);
        self
    }

    /// Adds a property as it stands on the wire.
    pub(super) fn push(&mut self, property: Property) {
        self.0.push(property);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of this kind (identifier on the wire) is here.
    pub fn contains(&self, id: u8) -> bool {
        self.0.iter().any(|property| property.id() == id)
    }

    /// All properties in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.0.iter()
    }

    /// The user properties in order.
    pub fn user(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// The subscription identifiers in order.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> {
        self.0.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(*id),
            _ => None,
        })
    }
}

/// Getters for single-valued properties: `name -> type = Variant, by how the value is handed out`.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $variant:ident, $value:ident => $out:expr;)*) => {
        impl Properties {
            $($(#[$doc])* pub fn $name(&self) -> Option<$kind> {
                self.0.iter().find_map(|property| match property {
                    Property::$variant($value) => Some($out),
                    _ => None,
                })
            })*
        }
    };
}

getters! {
    /// Payload Format Indicator.
    payload_format_indicator: u8 = PayloadFormatIndicator, value => *value;
    /// Message Expiry Interval in seconds.
    message_expiry_interval: u32 = MessageExpiryInterval, value => *value;
    /// Content Type.
    content_type: &str = ContentType, value => value.as_str();
    /// Response Topic.
    response_topic: &str = ResponseTopic, value => value.as_str();
    /// Correlation Data.
    correlation_data: &Bytes = CorrelationData, value => value;
    /// Session Expiry Interval in seconds.
    session_expiry_interval: u32 = SessionExpiryInterval, value => *value;
    /// Assigned Client Identifier.
    assigned_client_identifier: &str = AssignedClientIdentifier, value => value.as_str();
    /// Server Keep Alive in seconds.
    server_keep_alive: u16 = ServerKeepAlive, value => *value;
    /// Authentication Method.
    authentication_method: &str = AuthenticationMethod, value => value.as_str();
    /// Authentication Data.
    authentication_data: &Bytes = AuthenticationData, value => value;
    /// Response Information.
    response_information: &str = ResponseInformation, value => value.as_str();
    /// Server Reference.
    server_reference: &str = ServerReference, value => value.as_str();
    /// Reason String.
    reason_string: &str = ReasonString, value => value.as_str();
    /// Receive Maximum.
    receive_maximum: u16 = ReceiveMaximum, value => *value;
    /// Topic Alias Maximum.
    topic_alias_maximum: u16 = TopicAliasMaximum, value => *value;
    /// Topic Alias.
    topic_alias: u16 = TopicAlias, value => *value;
    /// Maximum QoS.
    maximum_qos: u8 = MaximumQos, value => *value;
    /// Retain Available.
    retain_available: u8 = RetainAvailable, value => *value;
    /// Maximum Packet Size in bytes.
    maximum_packet_size: u32 = MaximumPacketSize, value => *value;
    /// Wildcard Subscription Available.
    wildcard_subscription_available: u8 = WildcardSubscriptionAvailable, value => *value;
    /// Subscription Identifier Available.
    subscription_identifier_available: u8 = SubscriptionIdentifierAvailable, value => *value;
    /// Shared Subscription Available.
    shared_subscription_available: u8 = SharedSubscriptionAvailable, value => *value;
}

impl<'a> IntoIterator for &'a Properties {
    type Item = &'a Property;
    type IntoIter = std::slice::Iter<'a, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Property> for Properties {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Self {
        let mut all = Self::new();
        properties.into_iter().for_each(|property| all.set(property));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_properties_replace_and_others_repeat() {
        let properties = Properties::new()
            .with(Property::ContentType("a".into()))
            .with(Property::UserProperty("k".into(), "1".into()))
            .with(Property::ContentType("b".into()))
            .with(Property::UserProperty("k".into(), "2".into()));
        assert_eq!(properties.content_type(), Some("b"));
        assert_eq!(properties.user().collect::<Vec<_>>(), [("k", "1"), ("k", "2")]);
        assert_eq!(properties.iter().count(), 3);
        assert_eq!(properties.topic_alias(), None);
    }
}
