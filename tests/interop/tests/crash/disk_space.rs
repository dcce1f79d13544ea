//! How much of the disk the broker takes, and what it does when there is no more.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tercet_interop::broker::new_directory;
use tercet_interop::small_disk::SmallDisk;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

const MIB: u64 = 1 << 20;
/// How long space may take to be given back.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a message.
const LARGE: usize = 64 << 10;

/// Bytes that are taken in a directory, and the segments in it.
fn usage(data: &Path) -> (u64, Vec<String>) {
    let mut bytes = 0;
    let mut segments = Vec::new();
    for entry in fs::read_dir(data.join("shard-0")).expect("the log's directory").map_while(Result::ok) {
        // Files come and go.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += metadata.len();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".seg") {
            segments.push(name);
        }
    }
    (bytes, segments)
}

/// Waits until `fits` likes what is taken.
fn await_usage(data: &Path, fits: impl Fn(u64, &[String]) -> bool) -> (u64, Vec<String>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (bytes, segments) = usage(data);
        if fits(bytes, &segments) || Instant::now() > end {
            return (bytes, segments);
        }
        sleep(Duration::from_millis(50));
    }
}

/// Publishes `count` large messages at QoS 1, eight at a time, each taken by `subscriber` before the next ones.
fn churn(publisher: &mut Wire, subscriber: &mut Wire, count: usize) {
    let publish = Publish::new("churn", vec![b'x'; LARGE]).qos(1);
    for _ in 0..count / 8 {
        let bytes = (1..9).flat_map(|id| publish.clone().id(id).encode(Version::V311));
        publisher.send(&bytes.collect::<Vec<_>>());
        for _ in 0..8 {
            subscriber.take_publish();
        }
        for _ in 0..8 {
            assert!(matches!(publisher.receive(), Packet::Puback(_)));
        }
    }
}

