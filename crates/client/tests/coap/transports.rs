//! The same things over every transport.

use tercet_client::coap::{Client, Code, ContentFormat, Error, Number};

use super::world::{World, secured_client};

#[tokio::test]
async fn udp() {
    let url = World::new().serve("coap://127.0.0.1:0").await;
    everything(&Client::connect(&url).await.unwrap()).await;
}

#[tokio::test]
async fn udp_over_ipv6() {
    let url = World::new().serve("coap://[::1]:0").await;
    everything(&Client::connect(&url).await.unwrap()).await;
}

#[tokio::test]
async fn tcp() {
    let url = World::new().serve("coap+tcp://127.0.0.1:0").await;
    everything(&Client::connect(&url).await.unwrap()).await;
}

#[tokio::test]
async fn websocket() {
    let url = World::new().serve("coap+ws://127.0.0.1:0").await;
    everything(&Client::connect(&url).await.unwrap()).await;
}

#[tokio::test]
async fn tls() {
    let directory = tempfile::tempdir().unwrap();
    let url = World::new().serve_secured("coaps+tcp://127.0.0.1:0", directory.path()).await;
    everything(&secured_client(&url, directory.path()).await).await;
}

#[tokio::test]
async fn secured_websocket() {
    let directory = tempfile::tempdir().unwrap();
    let url = World::new().serve_secured("coaps+ws://127.0.0.1:0", directory.path()).await;
    everything(&secured_client(&url, directory.path()).await).await;
}

#[tokio::test]
async fn small_blocks_in_both_directions() {
    let url = World::new().serve("coap://127.0.0.1:0").await;
    let client = Client::builder(&url).unwrap().block_size(16).connect().await.unwrap();
    bodies(&client, 1000).await;
}

#[tokio::test]
async fn small_messages_over_tcp() {
    let url = World::new().serve("coap+tcp://127.0.0.1:0").await;
    let client = Client::builder(&url).unwrap().max_message(1152).connect().await.unwrap();
    bodies(&client, 100_000).await;
}

#[tokio::test]
async fn bert_over_tcp() {
    let url = World::new().serve("coap+tcp://127.0.0.1:0").await;
    let client = Client::builder(&url).unwrap().max_message(10_000).connect().await.unwrap();
    let body = World::body(100_000);
    let response = client.get("/big/100000").await.unwrap();
    assert_eq!(response.payload(), &body);
    // SZX 7 and more to come.
    assert_eq!(response.options().uint(Number::BLOCK2).unwrap() & 0xF, 0xF);
}

pub(crate) async fn everything(client: &Client) {
    let hello = client.get("/hello").await.unwrap();
    assert_eq!((hello.code(), hello.text()), (Code::CONTENT, Some("hello")));
    assert_eq!(hello.content_format(), Some(ContentFormat::TEXT));

    let missing = client.get("/store/x").await.unwrap_err();
    assert_eq!(missing.code(), Some(Code::NOT_FOUND));
    assert_eq!(client.put("/store/x").payload("1").await.unwrap().code(), Code::CREATED);
    assert_eq!(client.put("/store/x").payload("2").await.unwrap().code(), Code::CHANGED);
    assert_eq!(client.get("/store/x").await.unwrap().text(), Some("2"));
    assert_eq!(client.delete("/store/x").await.unwrap().code(), Code::DELETED);
    assert_eq!(client.get("/store/x").await.unwrap_err().code(), Some(Code::NOT_FOUND));

    let echo = client.post("/echo").content_format(ContentFormat::CBOR).payload(&[0xF6][..]).await.unwrap();
    assert_eq!((echo.content_format(), &echo.payload()[..]), (Some(ContentFormat::CBOR), &[0xF6][..]));
    for method in [Code::FETCH, Code::PATCH, Code::IPATCH] {
        assert_eq!(
            client.request(method, "/echo").payload("x").await.unwrap().text(),
            Some("x"),
            "{method:?}"
        );
    }

    assert_eq!(client.get("/slow").await.unwrap().text(), Some("at last"));
    assert_eq!(client.get("/query?a=1%202").query("b", "x/y").await.unwrap().text(), Some("1 2|x/y"));
    assert_eq!(client.get("/hello").non_confirmable().await.unwrap().text(), Some("hello"));
    client.post("/count").payload("x").forget().await.unwrap();
    let created = client.post("/count").payload("xyz").await.unwrap();
    assert_eq!(created.location().as_deref(), Some("/count/1/3"));

    let refused = client.get("/refused").await.unwrap_err();
    assert_eq!(refused.to_string(), "4.03 Forbidden: not you");
    assert!(refused.hint().is_some() && !refused.is_retryable());
    let busy = client.get("/busy").await.unwrap_err();
    assert_eq!(busy.retry_after().unwrap().as_secs(), 7);
    assert!(busy.is_retryable());

    let pong = client.ping().await.unwrap();
    assert!(pong.as_secs() < 90);
    bodies(client, 100_001).await;
}

async fn bodies(client: &Client, length: usize) {
    let body = World::body(length);
    let response = client.get(&format!("/big/{length}")).await.unwrap();
    assert_eq!(response.payload(), &body);
    assert_eq!(client.put("/store/big").payload(body.clone()).await.unwrap().code(), Code::CREATED);
    assert_eq!(client.get("/store/big").await.unwrap().payload(), &body);
    // There and back in one exchange.
    assert_eq!(client.post("/echo").payload(body.clone()).await.unwrap().payload(), &body);
    assert_eq!(client.fetch("/echo").payload(body.clone()).await.unwrap().payload(), &body);
    let too_large = client.put("/store/big").payload(World::body(2_000_000)).await.unwrap_err();
    assert_eq!(too_large.code(), Some(Code::REQUEST_ENTITY_TOO_LARGE), "{too_large}");
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("coap://{}", socket.local_addr().unwrap());
    drop(socket);
    let client = Client::connect(&url).await.unwrap();
    let error = client.get("/").await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("CoAP server")));
    assert!(matches!(client.ping().await.unwrap_err(), Error::Connect { .. }));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let url = World::new().serve("coap://127.0.0.1:0").await;
    let client = Client::builder(&url).unwrap().max_body(5000).connect().await.unwrap();
    let error = client.get("/big/10000").await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 5000 }), "{error}");
}
