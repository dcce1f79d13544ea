//! rumqttc, the Rust client, in 3.1.1 and 5.0, over TCP, TLS and WebSocket.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, LastWill, LastWillProperties, Packet as Packet5, PublishProperties,
    RetainForwardRule, SubscribeProperties,
};
use rumqttc::{TlsConfiguration, Transport};
use tercet_interop::Broker;
use tercet_interop::broker::new_directory;
use tercet_interop::certificates::{Authority, Identity};
use tercet_interop::wire::PATIENCE;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const CONFIG: &str = r#"
[[listener]]
name = "tls"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
[[listener]]
name = "mtls"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
client-ca = "{dir}/ca.pem"
client-auth = "required"
use-identity-as-username = "cn"
[[listener]]
name = "ws"
protocol = "ws"
bind = "127.0.0.1:0"
[[listener]]
name = "wss"
protocol = "ws"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
"#;

/// A broker with its authority.
struct Setup {
    broker: Broker,
    authority: Authority,
}

impl Setup {
    fn new() -> Self {
        let directory = new_directory();
        let authority = Authority::new("test authority");
        authority.write_server(directory.path());
        assert!(fs::exists(directory.path().join("ca.pem")).unwrap());
        Self { broker: Broker::in_directory(directory, CONFIG), authority }
    }

    /// The address to give to rumqttc and its transport for a listener.
    fn transport(&self, listener: &str) -> (String, u16, Transport) {
        let port = self.broker.address(listener).port();
        let identity = (listener == "mtls").then(|| self.authority.client("alice", &[]));
        let host = if listener.starts_with("ws") {
            let scheme = if listener == "wss" { "wss" } else { "ws" };
            format!("{scheme}://localhost:{port}/mqtt")
        } else {
            "localhost".to_owned()
        };
        let transport = match listener {
            "tls" | "mtls" => Transport::tls_with_config(self.tls(identity)),
            "ws" => Transport::Ws,
            "wss" => Transport::wss_with_config(self.tls(None)),
            _ => Transport::tcp(),
        };
        (host, port, transport)
    }

    fn tls(&self, identity: Option<Identity>) -> TlsConfiguration {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        TlsConfiguration::Rustls(Arc::new(config))
    }
}

/// A 5.0 client with its event loop in a task; dropping it closes the socket without DISCONNECT.
struct New {
    client: rumqttc::v5::AsyncClient,
    events: UnboundedReceiver<rumqttc::v5::mqttbytes::v5::Packet>,
    task: JoinHandle<()>,
}

impl Drop for New {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl New {
    async fn connect(
        setup: &Setup,
        listener: &str,
        id: &str,
        with: impl FnOnce(&mut rumqttc::v5::MqttOptions),
    ) -> Self {
        let (host, port, transport) = setup.transport(listener);
        let mut options = rumqttc::v5::MqttOptions::new(id, host, port);
        options.set_transport(transport);
        options.set_keep_alive(Duration::from_secs(30));
        with(&mut options);
        let (client, mut connection) = rumqttc::v5::AsyncClient::new(options, 100);
        let (sender, events) = unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(event) = connection.poll().await {
                if let rumqttc::v5::Event::Incoming(packet) = event
                    && sender.send(packet).is_err()
                {
                    return;
                }
            }
        });
        let mut new = Self { client, events, task };
        new.wait("CONNACK", |packet| matches!(packet, Packet5::ConnAck(_)).then_some(())).await;
        new
    }

    /// The first event to come of which `pick` makes something; others are passed over.
    async fn wait<T>(&mut self, what: &str, pick: impl Fn(Packet5) -> Option<T>) -> T {
        loop {
            let event =
                timeout(PATIENCE, self.events.recv()).await.unwrap_or_else(|_| panic!("no {what} in time"));
            let event = event.unwrap_or_else(|| panic!("the connection ended before {what}"));
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }

    async fn message(&mut self) -> rumqttc::v5::mqttbytes::v5::Publish {
        self.wait("PUBLISH", |packet| match packet {
            Packet5::Publish(publish) => Some(publish),
            _ => None,
        })
        .await
    }

    async fn subscribe(&mut self, filter: Filter) {
        self.client.subscribe_many([filter]).await.unwrap();
        self.subscribed().await;
    }

    async fn subscribed(&mut self) {
        use rumqttc::v5::mqttbytes::v5::SubscribeReasonCode::Success;
        let codes = self
            .wait("SUBACK", |packet| match packet {
                Packet5::SubAck(ack) => Some(ack.return_codes),
                _ => None,
            })
            .await;
        assert!(codes.iter().all(|code| matches!(code, Success(_))), "{codes:?}");
    }
}

