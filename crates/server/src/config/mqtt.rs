//! `[mqtt]`: protocol features offered.

use std::time::Duration;

use super::choice::{MaxQos, MqttVersion, SharedStrategy};
use super::schema::section;
use super::setting::Limit;

section! {
    /// Features of MQTT offered to clients.
    Mqtt, "mqtt" {
        /// Versions accepted; a client with another one is refused with the code of its version.
        versions: Vec<MqttVersion> = vec![MqttVersion::V3_1, MqttVersion::V3_1_1, MqttVersion::V5_0] => NewConnections;
        /// Highest quality of service (Maximum QoS).
        max_qos: MaxQos = MaxQos::ExactlyOnce => NewConnections;
        /// Retained messages (Retain Available).
        retain: bool = true => NewConnections;
        /// Filters with `+` or `#` (Wildcard Subscription Available).
        wildcard_subscriptions: bool = true => NewConnections;
        /// `$share/group/filter` (Shared Subscription Available).
        shared_subscriptions: bool = true => NewConnections;
        /// Subscription Identifiers (Subscription Identifier Available).
        subscription_identifiers: bool = true => NewConnections;
        /// Which member of a shared subscription gets a message.
        shared_strategy: SharedStrategy = SharedStrategy::RoundRobin => Live;
        /// `$queue/filter` as an old spelling of a shared subscription with one common group.
        legacy_queue: bool = true => NewConnections;
        /// Accept clients without an identifier and assign one; MQTT 3 clients need a clean session too.
        allow_empty_client_id: bool = true => NewConnections;
        /// Beginning of assigned client identifiers.
        assigned_client_id_prefix: String = "auto-".to_owned() => NewConnections;
        /// Beginning of the topic told to MQTT 5 clients that ask for Response Information; the client
        /// identifier follows it. Unset: none is told.
        response_information: Option<String> = None => NewConnections;
        /// How long sessions of MQTT 3 clients without clean session outlive their connection.
        persistent_client_expiration: Limit<Duration> = Limit::Off => Live;
    }
}
