//! What the configuration says, compiled per listener for the connections that come by it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire},
};
use std::time::Duration;

use tercet_mqtt::{Limits, QoS, Version};
use tercet_net::Transport;

use crate::amqp::settings::AmqpSettings;
use crate::auth::AnonymousPolicy;
use crate::config::{
    CertificateUser, Config, Listener, MaxQos, MqttVersion, Protocol, ReceiveMaximumPolicy, SlowSubscriber,
};
use crate::http::settings::HttpSettings;
use crate::reactor::face::FaceKind;

/// Greatest CONNECT accepted, whatever the limit for other packets: memory spent on strangers.
const CONNECT_SIZE: u32 = 320 * 1024;

/// Settings of a listener; those of a connection stay what they were when it was opened.
pub struct ListenerSettings {
    /// Name in logs and metrics.
    pub name: String,
    /// Time a client has for its complete CONNECT.
    pub connect_timeout: Duration,
    /// Limits of the decoder once a client is connected.
    pub limits: Limits,
    /// Limits of the decoder for CONNECT.
    pub connect_limits: Limits,
    /// Versions accepted.
    pub versions: Vec<Version>,
    /// Who may connect without credentials.
    pub anonymous: AnonymousPolicy,
    /// Part of a client certificate that becomes the username.
    pub certificate_user: CertificateUser,
    /// QoS 1 and 2 publishes a client may have unacknowledged.
    pub receive_maximum: u16,
    /// Disconnect MQTT 5 clients that go beyond it.
    pub enforce_receive_maximum: bool,
    /// Topic aliases a client may use.
    pub topic_alias_maximum: u16,
    /// Topic aliases we use towards a client that allows more.
    pub outbound_aliases: u16,
    /// Longest keep alive granted, in seconds.
    pub max_keep_alive: Option<u16>,
    /// Deliveries unacknowledged by a client that names no Receive Maximum.
    pub max_inflight: u16,
    /// Bytes waiting for a client above which QoS 0 is dropped.
    pub outbox: usize,
    /// Disconnect a client whose output is full.
    pub disconnect_slow: bool,
    /// Longest session expiry granted, in seconds.
    pub max_session_expiry: Option<u32>,
    /// Session expiry of MQTT 3 clients without clean session, in seconds.
    pub persistent_expiry: u32,
    /// Greatest length of a username.
    pub max_username: usize,
    /// Messages per second a client may publish.
    pub message_rate: Option<u32>,
    /// Bytes per second a client may send.
    pub byte_rate: Option<u64>,
    /// Features offered.
    pub features: Features,
    /// Another server to send every client to.
    pub redirect: Option<(String, bool)>,
    /// Layers that connections of this listener wear.
    pub layers: Layers,
    /// What its connections speak, those of HTTP aside.
    pub face: FaceKind,
    /// Greatest message of CoAP over a stream, in bytes: one whole body and its options.
    pub max_coap_message: usize,
    /// What AMQP clients are told and granted.
    pub amqp: AmqpSettings,
    /// What a listener that speaks HTTP serves; `None` on others.
    pub http: Option<HttpSettings>,
    max_connections: usize,
    open: Arc<AtomicUsize>,
}

/// Features of MQTT offered to clients.
#[derive(Clone, Debug)]
pub struct Features {
    /// Highest QoS.
    pub max_qos: QoS,
    /// Retained messages.
    pub retain: bool,
    /// Filters with wildcards.
    pub wildcards: bool,
    /// Shared subscriptions.
    pub shared: bool,
    /// Subscription identifiers.
    pub subscription_ids: bool,
    /// `$queue/` as a shared subscription.
    pub legacy_queue: bool,
    /// Clients without an identifier.
    pub empty_client_id: bool,
    /// Beginning of assigned identifiers.
    pub client_id_prefix: String,
    /// Beginning of the response information.
    pub response_information: Option<String>,
    /// SCRAM-SHA-256.
    pub scram: bool,
}

/// What lies between a socket and the MQTT bytes.
#[derive(Default)]
pub struct Layers {
    /// TLS.
    pub tls: Option<Arc<tercet_net::tls::ReloadableServerConfig>>,
    /// PROXY protocol.
    pub proxy: Option<tercet_net::proxy_protocol::TrustedProxies>,
    /// DTLS, on listeners of datagrams.
    pub dtls: Option<Arc<tercet_net::dtls::ReloadableDtlsServerConfig>>,
}

