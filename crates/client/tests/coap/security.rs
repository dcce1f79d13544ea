//! DTLS and OSCORE, each side of this library against the other and against libcoap.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tercet_client::coap::server::{Peer, Server, get};
use tercet_client::coap::{Client, Error, Oscore, OscoreParameters, Tls};

use super::transports::everything;
use super::world::World;

/// A server for one key, `lamp`, and the address of it.
async fn keyed(world: &World, directory: &Path) -> String {
    let keys = directory.join("keys");
    std::fs::write(&keys, "lamp:73656372657421\n").unwrap();
    let server = Server::bind("coaps://127.0.0.1:0").await.unwrap().psk_file(keys);
    let url = server.urls().remove(0);
    let who = get(async |peer: Peer| peer.identity.as_deref().unwrap_or("nobody").to_owned());
    let router = world.router().route("/who", who);
    tokio::spawn(async move { server.serve(router).await.unwrap() });
    url
}

async fn with_key(url: &str, key: &str) -> Result<Client, Error> {
    Client::builder(url)?.psk("lamp", key).connect_timeout(Duration::from_secs(20)).connect().await
}

#[tokio::test]
async fn everything_with_a_shared_key() {
    let (world, directory) = (World::new(), tempfile::tempdir().unwrap());
    let url = keyed(&world, directory.path()).await;
    let client = with_key(&url, "secret!").await.unwrap();
    assert_eq!(client.get("/who").await.unwrap().text(), Some("lamp"));
    everything(&client).await;
    let mut states = client.get("/temperature").observe().await.unwrap();
    assert_eq!(states.next().await.unwrap().unwrap().text(), Some("20"));
    world.temperature.set("21");
    assert_eq!(states.next().await.unwrap().unwrap().text(), Some("21"));
}

#[tokio::test]
async fn a_wrong_key_is_no_way_in() {
    let directory = tempfile::tempdir().unwrap();
    let url = keyed(&World::new(), directory.path()).await;
    let client = Client::builder(&url).unwrap().psk("lamp", "wrong");
    let Err(error) = client.connect_timeout(Duration::from_secs(3)).connect().await else { panic!("let in") };
    assert!(matches!(error, Error::Secure { .. } | Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn everything_with_a_certificate() {
    let (world, directory) = (World::new(), tempfile::tempdir().unwrap());
    let url = world.serve_secured("coaps://127.0.0.1:0", directory.path()).await;
    let tls = Tls { ca_file: Some(directory.path().join("certificate.pem")), ..Tls::default() };
    let client = Client::builder(&url).unwrap().tls(tls).connect().await.unwrap();
    everything(&client).await;
}

#[tokio::test]
async fn libcoap_with_a_shared_key() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("coap-server-openssl")
        .args(["-A", "127.0.0.1", "-p", &(port - 1).to_string(), "-k", "secret!"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs libcoap's tools: apt-get install libcoap3-bin");
    let url = format!("coaps://127.0.0.1:{port}");
    let client = loop {
        match with_key(&url, "secret!").await {
            Ok(client) => break client,
            Err(Error::Connect { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(client.get("/").await.unwrap().text().unwrap().contains("libcoap"));
    server.kill().unwrap();
    server.wait().unwrap();

    let (world, directory) = (World::new(), tempfile::tempdir().unwrap());
    let url = keyed(&world, directory.path()).await;
    let output = tokio::process::Command::new("coap-client-openssl")
        .args(["-m", "get", "-u", "lamp", "-k", "secret!", &format!("{url}/who")])
        .output();
    assert_eq!(String::from_utf8(output.await.unwrap().stdout).unwrap().trim_end(), "lamp");
}

#[tokio::test]
async fn everything_protected_end_to_end() {
    let (world, directory) = (World::new(), tempfile::tempdir().unwrap());
    let context = |ours: &[u8], theirs: &[u8], state: &str| {
        let parameters = OscoreParameters::new(b"0123456789abcdef", ours, theirs);
        Oscore::new(&parameters, directory.path().join(state)).unwrap()
    };
    let serve = async |url: &str| {
        let server = Server::bind(url).await.unwrap().oscore(context(b"s", b"c", "server"));
        let url = server.urls().remove(0);
        let router = world.router();
        let task = tokio::spawn(server.serve(router));
        (url, task)
    };
    let (url, task) = serve("coap://127.0.0.1:0").await;
    let client =
        Client::builder(&url).unwrap().oscore(context(b"c", b"s", "client")).connect().await.unwrap();
    everything(&client).await;
    let mut states = client.get("/temperature").observe().await.unwrap();
    assert_eq!(states.next().await.unwrap().unwrap().text(), Some("20"));
    world.temperature.set("21");
    assert_eq!(states.next().await.unwrap().unwrap().text(), Some("21"));

    // A server that was restarted asks for freshness, which the client shows by itself.
    task.abort();
    let _ = task.await;
    let (_, _task) = serve(&url).await;
    assert_eq!(client.get("/hello").await.unwrap().text(), Some("hello"));

    // Another secret.
    let parameters = OscoreParameters::new(b"fedcba9876543210", b"c", b"s");
    let wrong = Oscore::new(&parameters, directory.path().join("wrong")).unwrap();
    let client = Client::builder(&url).unwrap().oscore(wrong).connect().await.unwrap();
    assert!(matches!(client.get("/hello").await.unwrap_err(), Error::Oscore(_)));
}
