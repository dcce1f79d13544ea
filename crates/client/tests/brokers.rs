//! The client against real brokers, Mosquitto and Tercet, feature by feature.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which fail by panicking")]

mod support;

use std::time::Duration;

use support::{Broker, Configuration, Kind, free_port};
use tercet_client::mqtt::{
    Builder, Client, Event, Filter, Message, Overflow, Property, QoS, ReasonCode, Retained, Tls, Version,
    Will,
};
use tercet_client::{Backoff, Error};

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A hang is a failure, not an endless test.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("took too long")
}

async fn texts(messages: impl AsyncFn() -> Message, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(messages().await.text().unwrap().to_owned());
    }
    texts
}

async fn every_qos_in_every_version_arrives_once_and_in_order(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    for version in [Version::V31, Version::V311, Version::V5] {
        let client = Builder::new(&url).unwrap().version(version).client_id("every").connect().await.unwrap();
        for qos in ALL {
            let mut stream = soon(client.subscribe("a/+/c").qos(qos).into_future()).await.unwrap();
            assert_eq!(stream.grants()[0].qos(), Some(qos));
            let mut acks = Vec::new();
            for n in 0..200 {
                acks.push(client.publish("a/b/c", n.to_string()).qos(qos).enqueue().await.unwrap());
            }
            for n in 0..200 {
                let message = soon(stream.next()).await.unwrap();
                let want = (Some(&*n.to_string()), qos, false);
                assert_eq!((message.text(), message.qos, message.retain), want, "{version}");
                assert_eq!(&*message.topic, "a/b/c");
            }
            for ack in acks {
                let receipt = soon(ack).await.unwrap();
                assert_eq!(receipt.packet_id.is_some(), qos > QoS::AtMostOnce);
            }
            soon(stream.unsubscribe()).await.unwrap();
        }
        soon(client.disconnect()).await;
        assert!(matches!(client.publish("a", "b").await, Err(Error::Closed)));
    }
}

async fn retained_messages_are_kept_and_cleared(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    let client = Client::connect(&url).await.unwrap();
    client.publish("r/1", "kept").qos(QoS::AtLeastOnce).retain(true).await.unwrap();
    let mut stream = client.subscribe("r/#").await.unwrap();
    let message = soon(stream.next()).await.unwrap();
    assert_eq!((message.text(), message.retain), (Some("kept"), true));
    client.publish("r/1", "").qos(QoS::AtLeastOnce).retain(true).await.unwrap();
    let message = soon(stream.next()).await.unwrap();
    assert_eq!((message.text(), message.retain), (Some(""), false));
    let mut later = client.subscribe("r/+").await.unwrap();
    let mut unwanted = client.subscribe("r/1").retained(Retained::Skip).await.unwrap();
    client.publish("r/1", "now").await.unwrap();
    assert_eq!(soon(later.next()).await.unwrap().text(), Some("now"), "nothing retained came before");
    assert_eq!(soon(unwanted.next()).await.unwrap().text(), Some("now"));
}

fn a_will_is_published_when_the_client_vanishes(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    let watching = tokio::runtime::Runtime::new().unwrap();
    let mut stream = watching.block_on(async {
        Client::connect(&url).await.unwrap().subscribe("will/#").qos(QoS::AtLeastOnce).await.unwrap()
    });
    for version in [Version::V31, Version::V311, Version::V5] {
        let dying = tokio::runtime::Runtime::new().unwrap();
        let will = Will::new("will/a", "gone")
            .qos(QoS::AtLeastOnce)
            .property(Property::ContentType("text/plain".into()));
        let builder = Builder::new(&url).unwrap().version(version).client_id("dying").will(will);
        let client = dying.block_on(builder.connect()).unwrap();
        // The task dies with its runtime, without DISCONNECT.
        dying.shutdown_background();
        let message = watching.block_on(soon(stream.next())).unwrap();
        assert_eq!(message.text(), Some("gone"));
        let kind = (version == Version::V5).then_some("text/plain");
        assert_eq!(message.properties.content_type(), kind);
        drop(client);
    }
}

