//! Datagrams that are lost, doubled and overtaken: nothing confirmable is lost, nothing is done twice.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tercet_client::coap::{Client, Code};

use super::relay::{Trouble, relay};
use super::world::World;

const TROUBLE: Trouble = Trouble { lost: 20, doubled: 20, overtaken: 10 };

/// A client that is quicker to repeat than the standard has it, so that the test is not slow.
async fn client(world: &World, trouble: Trouble, seed: u64) -> Client {
    let server = world.serve("coap://127.0.0.1:0").await;
    let url = relay(&server, trouble, seed).await;
    let builder = Client::builder(&url).unwrap().ack_timeout(Duration::from_millis(20)).max_retransmit(12);
    builder.connect().await.unwrap()
}

#[tokio::test]
async fn every_request_is_answered_and_carried_out_once() {
    const COUNT: usize = 100;
    let world = World::new();
    let client = client(&world, TROUBLE, 0x1234_5678).await;
    for number in 0..COUNT {
        let created = client.post("/count").payload("x").await.unwrap();
        assert_eq!(created.location(), Some(format!("/count/{number}/1")));
    }
    assert_eq!(world.posts.load(Ordering::SeqCst), COUNT);
}

#[tokio::test]
async fn bodies_arrive_whole() {
    let world = World::new();
    let client = client(&world, TROUBLE, 0x9ABC_DEF1).await;
    let body = World::body(40_000);
    assert_eq!(client.put("/store/x").payload(body.clone()).await.unwrap().code(), Code::CREATED);
    assert_eq!(world.store.lock().unwrap()["x"], body);
    assert_eq!(client.get("/store/x").await.unwrap().payload(), &body);
}

#[tokio::test]
async fn an_observer_ends_with_the_newest_state() {
    let world = World::new();
    let client = client(&world, TROUBLE, 0x0F0F_1234).await;
    let mut states = client.get("/temperature").observe().await.unwrap();
    for number in 0..=200 {
        world.temperature.set(number.to_string());
        tokio::task::yield_now().await;
    }
    let mut newest = -1;
    while newest < 200 {
        // The first state is 20, as the world begins.
        world.temperature.set("200");
        let state = tokio::time::timeout(Duration::from_millis(50), states.next()).await;
        let Ok(state) = state else { continue };
        newest = state.unwrap().unwrap().text().unwrap().parse().unwrap();
    }
}

#[tokio::test]
async fn silence_is_told_after_the_last_attempt() {
    let world = World::new();
    let server = world.serve("coap://127.0.0.1:0").await;
    let url = relay(&server, Trouble { lost: 100, ..TROUBLE }, 1).await;
    let builder = Client::builder(&url).unwrap().ack_timeout(Duration::from_millis(5)).max_retransmit(2);
    let error = builder.connect().await.unwrap().get("/hello").await.unwrap_err();
    assert!(matches!(error, tercet_client::coap::Error::Timeout { .. }), "{error}");
    assert!(error.is_retryable());
}
