//! The client against libcoap's server, the server against libcoap's client (Debian's libcoap3-bin).

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tercet_client::coap::{Client, Code, ContentFormat};

use super::world::World;

/// libcoap's example server, ended with the test.
struct Libcoap(Child);

impl Drop for Libcoap {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it on a port that was free a moment ago, and waits until it answers.
async fn server(scheme: &str) -> (Libcoap, Client) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("coap-server-notls")
        .args(["-A", "127.0.0.1", "-p", &port.to_string(), "-d", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs libcoap's tools: apt-get install libcoap3-bin");
    let server = Libcoap(child);
    loop {
        if let Ok(client) = Client::connect(format!("{scheme}://127.0.0.1:{port}")).await
            && client.ping().await.is_ok()
        {
            return (server, client);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn exchange(scheme: &str) {
    let (_server, client) = server(scheme).await;
    let root = client.get("/").await.unwrap();
    assert!(root.text().unwrap().contains("libcoap"), "{root:?}");
    let links = client.discover().await.unwrap();
    assert!(links.iter().any(|link| link.target == "/time" && link.get("obs").is_some()), "{links:?}");
    assert_eq!(client.get("/nothing").await.unwrap_err().code(), Some(Code::NOT_FOUND));
    let body = World::body(5000);
    let put = client.put("/thing").content_format(ContentFormat::OCTET_STREAM).payload(body.clone());
    assert_eq!(put.await.unwrap().code(), Code::CREATED);
    assert_eq!(client.get("/thing").await.unwrap().payload(), &body);
    assert_eq!(client.delete("/thing").await.unwrap().code(), Code::DELETED);
    let mut times = client.get("/time?ticks").observe().await.unwrap();
    let mut tick = async || -> u64 { times.next().await.unwrap().unwrap().text().unwrap().parse().unwrap() };
    let (first, second) = (tick().await, tick().await);
    assert!(second > first, "{first} {second}");
}

#[tokio::test]
async fn our_client_and_its_server_over_udp() {
    exchange("coap").await;
}

#[tokio::test]
async fn our_client_and_its_server_over_tcp() {
    exchange("coap+tcp").await;
}

/// What libcoap's client prints.
async fn client(arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("coap-client-notls").args(arguments).output().await;
    String::from_utf8(output.expect("this test needs libcoap's tools").stdout).unwrap()
}

#[tokio::test]
async fn its_client_and_our_server() {
    let world = World::new();
    for url in ["coap://127.0.0.1:0", "coap+tcp://127.0.0.1:0"] {
        let url = world.serve(url).await;
        assert_eq!(client(&["-m", "get", &format!("{url}/hello")]).await.trim_end(), "hello");
        let long: String = ('a'..='z').cycle().take(3000).collect();
        client(&["-m", "put", "-e", &long, &format!("{url}/store/long")]).await;
        assert_eq!(client(&["-m", "get", &format!("{url}/store/long")]).await.trim_end(), long);
        assert!(client(&["-m", "get", &format!("{url}/.well-known/core")]).await.contains("</hello>"));
        world.temperature.set("20");
        let observed = format!("{url}/temperature");
        let arguments = ["-m", "get", "-w", "-s", "1", "-B", "2", &observed];
        let (seen, ()) = tokio::join!(client(&arguments), async {
            while world.temperature.observers() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            world.temperature.set("21");
        });
        assert!(seen.contains("20") && seen.contains("21"), "{seen}");
        while world.temperature.observers() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
