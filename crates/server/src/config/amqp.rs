//! `[amqp]`: what the AMQP face tells its clients and grants them.

use std::num::NonZeroU16;
use std::time::Duration;

use super::choice::TopicForm;
use super::quantity::Size;
use super::schema::section;

const fn nz16(n: u16) -> NonZeroU16 {
    match NonZeroU16::new(n) {
        Some(n) => n,
        None => NonZeroU16::MIN,
    }
}

section! {
    /// AMQP 0-9-1: what clients are told and granted.
    Amqp, "amqp" {
        /// Product name told to clients. Some libraries behave differently towards "RabbitMQ".
        product: String = "Tercet".to_owned() => NewConnections;
        /// Version told to clients. Unset: the version of the broker.
        version: Option<String> = None => NewConnections;
        /// Greatest number of a channel.
        channel_max: NonZeroU16 = nz16(2047) => NewConnections;
        /// Largest frame accepted and sent.
        frame_max: Size = Size::from_kib(128) => NewConnections, in Size::from_kib(8)..=Size::from_mib(16);
        /// Interval of heartbeats proposed to clients, in whole seconds; the client decides.
        heartbeat: Duration = Duration::from_secs(60) => NewConnections,
            in Duration::ZERO..=Duration::from_secs(65_535);
        /// Largest message accepted; a larger one closes its channel.
        max_message_size: Size = Size::from_mib(16) => NewConnections,
            in Size::from_bytes(1)..=Size::from_mib(512);
        /// How topics of MQTT become routing keys of the exchange "amq.topic", and back. "exact": "/" is ".", and of other
        /// signs that mean something in AMQP each has an escape, so that the topic "v1.0" is the key "v1%2E0" and comes back from
        /// it. "rabbitmq": "/" and "." change places, nothing is escaped.
        topic_mapping: TopicForm = TopicForm::Exact => Restart;
        /// Path of AMQP over WebSocket on "http" and "ws" listeners.
        websocket_path: String = "/amqp".to_owned() => NewConnections;
    }
}