#[test]
fn after_everything_is_consumed_two_segments_are_left() {
    let directory = new_directory();
    let broker = Broker::durable(&directory, "");
    let data = broker.path("data");
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    subscriber.subscribe("churn", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    churn(&mut publisher, &mut subscriber, 640);
    let (bytes, segments) = await_usage(&data, |_, segments| segments.len() <= 2);
    assert!(segments.len() <= 2, "{bytes} bytes in {segments:?}");
    // So it is for the next life.
    drop((publisher, subscriber));
    broker.kill();
    let broker = Broker::durable(&directory, "");
    let (bytes, segments) = await_usage(&data, |_, segments| segments.len() <= 2);
    assert!(segments.len() <= 2, "{bytes} bytes in {segments:?} after a restart");
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    subscriber.ping();
}

#[test]
fn one_old_message_does_not_pin_the_disk() {
    let directory = new_directory();
    let mut broker = Broker::durable(&directory, "");
    let data = broker.path("data");
    for name in ["old", "older"] {
        Wire::connect(&broker, &Connect::v311(name).durable()).subscribe(name, 1);
    }
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    subscriber.subscribe("churn", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    publisher.publish(Publish::new("older", "kept for long").qos(1));
    let mut most = 0;
    for round in 0..8 {
        churn(&mut publisher, &mut subscriber, 1200);
        publisher.publish(Publish::new("old", round.to_string()).qos(1).retain());
        most = most.max(usage(&data).0);
        if round % 2 == 1 {
            // When the acknowledgements are on disk, and while space is being given back, most likely.
            sleep(Duration::from_millis(300));
            broker.kill();
            broker = Broker::durable(&directory, "");
            publisher = Wire::connect(&broker, &Connect::v311("p"));
            subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
        }
    }
    // 600 MiB have gone through, of which some hundred bytes are left: what may be there beyond that is twice the slack
    // of 64 MiB, a segment in use, a spare one, and what came while space was being given back.
    assert!(most <= (2 * 64 + 2 * 64 + 64) * MIB, "{} MiB at the most", most / MIB);
    // When nothing changes, all of it goes but what is in use.
    let (bytes, segments) = await_usage(&data, |bytes, _| bytes <= (2 * 64 + 1) * MIB);
    assert!(bytes <= (2 * 64 + 1) * MIB, "{} MiB in {segments:?}", bytes / MIB);
    drop((publisher, subscriber));
    broker.kill();
    let broker = Broker::durable(&directory, "");
    assert_eq!(Wire::connect(&broker, &Connect::v311("older").durable()).take().1, "kept for long");
    let mut old = Wire::connect(&broker, &Connect::v311("old").durable());
    for round in 0..8 {
        assert_eq!(old.take().1, round.to_string());
    }
    let mut reader = Wire::connect(&broker, &Connect::v311("r"));
    reader.subscribe("old", 1);
    assert_eq!(reader.take().1, "7");
}

const QUIET: &str = "[log]\nconnections = false\n";

fn numbered(n: usize) -> Publish {
    Publish::new("t", format!("{n:05}{}", "x".repeat(LARGE))).qos(1)
}

/// Publishes until there is no space, and returns how many messages were taken.
fn fill(publisher: &mut Wire) -> usize {
    for n in 0..1000 {
        match publisher.publish_ack(numbered(n)).unwrap().code {
            0 => {}
            0x97 => return n,
            code => panic!("{code:#04x}"),
        }
    }
    panic!("the disk has no end");
}

fn take_number(subscriber: &mut Wire) -> String {
    subscriber.take().1.chars().take(5).collect()
}

/// A broker with a full disk refuses what needs it, and nothing else; when there is space again, so is the service.
#[test]
fn a_full_disk_refuses_durable_messages_and_heals() {
    let Some(disk) = SmallDisk::new(24) else {
        eprintln!("not tested: a process may not mount a file system here");
        return;
    };
    let broker = disk.start(QUIET);
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut witness = Wire::connect(&broker, &Connect::v311("w"));
    witness.subscribe("transient", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let taken = fill(&mut publisher);
    // 3.1.1 has no way to refuse: there is no answer.
    let unanswered = Publish::new("t", "unanswered").qos(1).id(9);
    let mut other = Wire::connect(&broker, &Connect::v311("q"));
    other.send(&unanswered.encode(Version::V311));
    drop(other);
    // What needs no space goes on.
    for n in 0..10 {
        let mut transient = Wire::connect(&broker, &Connect::v5(&format!("c{n}")));
        transient.publish(Publish::new("transient", n.to_string()).qos(1));
        assert_eq!(witness.take().1, n.to_string());
    }
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..taken {
        assert_eq!(take_number(&mut subscriber), format!("{n:05}"));
    }
    // There is space again, and nobody has to be told.
    await_space(&mut publisher);
    // The message without an answer may have been read when there was space again.
    let mut repetitions = 0;
    let mut next = || loop {
        let text = take_number(&mut subscriber);
        if text != "unans" {
            return text;
        }
        repetitions += 1;
    };
    assert_eq!(next(), "00000");
    // What was never confirmed is repeated by a client that comes back.
    let mut other = Wire::connect(&broker, &Connect::v311("q"));
    other.send(&unanswered.dup().encode(Version::V311));
    assert!(matches!(other.receive(), Packet::Puback(ack) if ack.id == 9));
    for n in 0..100 {
        assert_eq!(publisher.publish(numbered(n)), 0);
        assert_eq!(next(), format!("{n:05}"));
    }
    assert!((1..=2).contains(&repetitions), "{repetitions}");
    broker.stop();
}

/// A broker that dies when its disk is full comes back on the full disk, and lets its clients make space.
#[test]
fn a_broker_starts_on_a_full_disk() {
    let Some(disk) = SmallDisk::new(24) else {
        eprintln!("not tested: a process may not mount a file system here");
        return;
    };
    let mut broker = disk.start(QUIET);
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let taken = fill(&mut Wire::connect(&broker, &Connect::v5("p")));
    for _ in 0..5 {
        broker.kill();
        broker = disk.start(QUIET);
    }
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..taken {
        assert_eq!(take_number(&mut subscriber), format!("{n:05}"));
    }
    await_space(&mut publisher);
    assert_eq!(take_number(&mut subscriber), "00000");
    broker.stop();
    let broker = disk.start(QUIET);
    Wire::connect(&broker, &Connect::v311("s").durable()).ping();
}

/// Publishes message 0 until it is taken.
fn await_space(publisher: &mut Wire) {
    let end = Instant::now() + PATIENCE;
    while publisher.publish(numbered(0)) == 0x97 {
        assert!(Instant::now() < end, "there is space, and durable messages are refused");
    }
}

/// The message that does not fit any more is as large as a message can be.
#[test]
fn a_disk_that_large_messages_fill_heals_as_well() {
    let Some(disk) = SmallDisk::new(24) else {
        eprintln!("not tested: a process may not mount a file system here");
        return;
    };
    let broker = disk.start(QUIET);
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let large = Publish::new("t", vec![b'x'; 1_000_000]).qos(1);
    let mut taken = 0;
    while publisher.publish(large.clone()) == 0 {
        taken += 1;
        assert!(taken < 30, "the disk has no end");
    }
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for _ in 0..taken {
        assert_eq!(subscriber.take().1.len(), 1_000_000);
    }
    await_space(&mut publisher);
    assert_eq!(take_number(&mut subscriber), "00000");
}
