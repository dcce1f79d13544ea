//! Enhanced authentication over the wire: a method of one's own at a scripted broker, SCRAM-SHA-256 at Tercet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which fail by panicking")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use support::{Broker, Configuration, Kind, free_port};
use tercet_client::mqtt::{Authenticator, Builder, Event, QoS, ReasonCode, ScramSha256, Version};
use tercet_client::{Backoff, Error};
use tercet_mqtt::property::{AuthProperties, ConnAckProperties};
use tercet_mqtt::{Auth, ConnAck, Limits, Packet, decode, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers every challenge with its reverse.
#[derive(Default)]
struct Reverse {
    heard: Mutex<Vec<String>>,
}

impl Reverse {
    fn note(&self, what: &str, data: &[u8]) {
        self.heard.lock().unwrap().push(format!("{what} {}", String::from_utf8_lossy(data)));
    }
}

impl Authenticator for Reverse {
    fn method(&self) -> &str {
        "REVERSE"
    }

    fn start(&self) -> Result<Option<Bytes>, String> {
        self.note("start", b"");
        Ok(Some("hello".into()))
    }

    fn challenge(&self, data: &[u8]) -> Result<Bytes, String> {
        self.note("challenge", data);
        if data.is_empty() {
            return Err("nothing to turn around".into());
        }
        Ok(data.iter().rev().copied().collect())
    }

    fn success(&self, data: &[u8]) -> Result<(), String> {
        self.note("success", data);
        if data == b"welcome" { Ok(()) } else { Err("not what a friend says".into()) }
    }
}

/// Reads one packet: its type, method and authentication data.
async fn read(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        if let Some((packet, _)) = decode(&bytes, Version::V5, &Limits::protocol()).unwrap() {
            let (method, data) = match packet {
                Packet::Connect(it) => {
                    assert_eq!((it.username, it.password), (None, None));
                    (it.properties.authentication_method, it.properties.authentication_data)
                }
                Packet::Auth(it) => (it.properties.authentication_method, it.properties.authentication_data),
                other => panic!("{other:?}"),
            };
            return (method.unwrap().into(), String::from_utf8_lossy(data.unwrap()).into_owned());
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed");
    }
}

async fn write(stream: &mut TcpStream, packet: Packet<'_>) {
    let mut bytes = Vec::new();
    encode(&packet, Version::V5, &mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
}

fn auth<'a>(method: &'a str, data: &'a [u8]) -> Packet<'a> {
    let properties = AuthProperties {
        authentication_method: Some(method),
        authentication_data: Some(data),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason: ReasonCode::ContinueAuthentication, properties })
}

fn connack(data: Option<&[u8]>) -> Packet<'_> {
    let properties = ConnAckProperties {
        authentication_method: Some("REVERSE"),
        authentication_data: data,
        ..ConnAckProperties::default()
    };
    Packet::ConnAck(ConnAck { session_present: false, reason: ReasonCode::Success, properties })
}

#[tokio::test]
async fn a_method_of_ones_own_is_asked_at_each_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    for (challenges, method, end, outcome) in [
        (&["abc", "def"][..], "REVERSE", Some(&b"welcome"[..]), "connected"),
        (&[], "REVERSE", Some(b"welcome"), "connected"),
        (&["abc"], "REVERSE", Some(b"go away"), "not what a friend says"),
        (&["abc"], "REVERSE", None, "not what a friend says"),
        (&[""], "REVERSE", None, "nothing to turn around"),
        (&["abc"], "FORWARD", None, "another authentication method"),
    ] {
        let broker = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(read(&mut stream).await, ("REVERSE".into(), "hello".into()));
            for challenge in challenges {
                write(&mut stream, auth(method, challenge.as_bytes())).await;
                if challenge.is_empty() || method != "REVERSE" {
                    return stream;
                }
                let turned: String = challenge.chars().rev().collect();
                assert_eq!(read(&mut stream).await, ("REVERSE".into(), turned));
            }
            write(&mut stream, connack(end)).await;
            stream
        };
        let hook = Arc::new(Reverse::default());
        let builder = Builder::new(&url).unwrap().authenticator(hook.clone()).reconnect(None);
        let (connected, _stream) = tokio::join!(builder.connect(), broker);
        match connected {
            Ok(client) => {
                assert_eq!(outcome, "connected");
                drop(client);
                assert_eq!(hook.heard.lock().unwrap().last().unwrap(), "success welcome");
            }
            Err(error) => {
                assert!(matches!(error, Error::Protocol(_)), "{error:?}");
                assert!(error.to_string().contains(outcome), "{error}");
            }
        }
    }
}

/// A broker that lets in `ann` with the password `secret`, and nobody else.
fn tercet() -> (Broker, String) {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    let made = std::process::Command::new(support::tercet())
        .arg("passwd")
        .arg("-b")
        .arg(users)
        .args(["ann", "secret"])
        .stderr(std::process::Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let text = format!(
        "[auth]\nanonymous = \"deny\"\npassword-file = \"DIR/users\"\n[[listener]]\nbind = \"127.0.0.1:{port}\"\n"
    );
    let configuration = Configuration { mosquitto: "", tercet: &text };
    let broker = Broker::start(Kind::Tercet, directory, &configuration);
    (broker, format!("mqtt://ann:secret@127.0.0.1:{port}"))
}

#[tokio::test]
async fn scram_logs_in_again_on_every_connection() {
    let (mut broker, url) = tercet();
    let backoff = Backoff { min: Duration::from_millis(20), ..Backoff::default() };
    let builder = Builder::new(&url).unwrap().scram_sha_256().reconnect(Some(backoff));
    let client = builder.connect().await.unwrap();
    assert_eq!(client.connack().properties.authentication_method(), Some("SCRAM-SHA-256"));
    let mut events = client.events();
    broker.restart();
    while !matches!(events.next().await.unwrap(), Event::Connected { .. }) {}
    client.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
    client.disconnect().await;
}

#[tokio::test]
async fn scram_refuses_and_is_refused() {
    let (_broker, url) = tercet();
    let wrong = url.replace("secret", "secrets");
    let nobody = Arc::new(ScramSha256::new("nobody", "secret"));
    let plain = url.replace("ann:secret@", "");
    for (builder, code) in [
        (Builder::new(&wrong).unwrap().scram_sha_256(), 0x86),
        (Builder::new(&plain).unwrap().authenticator(nobody), 0x86),
        (Builder::new(&plain).unwrap().authenticator(Arc::new(Reverse::default())), 0x8C),
    ] {
        let Err(error) = builder.connect().await else { panic!("was let in") };
        assert!(matches!(error, Error::Refused { code: c, .. } if c == code), "{code:#x}: {error:?}");
    }
    for builder in [
        Builder::new(&plain).unwrap().scram_sha_256(),
        Builder::new(&url).unwrap().version(Version::V311).client_id("x").scram_sha_256(),
        Builder::new(&plain).unwrap().username("\u{7}").password("x").scram_sha_256(),
    ] {
        let Err(error) = builder.connect().await else { panic!("was let in") };
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    }
}
