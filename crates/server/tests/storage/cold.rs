//! More messages than may be in memory: they are on disk, and come when they are wanted.

use std::time::{Duration, Instant};

use tercet_server::Server;
use tercet_server::config::Size;

use crate::client::Client;

#[test]
fn a_backlog_larger_than_its_memory_is_on_disk_and_comes_back_complete() {
    const COUNT: usize = 5000;
    const SIZE: usize = 1000;
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut config = crate::config(dir.path());
        config.limits.message_memory = Size::from_kib(64);
        let server = Server::start(config).unwrap();
        let address = server.listeners()[0].address.clone();
        (server, address)
    };
    let (server, address) = start();
    for (client, filter) in [("alone", "t"), ("shares", "$share/g/t")] {
        Client::connect(&address, client).subscribe(filter);
    }
    Client::connect(&address, "publisher").publish("t", SIZE, COUNT);
    let vhost = &server.shared().vhost;
    assert_eq!(vhost.census().queued, 2 * COUNT);
    // The last ones go when the log has them and the queue is visited next.
    let deadline = Instant::now() + Duration::from_secs(30);
    while vhost.census().memory > 128 << 10 {
        assert!(Instant::now() < deadline, "{:?}", vhost.census());
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in ["alone", "shares"] {
        assert_eq!(Client::connect(&address, client).consume(COUNT / 2), COUNT / 2 * SIZE);
    }
    drop(server);

    let (server, address) = start();
    assert_eq!(server.shared().vhost.census().memory, 0, "found on disk, left there");
    for client in ["alone", "shares"] {
        assert_eq!(Client::connect(&address, client).consume(COUNT / 2), COUNT / 2 * SIZE);
    }
    assert_eq!(server.shared().vhost.metrics().totals().dropped_unreadable, 0);
}