impl ListenerSettings {
    /// Compiles the settings of one listener. `open` counts its connections across reloads.
    pub fn new(config: &Config, listener: &Listener, layers: Layers, open: Arc<AtomicUsize>) -> Self {
        let limits = &config.limits;
        let max_packet_size = u32::try_from(config.max_packet_size(listener).as_usize()).unwrap_or(u32::MAX);
        let decoder = Limits {
            max_packet_size,
            strict_utf8: listener.strict_utf8,
            max_topic_levels: limits.max_topic_levels.get(),
            max_topic_length: limits.max_topic_length.get(),
            max_user_properties: limits.max_user_properties,
            max_client_id: limits.max_client_id_length.get(),
            ..Limits::default()
        };
        Self {
            name: listener.name.clone(),
            connect_timeout: listener.connect_timeout,
            limits: decoder,
            connect_limits: Limits { max_packet_size: max_packet_size.min(CONNECT_SIZE), ..decoder },
            versions: config.mqtt.versions.iter().map(|version| wire_version(*version)).collect(),
            anonymous: config.anonymous(listener).into(),
            certificate_user: listener
                .tls
                .as_ref()
                .map_or(CertificateUser::Off, |tls| tls.use_identity_as_username),
            receive_maximum: listener.receive_maximum.get(),
            enforce_receive_maximum: listener.receive_maximum_policy == ReceiveMaximumPolicy::Enforce,
            topic_alias_maximum: listener.topic_alias_maximum,
            outbound_aliases: listener.topic_alias_maximum,
            max_keep_alive: listener
                .max_keep_alive
                .get()
                .map(|time| u16::try_from(time.as_secs()).unwrap_or(u16::MAX)),
            max_inflight: limits.max_inflight.get(),
            outbox: limits.outbox.as_usize(),
            disconnect_slow: limits.slow_subscriber == SlowSubscriber::Disconnect,
            max_session_expiry: limits.max_session_expiry.get().map(seconds),
            persistent_expiry: config.mqtt.persistent_client_expiration.get().map_or(u32::MAX, seconds),
            max_username: usize::from(limits.max_username_length.get()),
            message_rate: limits.message_rate.get().map(|rate| rate.get()),
            byte_rate: limits.byte_rate.get().map(|rate| rate.as_usize() as u64),
            features: Features::new(config),
            redirect: listener.redirect.as_ref().map(|to| (to.reference.clone(), to.permanent)),
            layers,
            face: match listener.protocol {
                Protocol::Amqp => FaceKind::Amqp,
                Protocol::CoapTcp => FaceKind::Coap,
                Protocol::Mqtt | Protocol::Coap | Protocol::Http | Protocol::Ws => FaceKind::Mqtt,
            },
            max_coap_message: config.coap.max_body.as_usize() + 1024,
            amqp: AmqpSettings::new(&config.amqp),
            http: HttpSettings::of(config, listener),
            max_connections: listener.max_connections.get().map_or(usize::MAX, |most| most.get() as usize),
            open,
        }
    }

    /// Counts a new connection in, unless the listener has as many as it may.
    pub fn admit(&self) -> bool {
        if self.open.fetch_add(1, AcqRel) < self.max_connections {
            return true;
        }
        self.open.fetch_sub(1, AcqRel);
        false
    }

    /// Counts a connection out.
    pub fn release(&self) {
        self.open.fetch_sub(1, AcqRel);
    }

    /// Connections open by this listener.
    pub fn open(&self) -> usize {
        self.open.load(Acquire)
    }

    /// Puts the listener's layers on a fresh connection.
    pub fn wrap(&self, transport: Transport) -> io::Result<Transport> {
        let mut transport = transport;
        if let Some(trusted) = &self.layers.proxy {
            transport = transport.expect_proxy(trusted).map_err(io::Error::other)?;
        }
        if let Some(tls) = &self.layers.tls {
            transport = transport.with_tls(tls.current()).map_err(io::Error::other)?;
        }
        Ok(transport)
    }
}

impl Features {
    fn new(config: &Config) -> Self {
        let mqtt = &config.mqtt;
        Self {
            max_qos: match mqtt.max_qos {
                MaxQos::AtMostOnce => QoS::AtMostOnce,
                MaxQos::AtLeastOnce => QoS::AtLeastOnce,
                MaxQos::ExactlyOnce => QoS::ExactlyOnce,
            },
            retain: mqtt.retain,
            wildcards: mqtt.wildcard_subscriptions,
            shared: mqtt.shared_subscriptions,
            subscription_ids: mqtt.subscription_identifiers,
            legacy_queue: mqtt.legacy_queue,
            empty_client_id: mqtt.allow_empty_client_id,
            client_id_prefix: mqtt.assigned_client_id_prefix.clone(),
            response_information: mqtt.response_information.clone(),
            scram: config.auth.scram,
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn wire_version(version: MqttVersion) -> Version {
    match version {
        MqttVersion::V3_1 => Version::V31,
        MqttVersion::V3_1_1 => Version::V311,
        MqttVersion::V5_0 => Version::V5,
    }
}
