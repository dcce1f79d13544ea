//! Properties of each packet type except PUBLISH.

use core::num::{NonZeroU16, NonZeroU32};

use crate::error::ErrorKind;
use crate::property::section::property_set;
use crate::property::{PayloadFormat, SubscriptionId};
use crate::qos::QoS;

property_set! {
    /// Properties of a CONNECT (§3.1.2.11).
    ConnectProperties {
        /// Seconds the session outlives the connection; absent is 0, 0xFFFF_FFFF is for ever.
        session_expiry: Option<u32> = SessionExpiryInterval, None;
        /// How many QoS 1 and 2 messages the client takes unacknowledged; absent is 65,535.
        receive_maximum: Option<NonZeroU16> = ReceiveMaximum, None;
        /// Greatest packet the client takes, in bytes; absent is no limit but the protocol's.
        maximum_packet_size: Option<NonZeroU32> = MaximumPacketSize, None;
        /// Greatest topic alias the client takes; 0 is none.
        topic_alias_maximum: u16 = TopicAliasMaximum, 0;
        /// The client asks for Response Information in the CONNACK.
        request_response_information: bool = RequestResponseInformation, false;
        /// The server may add reason strings and user properties to any packet; otherwise only to PUBLISH, CONNACK and
        /// DISCONNECT. Default `true`.
        request_problem_information: bool = RequestProblemInformation, true;
        /// Method of enhanced authentication.
        authentication_method: Option<&'a str> = AuthenticationMethod, None;
        /// Data of enhanced authentication.
        authentication_data: Option<&'a [u8]> = AuthenticationData, None;
    }
    check |set| check_auth(set.authentication_method, set.authentication_data);
}

property_set! {
    /// Properties of a will (§3.1.3.2).
    WillProperties {
        /// Seconds between the end of the connection and the publication of the will; 0 is at once.
        will_delay: u32 = WillDelayInterval, 0;
        /// What the payload is.
        payload_format: Option<PayloadFormat> = PayloadFormatIndicator, None;
        /// Lifetime of the message in seconds, from its publication on.
        message_expiry: Option<u32> = MessageExpiryInterval, None;
        /// Where an answer is expected: a topic name.
        response_topic: Option<&'a str> = ResponseTopic, None;
        /// What an answer is to be marked with.
        correlation_data: Option<&'a [u8]> = CorrelationData, None;
        /// Describes the payload, by convention with a MIME type.
        content_type: Option<&'a str> = ContentType, None;
    }
}

impl<'a> WillProperties<'a> {
    /// The properties of the PUBLISH that the will becomes.
    pub fn to_publish(&self) -> crate::property::PublishProperties<'a> {
        crate::property::PublishProperties {
            payload_format: self.payload_format,
            message_expiry: self.message_expiry,
            response_topic: self.response_topic,
            correlation_data: self.correlation_data,
            content_type: self.content_type,
            user_properties: self.user_properties,
            ..Default::default()
        }
    }
}

property_set! {
    /// Properties of a CONNACK (§3.2.2.3).
    ConnAckProperties {
        /// The session expiry in seconds that holds instead of the one asked for.
        session_expiry: Option<u32> = SessionExpiryInterval, None;
        /// How many QoS 1 and 2 messages the server takes unacknowledged; absent is 65,535.
        receive_maximum: Option<NonZeroU16> = ReceiveMaximum, None;
        /// Greatest QoS the server takes: 0 or 1; absent is 2. `Some(ExactlyOnce)` is written as absent.
        maximum_qos: Option<QoS> = MaximumQos, None;
        /// The server keeps retained messages. Default `true`.
        retain_available: bool = RetainAvailable, true;
        /// Greatest packet the server takes, in bytes; absent is no limit but the protocol's.
        maximum_packet_size: Option<NonZeroU32> = MaximumPacketSize, None;
        /// The identifier the server gave to a client that had none.
        assigned_client_id: Option<&'a str> = AssignedClientIdentifier, None;
        /// Greatest topic alias the server takes; 0 is none.
        topic_alias_maximum: u16 = TopicAliasMaximum, 0;
        /// An explanation for people.
        reason_string: Option<&'a str> = ReasonString, None;
        /// The server has wildcard subscriptions. Default `true`.
        wildcard_subscription_available: bool = WildcardSubscriptionAvailable, true;
        /// The server has subscription identifiers. Default `true`.
        subscription_ids_available: bool = SubscriptionIdentifierAvailable, true;
        /// The server has shared subscriptions. Default `true`.
        shared_subscription_available: bool = SharedSubscriptionAvailable, true;
        /// The keep alive in seconds that holds instead of the one asked for.
        server_keep_alive: Option<u16> = ServerKeepAlive, None;
        /// A basis for response topics.
        response_information: Option<&'a str> = ResponseInformation, None;
        /// Another server to use.
        server_reference: Option<&'a str> = ServerReference, None;
        /// Method of enhanced authentication.
        authentication_method: Option<&'a str> = AuthenticationMethod, None;
        /// Data of enhanced authentication.
        authentication_data: Option<&'a [u8]> = AuthenticationData, None;
    }
    check |set| check_auth(set.authentication_method, set.authentication_data);
}

property_set! {
    /// Properties of PUBACK, PUBREC, PUBREL and PUBCOMP (§3.4.2.2).
    AckProperties {
        /// An explanation for people.
        reason_string: Option<&'a str> = ReasonString, None;
    }
}

property_set! {
    /// Properties of a SUBSCRIBE (§3.8.2.1).
    SubscribeProperties {
        /// What messages of these subscriptions are to be marked with.
        subscription_id: Option<SubscriptionId> = SubscriptionIdentifier, None;
    }
}

property_set! {
    /// Properties of a SUBACK (§3.9.2.1).
    SubAckProperties {
        /// An explanation for people.
        reason_string: Option<&'a str> = ReasonString, None;
    }
}

property_set! {
    /// Properties of an UNSUBSCRIBE (§3.10.2.1).
    UnsubscribeProperties {}
}

property_set! {
    /// Properties of an UNSUBACK (§3.11.2.1).
    UnsubAckProperties {
        /// An explanation for people.
        reason_string: Option<&'a str> = ReasonString, None;
    }
}

property_set! {
    /// Properties of a DISCONNECT (§3.14.2.2).
    DisconnectProperties {
        /// Seconds the session outlives the connection, instead of what CONNECT said. Only a client sends it.
        session_expiry: Option<u32> = SessionExpiryInterval, None;
        /// An explanation for people.
        reason_string: Option<&'a str> = ReasonString, None;
        /// Another server to use. Only a server sends it.
        server_reference: Option<&'a str> = ServerReference, None;
    }
}

property_set! {
    /// Properties of an AUTH (§3.15.2.2).
    AuthProperties {
        /// Method of enhanced authentication; mandatory unless the packet is empty.
        authentication_method: Option<&'a str> = AuthenticationMethod, None;
        /// Data of enhanced authentication.
        authentication_data: Option<&'a [u8]> = AuthenticationData, None;
        /// An explanation for people.
        reason_string: Option<&'a str> = ReasonString, None;
    }
    check |set| if set.authentication_method.is_some() { Ok(()) } else { Err(ErrorKind::NoAuthMethod) };
}

/// Data without a method is a Protocol Error (§3.1.2.11.10).
fn check_auth(method: Option<&str>, data: Option<&[u8]>) -> Result<(), ErrorKind> {
    if data.is_some() && method.is_none() { Err(ErrorKind::AuthDataWithoutMethod) } else { Ok(()) }
}
