//! Observations: order, end, and what keeps them alive.

use std::time::Duration;

use tercet_client::coap::server::{Observable, Router, Server, observe};
use tercet_client::coap::{Client, Code};

use super::world::World;

async fn text(states: &mut tercet_client::coap::Observation) -> String {
    let state = tokio::time::timeout(Duration::from_secs(30), states.next()).await.expect("a state in time");
    state.expect("one more state").expect("no error").text().unwrap().to_owned()
}

async fn observed(url: &str) {
    let world = World::new();
    let url = world.serve(url).await;
    let client = Client::connect(&url).await.unwrap();
    let mut states = client.get("/temperature").observe().await.unwrap();
    assert!(states.is_notified());
    assert_eq!(text(&mut states).await, "20");
    for number in 21..60 {
        world.temperature.set(number.to_string());
        assert_eq!(text(&mut states).await, number.to_string());
    }
    assert_eq!(world.temperature.observers(), 1);
    drop(states);
    while world.temperature.observers() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn after_a_cancellation_the_server_has_forgotten() {
    let world = World::new();
    for url in ["coap://127.0.0.1:0", "coap+tcp://127.0.0.1:0"] {
        let client = Client::connect(world.serve(url).await).await.unwrap();
        let states = client.get("/temperature").observe().await.unwrap();
        assert_eq!(world.temperature.observers(), 1);
        states.cancel().await;
        // The relation's task is aborted by then, and gone when it gets its turn.
        while world.temperature.observers() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn over_udp() {
    observed("coap://127.0.0.1:0").await;
}

#[tokio::test]
async fn over_tcp() {
    observed("coap+tcp://127.0.0.1:0").await;
}

#[tokio::test]
async fn over_websocket() {
    observed("coap+ws://127.0.0.1:0").await;
}

#[tokio::test]
async fn a_state_of_many_blocks() {
    let world = World::new();
    let client = Client::connect(world.serve("coap://127.0.0.1:0").await).await.unwrap();
    world.temperature.set(World::body(5000));
    let mut states = client.get("/temperature").observe().await.unwrap();
    assert_eq!(states.next().await.unwrap().unwrap().payload(), &World::body(5000));
    world.temperature.set(World::body(7000));
    assert_eq!(states.next().await.unwrap().unwrap().payload(), &World::body(7000));
}

#[tokio::test]
async fn an_error_of_the_resource_is_the_end() {
    let value = Observable::new("there");
    let server = Server::bind("coap://127.0.0.1:0").await.unwrap();
    let url = server.urls().remove(0);
    let router = Router::new().route("/x", observe(&value));
    tokio::spawn(server.serve(router));
    let client = Client::connect(&url).await.unwrap();
    let mut states = client.get("/x").observe().await.unwrap();
    assert_eq!(text(&mut states).await, "there");
    value.set((Code::NOT_FOUND, "gone"));
    let error = states.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "4.04 Not Found: gone");
    assert!(states.next().await.is_none());
    while value.observers() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_observed_is_told_at_once() {
    let client = Client::connect(World::new().serve("coap://127.0.0.1:0").await).await.unwrap();
    let Err(error) = client.get("/nothing").observe().await else { panic!("observed nothing") };
    assert_eq!(error.code(), Some(Code::NOT_FOUND));
    assert!(client.post("/count").observe().await.is_err());
    let mut states = client.get("/hello").observe().await.unwrap();
    assert!(!states.is_notified());
    assert_eq!(text(&mut states).await, "hello");
}

#[tokio::test]
async fn an_observation_survives_the_connection() {
    let value = Observable::new("before");
    let serve = async |url: &str| {
        let server = Server::bind(url).await.unwrap();
        let url = server.urls().remove(0);
        let router = Router::new().route("/x", observe(&value));
        (url, tokio::spawn(server.serve(router)))
    };
    let (url, first) = serve("coap+tcp://127.0.0.1:0").await;
    let client = Client::connect(&url).await.unwrap();
    let mut states = client.get("/x").observe().await.unwrap();
    assert_eq!(text(&mut states).await, "before");
    first.abort();
    let _ = first.await;
    while value.observers() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, _second) = serve(&url).await;
    // Registered anew, with a server that has forgotten everything.
    while value.observers() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    value.set("after");
    assert_eq!(text(&mut states).await, "after");
}
