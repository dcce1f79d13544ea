//! What a server checks before and after its handlers.

use tercet_client::coap::{Client, Code, ContentFormat, Number};

use super::world::World;

async fn client() -> Client {
    let url = World::new().serve("coap://127.0.0.1:0").await;
    Client::connect(&url).await.unwrap()
}

#[tokio::test]
async fn wrong_requests_get_the_code_that_says_why() {
    let client = client().await;
    let code = async |request: tercet_client::coap::Request| request.await.unwrap_err().code().unwrap();
    assert_eq!(code(client.get("/nothing")).await, Code::NOT_FOUND);
    assert_eq!(code(client.delete("/hello")).await, Code::METHOD_NOT_ALLOWED);
    assert_eq!(code(client.request(Code(0x1F), "/hello")).await, Code::METHOD_NOT_ALLOWED);
    assert_eq!(code(client.get("/hello").option(Number(9999), "x")).await, Code::BAD_OPTION);
    assert_eq!(code(client.get("/nothing").option(Number(9999), "x")).await, Code::BAD_OPTION);
    assert_eq!(
        code(client.get("/hello").proxy_uri("coap://far.example/x")).await,
        Code::PROXYING_NOT_SUPPORTED
    );
    assert_eq!(code(client.get("/hello").accept(ContentFormat::CBOR)).await, Code::NOT_ACCEPTABLE);
    let text = client.put("/json").content_format(ContentFormat::TEXT).payload("x");
    assert_eq!(code(text).await, Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(code(client.get("/big/many")).await, Code::NOT_FOUND);
    // SZX 7 is reserved over datagrams; there is no block 9 of five bytes.
    assert_eq!(code(client.get("/hello").option(Number::BLOCK2, [7])).await, Code::BAD_REQUEST);
    assert_eq!(code(client.get("/hello").option(Number::BLOCK2, [0x96])).await, Code::BAD_REQUEST);
    assert_eq!(
        code(client.put("/store/x").option(Number::BLOCK1, [0x16])).await,
        Code::REQUEST_ENTITY_INCOMPLETE
    );
}

#[tokio::test]
async fn an_elective_option_is_passed_over() {
    let client = client().await;
    assert!(client.get("/hello").option(Number(10_000), "x").await.is_ok());
    assert_eq!(client.get("/json").accept(ContentFormat::JSON).await.unwrap().text(), Some("{\"a\":1}"));
    assert!(client.put("/json").content_format(ContentFormat::JSON).payload("1").await.is_ok());
    assert!(client.put("/json").payload("1").await.is_ok());
}

#[tokio::test]
async fn what_is_still_valid_is_not_sent_again() {
    let client = client().await;
    let first = client.get("/hello").await.unwrap();
    let tag = first.etag().unwrap().to_vec();
    let again = client.get("/hello").etag(b"other").etag(&tag).await.unwrap();
    assert_eq!((again.code(), again.payload().len()), (Code::VALID, 0));
    assert_eq!(again.etag(), Some(&tag[..]));
    assert_eq!(client.get("/hello").etag(b"other").await.unwrap().code(), Code::CONTENT);
}

#[tokio::test]
async fn resources_describe_themselves() {
    let client = client().await;
    let links = client.discover().await.unwrap();
    let temperature = links.iter().find(|link| link.target == "/temperature").unwrap();
    assert_eq!(temperature.get("rt"), Some("temperature"));
    assert_eq!(temperature.get("obs"), Some(""));
    assert!(!links.iter().any(|link| link.target.contains('{')));
    let some = client.discover_matching("rt=greet*").await.unwrap();
    let targets: Vec<_> = some.iter().map(|link| &*link.target).collect();
    assert_eq!(targets, ["/hello"]);
    assert!(client.discover_matching("rt=none").await.unwrap().is_empty());
}

#[tokio::test]
async fn conditions_are_looked_at_before_the_handler() {
    let client = client().await;
    let refused = async |request: tercet_client::coap::Request| {
        assert_eq!(request.await.unwrap_err().code(), Some(Code::PRECONDITION_FAILED));
    };
    refused(client.put("/store/x").if_match(b"").payload("0")).await;
    client.put("/store/x").if_none_match().payload("1").await.unwrap();
    refused(client.put("/store/x").if_none_match().payload("2")).await;
    let tag = client.get("/store/x").await.unwrap().etag().unwrap().to_vec();
    client.put("/store/x").if_match(b"other").if_match(&tag).payload("3").await.unwrap();
    refused(client.put("/store/x").if_match(&tag).payload("4")).await;
    client.put("/store/x").if_match(b"").payload("5").await.unwrap();
    assert_eq!(client.get("/store/x").await.unwrap().text(), Some("5"));
}

#[tokio::test]
async fn an_echo_is_given_back() {
    let client = client().await;
    assert_eq!(client.get("/fresh").await.unwrap().text(), Some("fresh"));
    let mut states = client.get("/fresh").observe().await.unwrap();
    assert_eq!(states.next().await.unwrap().unwrap().text(), Some("fresh"));
}
