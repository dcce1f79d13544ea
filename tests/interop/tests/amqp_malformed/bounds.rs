//! What connections can make the broker hold.

use std::time::{Duration, Instant};

use tercet_interop::Broker;
use tercet_interop::memory::anonymous;

use crate::wire::{Wire, frame, header, method, publish};

#[test]
fn an_idle_connection_with_a_channel_takes_at_most_8_kib() {
    const COUNT: u64 = 2000;
    let broker = Broker::configured("[log]\nconnections = false\n");
    let address = broker.address("amqp");
    // What every first connection needs.
    let _first: Vec<Wire> = (0..50).map(|_| Wire::with_channel(address)).collect();
    let before = anonymous(broker.pid());
    let _wires: Vec<Wire> = (0..COUNT).map(|_| Wire::with_channel(address)).collect();
    let each = (anonymous(broker.pid()) - before) / COUNT;
    eprintln!("{each} bytes of anonymous memory for each connection");
    assert!(each <= 8192, "{each} bytes each");
}

#[test]
fn a_message_that_does_not_come_takes_no_memory() {
    let broker = Broker::configured("[log]\nconnections = false\n");
    let address = broker.address("amqp");
    let mut wire = Wire::with_channel(address);
    let before = anonymous(broker.pid());
    for channel in 2..=500 {
        wire.send(&method(channel, 20, 10, &[0]));
        wire.expect(20, 11);
        wire.send(&[publish(channel, "", "k"), header(channel, 60, 16 << 20, &[0, 0])].concat());
        wire.send(&frame(3, channel, b"a little"));
    }
    // An answer on the first channel says that all of it was read.
    wire.send(&method(1, 60, 10, &[0, 0, 0, 0, 0, 1, 0]));
    wire.expect(60, 11);
    let grown = anonymous(broker.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes for what was only announced");
}

#[test]
fn unfinished_messages_of_a_connection_have_a_bound() {
    let broker = Broker::configured("[log]\nconnections = false\n");
    let mut wire = Wire::with_channel(broker.address("amqp"));
    let part = frame(3, 1, &vec![0; 131_000]);
    for channel in 2..=12u16 {
        wire.send(&method(channel, 20, 10, &[0]));
        wire.expect(20, 11);
        wire.send(&[publish(channel, "", "k"), header(channel, 60, 16 << 20, &[0, 0])].concat());
        let part = [&[3], &channel.to_be_bytes()[..], &part[3..]].concat();
        for _ in 0..125 {
            wire.send(&part);
        }
        if channel >= 10 {
            // More than 8 times 16 MiB are there, which is too many.
            let end = Instant::now() + Duration::from_secs(20);
            while let Some(frame) = wire.next() {
                assert!(Instant::now() < end);
                if let Some(close) = frame.close() {
                    assert_eq!(close.0, 506, "{frame:?}");
                    return;
                }
            }
        }
    }
    panic!("nothing was refused");
}
