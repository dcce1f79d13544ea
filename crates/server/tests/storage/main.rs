//! A server with a data directory: what it gives back, what it refuses, what it finds again.

#![allow(clippy::unwrap_used, clippy::panic)]

mod client;
mod cold;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tercet_server::config::{Config, Durability};
use tercet_server::storage::LogState;
use tercet_server::{RunningServer, Server, StartError};

use client::Client;

/// A server that keeps its state in `data`.
struct Kept {
    server: RunningServer,
    address: String,
}

impl Kept {
    fn start(data: &Path) -> Self {
        let server = Server::start(config(data)).unwrap();
        let listener = server.listeners().iter().find(|listener| listener.name == "mqtt").unwrap();
        let address = listener.address.clone();
        Self { server, address }
    }

    fn connect(&self, client_id: &str) -> Client {
        Client::connect(&self.address, client_id)
    }

    fn log(&self) -> LogState {
        self.server.shared().storage.as_ref().unwrap().state()
    }

    /// Waits until the log is like that.
    fn wait_until(&self, what: &str, is: impl Fn(&LogState) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is(&self.log()) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn config(data: &Path) -> Config {
    let mut config = Config::on_free_ports();
    config.server.durability = Durability::Os;
    config.server.data = data.to_path_buf();
    config
}

#[test]
fn one_old_message_does_not_keep_the_space_of_those_that_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path());
    kept.connect("slow").subscribe("old");
    let mut fast = kept.connect("fast");
    fast.subscribe("new");
    let mut publisher = kept.connect("publisher");
    publisher.publish("old", 1000, 1);
    let bulk = thread::scope(|scope| {
        let consumer = scope.spawn(|| fast.consume(5000));
        publisher.publish("new", 4000, 5000);
        publisher.publish("old", 1000, 1);
        consumer.join().unwrap()
    });
    assert_eq!(bulk, 5000 * 4000);
    assert!(kept.log().files.bytes > 20_000_000);
    // All of it together is not worth keeping the segments that the two messages were in.
    kept.wait_until("space is given back", |log| log.files.segments == 1 && log.files.checkpoints > 0);
    let spare_at_most = 16 << 20;
    assert!(kept.log().files.disk_bytes <= 2 * spare_at_most, "{:#?}", kept.log());

    drop(kept);
    let kept = Kept::start(dir.path());
    let found = kept.server.recovery().copied().unwrap();
    assert_eq!((found.queued, found.log_bytes), (2, 0), "a stop ends with a checkpoint");
    assert_eq!(kept.connect("slow").consume(2), 2000);
}

#[test]
fn a_data_directory_belongs_to_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path());
    let refused = Server::start(config(dir.path())).map(drop).unwrap_err();
    assert!(matches!(refused, StartError::Storage(_)), "{refused:?}");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop(kept);
    Kept::start(dir.path());
}

#[test]
fn a_damaged_log_is_not_served_from() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path());
    kept.connect("keeper").subscribe("#");
    kept.connect("publisher").publish("a", 100, 50);
    drop(kept);
    let checkpoint = dir.path().join("shard-0/checkpoint");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    bytes[4096 + 60] ^= 1;
    std::fs::write(&checkpoint, bytes).unwrap();
    let refused = Server::start(config(dir.path())).map(drop).unwrap_err();
    assert!(matches!(refused, StartError::Recovery(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("shard-0/checkpoint is damaged at offset ") && text.contains("\nhint: "), "{text}");
}

#[test]
fn a_server_in_memory_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.server.durability = Durability::Memory;
    let server = Server::start(config).unwrap();
    let address = server.listeners()[0].address.clone();
    Client::connect(&address, "keeper").subscribe("#");
    Client::connect(&address, "publisher").publish("a", 100, 50);
    assert!(server.recovery().is_none());
    drop(server);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