async fn properties_travel(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    let client = Client::connect(&url).await.unwrap();
    assert!(!client.connack().client_id.is_empty(), "the broker assigns an id");
    let mut stream = client.subscribe("p").await.unwrap();
    client
        .publish("p", "x")
        .expiry(Duration::from_secs(77))
        .user("k", "1")
        .user("k", "2")
        .property(Property::ContentType("text/x".into()))
        .property(Property::ResponseTopic("r/t".into()))
        .property(Property::CorrelationData("cd".into()))
        .property(Property::PayloadFormatIndicator(1))
        .await
        .unwrap();
    let properties = soon(stream.next()).await.unwrap().properties;
    assert_eq!(properties.content_type(), Some("text/x"));
    assert_eq!(properties.response_topic(), Some("r/t"));
    assert_eq!(properties.correlation_data().unwrap(), "cd");
    assert_eq!(properties.payload_format_indicator(), Some(1));
    assert!(properties.message_expiry_interval().is_some_and(|left| (70..=77).contains(&left)));
    assert_eq!(properties.user().collect::<Vec<_>>(), [("k", "1"), ("k", "2")]);
    let wrong = client.publish("p", "x").property(Property::ServerKeepAlive(1)).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
    assert!(matches!(client.publish("a/#", "x").await, Err(Error::Invalid(_))));
    // Nothing of that disturbed the connection.
    client.publish("p", "y").await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("y"));
}

async fn a_request_gets_its_answer(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    let server = Client::connect(&url).await.unwrap();
    let mut requests = server.subscribe("ask").qos(QoS::AtLeastOnce).await.unwrap();
    tokio::spawn(async move {
        while let Ok(request) = requests.next().await {
            let topic = request.properties.response_topic().unwrap().to_owned();
            let data = request.properties.correlation_data().unwrap().clone();
            let answer = request.text().unwrap().to_uppercase();
            server.publish(topic, answer).property(Property::CorrelationData(data)).await.unwrap();
        }
    });
    let client = Client::connect(&url).await.unwrap();
    let (a, b) =
        tokio::join!(client.request("ask", "one").into_future(), client.request("ask", "two").into_future());
    assert_eq!((a.unwrap().text(), b.unwrap().text()), (Some("ONE"), Some("TWO")));
    let late = client.request("nobody", "x").timeout(Duration::from_millis(50)).await;
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
}

async fn after_a_restart_of_the_broker_everything_goes_on(kind: Kind) {
    let (mut broker, url) = Broker::plain(kind);
    let backoff = Backoff { min: Duration::from_millis(20), ..Backoff::default() };
    let client = Builder::new(&url).unwrap().reconnect(Some(backoff)).connect().await.unwrap();
    let mut events = client.events();
    let mut stream = client.subscribe_many(["s/1", "s/2"]).qos(QoS::AtLeastOnce).await.unwrap();
    broker.stop();
    assert!(matches!(soon(events.next()).await, Some(Event::Disconnected { retry_in: Some(_), .. })));
    // Handed over while there is no connection: sent on the next one.
    let waiting = client.publish("s/1", "patient").qos(QoS::AtLeastOnce).enqueue().await.unwrap();
    broker.restart();
    loop {
        match soon(events.next()).await.unwrap() {
            Event::Resubscribed(filters) => break assert_eq!(filters, 2),
            Event::Connected { session_present, .. } => assert!(!session_present),
            _ => {}
        }
    }
    soon(waiting).await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("patient"));
    client.publish("s/2", "again").qos(QoS::ExactlyOnce).await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("again"));
}

async fn without_reconnect_the_loss_is_told(kind: Kind) {
    let (mut broker, url) = Broker::plain(kind);
    let client = Builder::new(&url).unwrap().reconnect(None).connect().await.unwrap();
    let mut stream = client.subscribe("x").await.unwrap();
    broker.stop();
    let error = soon(stream.next()).await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }) && error.is_retryable(), "{error:?}");
    let error = client.publish("x", "y").await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
}

