//! Cases of the ETSI plugtests that ask for resources which a broker does not have: one that takes its time, and one that
//! answers with Location-Query. The server is that of `tercet_client`, the client these tests' own.

use std::net::SocketAddr;
use std::time::Duration;

use tercet_client::coap::server::{Reply, Router, Server, get, post};
use tercet_client::coap::{Code, Number};
use tokio::runtime::{Builder, Runtime};

use crate::wire::{ACK, CON, CONTENT, CREATED, EMPTY, GET, Message, NON, POST, Peer};

const LOCATION_PATH: u16 = 8;
const LOCATION_QUERY: u16 = 20;

/// The server runs as long as the runtime.
fn start() -> (Runtime, SocketAddr) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind("coap://127.0.0.1:0")).unwrap();
    let address = server.urls()[0].trim_start_matches("coap://").parse().unwrap();
    let router = Router::new()
        .route("/separate", get(separate))
        .route("/location-query", post(locate))
        .route("/test", post(locate).get(async || "a value"));
    runtime.spawn(async move { server.serve(router).await });
    (runtime, address)
}

async fn separate() -> &'static str {
    // Longer than a response may take to travel in the acknowledgement.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    "at last"
}

async fn locate() -> Reply {
    Reply::new()
        .code(Code::CREATED)
        .location("/location1/location2/location3")
        .option(Number::LOCATION_QUERY, "first=1")
        .option(Number::LOCATION_QUERY, "second=2")
}

fn acknowledge(peer: &Peer, message: &Message) {
    let [high, low] = message.id.to_be_bytes();
    peer.send(&[0x60, 0, high, low]);
}

/// A confirmable request for the slow resource and what comes: the empty acknowledgement and the response.
fn ask_slowly(peer: &mut Peer, token: &[u8]) -> (Message, Message) {
    let request = Message::request(CON, GET, peer.id(), "separate").token(token);
    let empty = peer.ask(&request);
    assert_eq!((empty.kind, empty.code, empty.id), (ACK, EMPTY, request.id));
    let response = peer.take();
    assert_eq!((response.kind, response.code, &response.payload[..]), (CON, CONTENT, &b"at last"[..]));
    assert!(response.token == token && !response.all(12).is_empty());
    (request, response)
}

#[test]
fn td_coap_core_09_and_11_get_with_separate_response() {
    let (_server, address) = start();
    for token in [&b""[..], b"t", b"12345678"] {
        let mut peer = Peer::new(address);
        let (_, response) = ask_slowly(&mut peer, token);
        acknowledge(&peer, &response);
        assert_eq!(peer.settled(), []);
    }
}

/// Losses of each of the four messages.
#[test]
fn td_coap_core_16_separate_response_in_a_lossy_context() {
    let (_server, address) = start();
    let mut peer = Peer::new(address);
    let (request, response) = ask_slowly(&mut peer, b"t");
    // The request's acknowledgement was lost: the request comes again, and is acknowledged again, not answered anew.
    let again = peer.ask(&request);
    assert_eq!((again.kind, again.code, again.id), (ACK, EMPTY, request.id));
    // The response, or its acknowledgement, was lost: it comes again, with the same id.
    assert_eq!(peer.take(), response);
    acknowledge(&peer, &response);
    assert_eq!(peer.settled(), []);
}

#[test]
fn td_coap_core_17_separate_response_non() {
    let (_server, address) = start();
    let mut peer = Peer::new(address);
    let request = Message::request(NON, GET, peer.id(), "separate");
    let response = peer.ask(&request);
    assert_eq!((response.kind, response.code, &response.token), (NON, CONTENT, &request.token));
    assert_eq!(response.payload, b"at last");
}

#[test]
fn td_coap_core_18_and_19_post_with_locations() {
    let (_server, address) = start();
    let mut peer = Peer::new(address);
    for path in ["test", "location-query"] {
        let answer = peer.call(POST, path, b"x");
        assert_eq!(answer.code, CREATED);
        assert_eq!(answer.all(LOCATION_PATH), [b"location1", b"location2", b"location3"]);
        assert_eq!(answer.all(LOCATION_QUERY), [&b"first=1"[..], b"second=2"]);
    }
}