#[tokio::test]
async fn v5_every_quality_over_every_transport() {
    let setup = Setup::new();
    for listener in ["mqtt", "tls", "mtls", "ws", "wss"] {
        let mut subscriber = New::connect(&setup, listener, "s", |_| ()).await;
        let publisher = New::connect(&setup, listener, "p", |_| ()).await;
        subscriber.subscribe(Filter::new("t/#", QoS::ExactlyOnce)).await;
        for (n, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
            publisher.client.publish(format!("t/{n}"), qos, false, vec![7; 5000]).await.unwrap();
            let publish = subscriber.message().await;
            assert_eq!(
                (&publish.topic[..], publish.qos, publish.payload.len()),
                (format!("t/{n}").as_bytes(), qos, 5000)
            );
        }
        publisher.client.disconnect().await.unwrap();
        subscriber.client.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn v5_sessions_wills_properties_and_options() {
    let setup = Setup::new();
    let durable = |options: &mut rumqttc::v5::MqttOptions| {
        options.set_clean_start(false);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(60);
        properties.receive_maximum = Some(5);
        properties.topic_alias_max = Some(0);
        options.set_connect_properties(properties);
    };
    let mut subscriber = New::connect(&setup, "mqtt", "s", durable).await;
    let mut filter = Filter::new("t/+", QoS::AtLeastOnce);
    filter.preserve_retain = true;
    filter.retain_forward_rule = RetainForwardRule::Never;
    let properties = SubscribeProperties { id: Some(9), user_properties: vec![] };
    subscriber.client.subscribe_many_with_properties([filter], properties).await.unwrap();
    subscriber.subscribed().await;
    drop(subscriber);

    let will = LastWill {
        topic: "t/will".into(),
        message: "lost".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Some(LastWillProperties {
            delay_interval: Some(0),
            payload_format_indicator: None,
            message_expiry_interval: Some(100),
            content_type: Some("text/plain".into()),
            response_topic: None,
            correlation_data: None,
            user_properties: vec![("a".into(), "b".into())],
        }),
    };
    let mut publisher = New::connect(&setup, "mqtt", "p", |options| {
        options.set_last_will(will);
    })
    .await;
    let properties = PublishProperties {
        content_type: Some("text/plain".into()),
        response_topic: Some("answer".into()),
        correlation_data: Some(vec![0, 255].into()),
        message_expiry_interval: Some(100),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        ..PublishProperties::default()
    };
    publisher
        .client
        .publish_with_properties("t/x", QoS::AtLeastOnce, false, "queued", properties)
        .await
        .unwrap();
    publisher.wait("PUBACK", |packet| matches!(packet, Packet5::PubAck(_)).then_some(())).await;
    drop(publisher);

    let mut subscriber = New::connect(&setup, "mqtt", "s", durable).await;
    let queued = subscriber.message().await;
    let properties = queued.properties.expect("properties");
    assert_eq!(&queued.payload[..], b"queued");
    assert_eq!(properties.response_topic.as_deref(), Some("answer"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&[0, 255][..]));
    assert_eq!(properties.subscription_identifiers, [9]);
    assert_eq!(properties.user_properties.len(), 2);
    let will = subscriber.message().await;
    assert_eq!((&will.payload[..], will.retain), (&b"lost"[..], true), "as published");
    let properties = will.properties.expect("properties");
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn v5_shared_subscriptions_and_flow_control() {
    let setup = Setup::new();
    let mut members = Vec::new();
    for n in 0..2 {
        let mut member = New::connect(&setup, "mqtt", &format!("m{n}"), |options| {
            let mut properties = ConnectProperties::new();
            properties.receive_maximum = Some(3);
            options.set_connect_properties(properties);
        })
        .await;
        member.subscribe(Filter::new("$share/g/t", QoS::AtLeastOnce)).await;
        members.push(member);
    }
    let publisher = New::connect(&setup, "mqtt", "p", |_| ()).await;
    for n in 0..100 {
        publisher.client.publish("t", QoS::AtLeastOnce, false, format!("{n}")).await.unwrap();
    }
    // A member whose window is full is passed over, so the shares need not be equal.
    let (sender, mut seen) = unbounded_channel();
    for mut member in members {
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(packet) = member.events.recv().await {
                if let Packet5::Publish(publish) = packet {
                    let text = String::from_utf8(publish.payload.to_vec()).unwrap();
                    let _ = sender.send(text.parse::<u32>().unwrap());
                }
            }
        });
    }
    let mut numbers = Vec::new();
    for _ in 0..100 {
        numbers.push(timeout(PATIENCE, seen.recv()).await.expect("all arrive").unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

/// A 3.1.1 client with its event loop in a task.
struct Old {
    client: rumqttc::AsyncClient,
    events: UnboundedReceiver<rumqttc::Packet>,
    task: JoinHandle<()>,
}

impl Drop for Old {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Old {
    async fn connect(
        setup: &Setup,
        listener: &str,
        id: &str,
        with: impl FnOnce(&mut rumqttc::MqttOptions),
    ) -> Self {
        let (host, port, transport) = setup.transport(listener);
        let mut options = rumqttc::MqttOptions::new(id, host, port);
        options.set_transport(transport);
        options.set_max_packet_size(1 << 20, 1 << 20);
        with(&mut options);
        let (client, mut connection) = rumqttc::AsyncClient::new(options, 100);
        let (sender, events) = unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(event) = connection.poll().await {
                if let rumqttc::Event::Incoming(packet) = event
                    && sender.send(packet).is_err()
                {
                    return;
                }
            }
        });
        let mut old = Self { client, events, task };
        old.wait("CONNACK", |packet| matches!(packet, rumqttc::Packet::ConnAck(_)).then_some(())).await;
        old
    }

    async fn wait<T>(&mut self, what: &str, pick: impl Fn(rumqttc::Packet) -> Option<T>) -> T {
        loop {
            let event =
                timeout(PATIENCE, self.events.recv()).await.unwrap_or_else(|_| panic!("no {what} in time"));
            let event = event.unwrap_or_else(|| panic!("the connection ended before {what}"));
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }

    async fn message(&mut self) -> rumqttc::Publish {
        self.wait("PUBLISH", |packet| match packet {
            rumqttc::Packet::Publish(publish) => Some(publish),
            _ => None,
        })
        .await
    }

    async fn subscribe(&mut self, filter: &str, qos: rumqttc::QoS) {
        self.client.subscribe(filter, qos).await.unwrap();
        self.wait("SUBACK", |packet| matches!(packet, rumqttc::Packet::SubAck(_)).then_some(())).await;
    }
}

#[tokio::test]
async fn v311_every_quality_over_every_transport() {
    let setup = Setup::new();
    for listener in ["mqtt", "tls", "mtls", "ws", "wss"] {
        let mut subscriber = Old::connect(&setup, listener, "s", |_| ()).await;
        let publisher = Old::connect(&setup, listener, "p", |_| ()).await;
        subscriber.subscribe("t/#", rumqttc::QoS::ExactlyOnce).await;
        let qualities = [rumqttc::QoS::AtMostOnce, rumqttc::QoS::AtLeastOnce, rumqttc::QoS::ExactlyOnce];
        for (n, qos) in qualities.into_iter().enumerate() {
            publisher.client.publish(format!("t/{n}"), qos, false, vec![7; 5000]).await.unwrap();
            let publish = subscriber.message().await;
            assert_eq!((publish.topic, publish.qos, publish.payload.len()), (format!("t/{n}"), qos, 5000));
        }
        publisher.client.disconnect().await.unwrap();
        subscriber.client.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn v311_sessions_retained_and_wills() {
    let setup = Setup::new();
    let durable = |options: &mut rumqttc::MqttOptions| {
        options.set_clean_session(false);
    };
    let mut subscriber = Old::connect(&setup, "mqtt", "s", durable).await;
    subscriber.subscribe("t/+", rumqttc::QoS::AtLeastOnce).await;
    drop(subscriber);
    let mut publisher = Old::connect(&setup, "mqtt", "p", |options| {
        options.set_last_will(rumqttc::LastWill::new("t/will", "lost", rumqttc::QoS::AtLeastOnce, false));
    })
    .await;
    for n in 0..10 {
        publisher.client.publish("t/x", rumqttc::QoS::AtLeastOnce, n == 9, format!("{n}")).await.unwrap();
    }
    for _ in 0..10 {
        publisher.wait("PUBACK", |packet| matches!(packet, rumqttc::Packet::PubAck(_)).then_some(())).await;
    }
    drop(publisher);
    let mut subscriber = Old::connect(&setup, "mqtt", "s", durable).await;
    for n in 0..10 {
        assert_eq!(subscriber.message().await.payload, format!("{n}"));
    }
    assert_eq!(subscriber.message().await.payload, "lost");
    let mut late = Old::connect(&setup, "mqtt", "late", |_| ()).await;
    late.subscribe("t/#", rumqttc::QoS::AtMostOnce).await;
    let kept = late.message().await;
    assert_eq!((&kept.payload[..], kept.retain), (&b"9"[..], true));
}