async fn a_session_continues_where_it_was(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    for version in [Version::V311, Version::V5] {
        let id = format!("sleeper-{version}");
        let builder = || {
            Builder::new(&url)
                .unwrap()
                .version(version)
                .client_id(id.as_str())
                .clean_start(false)
                .session_expiry(60)
        };
        let client = builder().connect().await.unwrap();
        assert!(!client.connack().session_present);
        drop(client.subscribe("night").qos(QoS::ExactlyOnce).into_inbox().await.unwrap());
        client.disconnect().await;
        let other = Client::connect(&url).await.unwrap();
        for n in 0..10 {
            other.publish("night", n.to_string()).qos(QoS::ExactlyOnce).await.unwrap();
        }
        let (client, inbox) = builder().connect_with_inbox(100, Overflow::Block).await.unwrap();
        assert!(client.connack().session_present);
        let inbox = tokio::sync::Mutex::new(inbox);
        let got = texts(async || soon(inbox.lock().await.next()).await.unwrap(), 10).await;
        assert_eq!(got, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
        client.disconnect().await;
    }
}

async fn the_brokers_receive_maximum_is_kept_to(kind: Kind) {
    let (_broker, url) = Broker::tuned(
        kind,
        &Configuration { mosquitto: "max_inflight_messages 3", tercet: "receive-maximum = 3" },
    );
    let client = Client::connect(&url).await.unwrap();
    assert_eq!(client.connack().properties.receive_maximum(), Some(3));
    let mut stream = client.subscribe("w").qos(QoS::ExactlyOnce).await.unwrap();
    let mut acks = Vec::new();
    for n in 0..500 {
        acks.push(client.publish("w", n.to_string()).qos(QoS::ExactlyOnce).enqueue().await.unwrap());
    }
    soon(client.flush()).await.unwrap();
    for ack in &mut acks {
        assert!(ack.try_take().expect("done before the flush was").is_ok());
    }
    for n in 0..500 {
        assert_eq!(soon(stream.next()).await.unwrap().text(), Some(&*n.to_string()));
    }
}

async fn a_slow_reader_loses_nothing_and_holds_nobody_up_for_ever(kind: Kind) {
    let (_broker, url) =
        Broker::tuned(kind, &Configuration { mosquitto: "max_queued_messages 0", tercet: "" });
    let client = Client::connect(&url).await.unwrap();
    let mut slow = client.subscribe("slow").qos(QoS::AtLeastOnce).buffer(2, Overflow::Block).await.unwrap();
    let mut newest =
        client.subscribe("slow").qos(QoS::AtLeastOnce).buffer(2, Overflow::DropOldest).await.unwrap();
    for n in 0..300 {
        soon(client.publish("slow", n.to_string()).qos(QoS::AtLeastOnce).into_future()).await.unwrap();
    }
    for n in 0..300 {
        assert_eq!(soon(slow.next()).await.unwrap().text(), Some(&*n.to_string()));
    }
    let mut last = soon(newest.next()).await.unwrap();
    while let Some(next) = newest.try_next() {
        last = next;
    }
    assert_eq!(last.text(), Some("299"));
    assert!(newest.dropped() >= 290, "{}", newest.dropped());
}

async fn large_messages_pass_and_too_large_ones_are_refused_here(kind: Kind) {
    let (_broker, url) =
        Broker::tuned(kind, &Configuration { mosquitto: "", tercet: "max-packet-size = \"16MiB\"" });
    let client = Client::connect(&url).await.unwrap();
    let mut stream = client.subscribe("big").qos(QoS::AtLeastOnce).await.unwrap();
    let payload: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    soon(client.publish("big", payload.clone()).qos(QoS::AtLeastOnce).into_future()).await.unwrap();
    assert!(soon(stream.next()).await.unwrap().payload == payload);
    let (_small, url) = Broker::tuned(
        kind,
        &Configuration { mosquitto: "max_packet_size 1000", tercet: "max-packet-size = 1000" },
    );
    let client = Client::connect(&url).await.unwrap();
    let error = client.publish("big", vec![0; 2000]).qos(QoS::AtLeastOnce).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1000, .. }), "{error:?}");
    client.publish("big", "small").qos(QoS::AtLeastOnce).await.unwrap();
}

async fn refusals_say_why(kind: Kind) {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("users"), "").unwrap();
    let configuration = Configuration {
        mosquitto: &format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file /dev/null\n"),
        tercet: &format!(
            "[auth]\nanonymous = \"deny\"\npassword-file = \"DIR/users\"\n\
             [[listener]]\nbind = \"127.0.0.1:{port}\"\n"
        ),
    };
    let _broker = Broker::start(kind, directory, &configuration);
    let code = if kind == Kind::Mosquitto { 0x87 } else { 0x86 };
    for version in [Version::V311, Version::V5] {
        let builder = Builder::new(format!("mqtt://u:p@127.0.0.1:{port}")).unwrap().version(version);
        let Err(error) = builder.client_id("x").connect().await else { panic!("was let in") };
        assert!(matches!(error, Error::Refused { code: c, .. } if c == code), "{error:?}");
        assert!(error.hint().is_some() && !error.is_retryable());
    }
    let nobody = free_port();
    let Err(error) = Client::connect(format!("mqtt://127.0.0.1:{nobody}")).await else { panic!("connected") };
    assert_eq!(error.to_string(), format!("cannot reach mqtt://127.0.0.1:{nobody}: connection refused"));
}

async fn subscriptions_of_one_client_are_told_apart(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    for version in [Version::V311, Version::V5] {
        let client = Builder::new(&url).unwrap().version(version).client_id("apart").connect().await.unwrap();
        let mut wide = client.subscribe("t/#").await.unwrap();
        let mut narrow = client.subscribe("t/1").await.unwrap();
        let mut local = client
            .subscribe(Filter { no_local: version == Version::V5, ..Filter::new("other") })
            .await
            .unwrap();
        client.publish("t/2", "for one").await.unwrap();
        client.publish("other", "for nobody").await.unwrap();
        client.publish("t/1", "for both").await.unwrap();
        assert_eq!(soon(wide.next()).await.unwrap().text(), Some("for one"));
        assert_eq!(soon(narrow.next()).await.unwrap().text(), Some("for both"));
        soon(client.flush()).await.unwrap();
        assert_eq!(local.try_next().is_some(), version == Version::V311);
        soon(client.disconnect()).await;
    }
}

async fn a_unix_socket_is_as_good_as_a_port(kind: Kind) {
    let configuration = Configuration {
        mosquitto: "listener 0 DIR/broker.sock\nallow_anonymous true\n",
        tercet: "[[listener]]\nbind = \"unix:DIR/broker.sock\"\n",
    };
    let broker = Broker::start(kind, tempfile::tempdir().unwrap(), &configuration);
    let url = format!("unix://{}", broker.directory().join("broker.sock").display());
    let client = Client::connect(&url).await.unwrap();
    let mut stream = client.subscribe("x").await.unwrap();
    client.publish("x", "y").await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("y"));
}

/// Makes an authority, a server certificate for `localhost` and a client certificate as PEM files.
fn certificates(directory: &std::path::Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Test Authority");
    std::fs::write(directory.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    for (name, host) in [("server", "localhost"), ("client", "device")] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, host);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

async fn tls_mutual_tls_and_websockets(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let [tls, mutual, ws, wss] = [(); 4].map(|()| free_port());
    let pem = "cafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\n";
    let mosquitto = format!(
        "per_listener_settings false\nallow_anonymous true\nlistener {tls} 127.0.0.1\n{pem}\
         listener {mutual} 127.0.0.1\n{pem}require_certificate true\nuse_identity_as_username true\n\
         listener {ws} 127.0.0.1\nprotocol websockets\nlistener {wss} 127.0.0.1\nprotocol websockets\n{pem}"
    );
    let listener =
        |port, protocol| format!("[[listener]]\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:{port}\"\n");
    let pem = "[listener.tls]\ncert = \"DIR/server.pem\"\nkey = \"DIR/server.key\"\n";
    let ask = "client-ca = \"DIR/ca.pem\"\nclient-auth = \"required\"\nuse-identity-as-username = \"cn\"\n";
    let tercet = [
        &listener(tls, "mqtt"),
        pem,
        &listener(mutual, "mqtt"),
        pem,
        ask,
        &listener(ws, "ws"),
        &listener(wss, "ws"),
        pem,
    ]
    .map(str::to_owned)
    .concat();
    let configuration = Configuration { mosquitto: &mosquitto, tercet: &tercet };
    let broker = Broker::start(kind, directory, &configuration);
    let path = |name: &str| Some(broker.directory().join(name));
    let trusting = Tls { ca_file: path("ca.pem"), ..Tls::default() };
    let known = Tls { cert: path("client.pem"), key: path("client.key"), ..trusting.clone() };
    let by_directory = Tls { ca_dir: Some(broker.directory().to_owned()), ..Tls::default() };
    let any_name = Tls { insecure: true, ..trusting.clone() };
    let anybody = Tls { insecure: true, ..Tls::default() };
    for (url, settings) in [
        (format!("mqtts://localhost:{tls}"), &trusting),
        (format!("mqtts://localhost:{tls}"), &by_directory),
        (format!("mqtts://127.0.0.1:{tls}"), &any_name),
        (format!("mqtts://127.0.0.1:{tls}"), &anybody),
        (format!("mqtts://localhost:{mutual}"), &known),
        (format!("ws://127.0.0.1:{ws}"), &trusting),
        (format!("wss://localhost:{wss}/mqtt"), &trusting),
    ] {
        let connected = Builder::new(&url).unwrap().tls(settings.clone()).connect().await;
        let client = connected.unwrap_or_else(|error| panic!("{url}: {error}"));
        let mut stream = client.subscribe("secret").qos(QoS::AtLeastOnce).await.unwrap();
        let payload = vec![7; 300_000];
        soon(client.publish("secret", payload.clone()).qos(QoS::AtLeastOnce).into_future()).await.unwrap();
        assert!(soon(stream.next()).await.unwrap().payload == payload, "{url}");
        soon(client.disconnect()).await;
    }
    for (url, settings) in [
        (format!("mqtts://localhost:{tls}"), Tls::default()),
        (format!("mqtts://127.0.0.1:{tls}"), trusting.clone()),
        (format!("mqtts://localhost:{mutual}"), trusting.clone()),
    ] {
        let connected = Builder::new(&url).unwrap().tls(settings).connect().await;
        let Err(error) = connected else { panic!("{url} was accepted") };
        assert!(matches!(error, Error::Tls { .. } | Error::Lost { .. }), "{url}: {error:?}");
    }
}

async fn the_keep_alive_keeps_a_silent_connection(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    let client = Builder::new(&url)
        .unwrap()
        .keep_alive(Duration::from_secs(1))
        .reconnect(None)
        .connect()
        .await
        .unwrap();
    let mut stream = client.subscribe("x").await.unwrap();
    // The broker ends a connection that is silent for 1.5 s; it is still there after twice that.
    assert!(tokio::time::timeout(Duration::from_secs(3), stream.next()).await.is_err());
    client.publish("x", "alive").await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("alive"));
    client.disconnect_with(ReasonCode::DisconnectWithWill, Default::default()).await;
}

async fn repeated_topics_travel_as_aliases_and_survive_a_failed_publish(kind: Kind) {
    let (_broker, url) = Broker::plain(kind);
    let client = Client::connect(&url).await.unwrap();
    assert!(client.connack().properties.topic_alias_maximum().is_some_and(|most| most > 0));
    let mut stream = client.subscribe("alias/#").await.unwrap();
    for n in 0..40 {
        client.publish(format!("alias/{}", n % 20), n.to_string()).await.unwrap();
        let message = soon(stream.next()).await.unwrap();
        assert_eq!((&*message.topic, message.text()), (&*format!("alias/{}", n % 20), Some(&*n.to_string())));
    }
    let other = Client::connect(&url).await.unwrap();
    // The first use of the topic fails, so its alias must not be relied on.
    let wrong = other.publish("alias/first", "x").property(Property::ServerKeepAlive(1)).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
    for _ in 0..2 {
        other.publish("alias/first", "right").await.unwrap();
        assert_eq!(&*soon(stream.next()).await.unwrap().topic, "alias/first");
    }
}

/// Every test once for each broker.
macro_rules! for_each_broker {
    ($($broker:ident $kind:ident)*; $tests:tt) => { $(for_each_broker!(@one $broker $kind $tests);)* };
    (@one $broker:ident $kind:ident [$($test:ident)*]) => {
        mod $broker {
            use super::*;

            $(#[tokio::test]
            async fn $test() {
                super::$test(Kind::$kind).await;
            })*

            #[test]
            fn a_will_is_published_when_the_client_vanishes() {
                super::a_will_is_published_when_the_client_vanishes(Kind::$kind);
            }
        }
    };
}

for_each_broker! {
    mosquitto Mosquitto
    tercet Tercet;
    [
        every_qos_in_every_version_arrives_once_and_in_order
        retained_messages_are_kept_and_cleared
        properties_travel
        a_request_gets_its_answer
        after_a_restart_of_the_broker_everything_goes_on
        without_reconnect_the_loss_is_told
        a_session_continues_where_it_was
        the_brokers_receive_maximum_is_kept_to
        a_slow_reader_loses_nothing_and_holds_nobody_up_for_ever
        large_messages_pass_and_too_large_ones_are_refused_here
        refusals_say_why
        subscriptions_of_one_client_are_told_apart
        a_unix_socket_is_as_good_as_a_port
        tls_mutual_tls_and_websockets
        the_keep_alive_keeps_a_silent_connection
        repeated_topics_travel_as_aliases_and_survive_a_failed_publish
    ]
}
