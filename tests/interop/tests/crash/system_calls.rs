//! What the broker asks of the operating system, seen by `strace`: confirmations follow the syncs that cover them, and
//! what need not survive is not written.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tercet_interop::broker::new_directory;
use tercet_interop::trace::{self, Call};
use tercet_interop::{Broker, Connect, Heard, Packet, Publish, Version, Wire};

use crate::queues_survive_random_kills::QUIET;

const CALLS: &str =
    "fdatasync,fsync,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,sendto,sendmsg";
/// Beyond the messages' own: claiming the log, the session, the subscription, a new segment.
const OTHER_SYNCS: usize = 12;

struct Traced {
    broker: Broker,
    directory: Arc<TempDir>,
}

impl Traced {
    fn start(toml: &str) -> Self {
        Self::faulty(toml, &[])
    }

    /// A broker to which some calls go wrong.
    fn faulty(toml: &str, injections: &[&str]) -> Self {
        let directory = new_directory();
        Self { broker: Broker::traced(&directory, toml, CALLS, injections), directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("trace")
    }

    fn calls(&self) -> Vec<Call> {
        trace::read(&self.file())
    }

    /// How often the log was written once nothing more is.
    fn settled_writes(&self) -> usize {
        let mut last = usize::MAX;
        loop {
            let now = self.calls().iter().filter(|call| call.is_on_segment() && !call.is_sync()).count();
            if now == last {
                return now;
            }
            last = now;
            sleep(Duration::from_millis(1500));
        }
    }

    /// Ends the broker and returns all calls.
    fn finish(self) -> Vec<Call> {
        let file = self.file();
        let directory = self.directory.clone();
        self.broker.stop();
        let calls = trace::read(&file);
        drop(directory);
        calls
    }
}

/// An identifier both bytes of which are letters, as `strace` prints them.
fn id(n: usize) -> (u16, String) {
    let bytes = [b'A' + (n / 26) as u8, b'a' + (n % 26) as u8];
    (u16::from_be_bytes(bytes), String::from_utf8_lossy(&bytes).into_owned())
}

fn segment_syncs(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.is_sync() && call.is_on_segment()).count()
}

#[test]
fn a_puback_follows_the_sync_that_covers_its_message() {
    const MESSAGES: usize = 100;
    let traced = Traced::start(QUIET);
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&traced.broker, &Connect::v311("p"));
    for n in 0..MESSAGES {
        let publish = Publish::new("t", format!("marker-{n:03}.")).qos(1).id(id(n).0);
        publisher.send(&publish.encode(Version::V311));
        assert!(matches!(publisher.receive(), Packet::Puback(ack) if ack.id == id(n).0));
    }
    drop(publisher);
    let calls = traced.finish();
    assert_confirmed_after_sync(&calls, MESSAGES);
    let syncs = segment_syncs(&calls);
    assert!((MESSAGES..=MESSAGES + OTHER_SYNCS).contains(&syncs), "{syncs} syncs for {MESSAGES} messages");
}

/// Each of the messages was written, then synced, then confirmed.
fn assert_confirmed_after_sync(calls: &[Call], count: usize) {
    for n in 0..count {
        let marker = format!("marker-{n:03}.");
        let is_write = |call: &&Call| {
            call.writes_batch() && call.arguments.contains(&marker) && !call.result.starts_with("-1")
        };
        // The last one counts: what a sync has failed for is written again.
        let write = calls.iter().rfind(is_write);
        let write = write.unwrap_or_else(|| panic!("{marker} was not written"));
        let puback = format!("\"@\\2{}\"", id(n).1);
        let puback = calls.iter().find(|call| call.sends() && call.arguments.contains(&puback));
        let puback = puback.unwrap_or_else(|| panic!("no confirmation of {marker}"));
        let covering = calls.iter().find(|call| {
            call.is_sync()
                && call.is_on_segment()
                && call.result == "0"
                && call.began > write.ended
                && call.ended < puback.began
        });
        assert!(covering.is_some(), "no sync between {write:?} and {puback:?}");
    }
}

#[test]
fn messages_that_wait_together_share_a_sync() {
    const WINDOW: usize = 50;
    const MESSAGES: usize = 600;
    let traced = Traced::start(QUIET);
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&traced.broker, &Connect::v311("p"));
    for window in 0..MESSAGES / WINDOW {
        let ids = window * WINDOW..(window + 1) * WINDOW;
        let publishes = ids.clone().map(|n| Publish::new("t", "x").qos(1).id(id(n).0).encode(Version::V311));
        publisher.send(&publishes.collect::<Vec<_>>().concat());
        for n in ids {
            assert!(matches!(publisher.receive(), Packet::Puback(ack) if ack.id == id(n).0));
        }
    }
    let syncs = segment_syncs(&traced.finish());
    // Each window at least once; a window may be read in a few pieces, each with a sync.
    let most = MESSAGES / 5 + OTHER_SYNCS;
    assert!((MESSAGES / WINDOW..=most).contains(&syncs), "{syncs} syncs");
}

#[test]
fn transient_traffic_never_touches_the_log() {
    let traced = Traced::start(QUIET);
    let broker = &traced.broker;
    // There is a durable session, which is served at QoS 0 and asked for something that does not come.
    let mut durable = Wire::connect(broker, &Connect::v5("durable").durable());
    durable.subscribe("transient/0", 0);
    durable.subscribe("durable", 1);
    let mut subscriber = Wire::connect(broker, &Connect::v5("s"));
    subscriber.subscribe("transient/#", 2);
    let mut member = Wire::connect(broker, &Connect::v5("m"));
    member.subscribe("$share/g/transient/#", 2);
    let mut publisher = Wire::connect(broker, &Connect::v5("p"));
    let before = traced.settled_writes();
    assert!(before > 0, "the durable session is in the log");
    for n in 0..100 {
        for qos in 0..3 {
            let publish = Publish::new(&format!("transient/{qos}"), n.to_string()).qos(qos);
            publisher.publish(publish);
            subscriber.take();
            member.take();
        }
    }
    // Sessions that live no longer than their connection leave nothing either.
    for n in 0..20 {
        let mut client = Wire::connect(broker, &Connect::v311(&format!("c{n}")));
        client.subscribe("transient/#", 1);
        client.disconnect();
    }
    for _ in 0..100 {
        durable.take();
    }
    let after = traced.settled_writes();
    let calls = traced.finish();
    let last = calls.iter().rfind(|call| call.is_on_segment() && !call.is_sync());
    assert_eq!(after, before, "writes to the log; the last was {last:?}");
}

#[test]
fn without_syncs_no_message_costs_one() {
    const MESSAGES: usize = 100;
    let traced = Traced::start("[server]\ndurability = \"os\"\n[log]\nconnections = false\n");
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&traced.broker, &Connect::v311("p"));
    for _ in 0..MESSAGES {
        publisher.publish(Publish::new("t", "x").qos(1));
    }
    let calls = traced.finish();
    let batches = calls.iter().filter(|call| call.writes_batch()).count();
    assert!(batches >= MESSAGES, "{batches} batches");
    let syncs = segment_syncs(&calls);
    assert!(syncs <= OTHER_SYNCS, "{syncs} syncs");
}

#[test]
fn in_memory_no_file_is_written() {
    let traced = Traced::start("[server]\ndurability = \"memory\"\n[log]\nconnections = false\n");
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&traced.broker, &Connect::v311("p"));
    for _ in 0..20 {
        publisher.publish(Publish::new("t", "x").qos(1).retain());
    }
    let data = traced.directory.path().join("data");
    let calls = traced.finish();
    let written = calls.iter().find(|call| call.is_below(&data));
    assert!(written.is_none(), "{written:?}");
    assert!(calls.iter().any(Call::sends), "the trace shows what happens");
}

/// Expects messages `0..count`, each confirmed by a broker that was killed since, in the queue of `s`.
fn assert_all_there(directory: &Arc<TempDir>, count: usize) {
    let broker = Broker::durable(directory, QUIET);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..count {
        assert_eq!(subscriber.take().1, format!("marker-{n:03}."));
    }
    subscriber.ping();
}

/// A sync or a write fails once: nothing is lost, nothing confirmed too early, and the file is not touched again.
#[test]
fn a_file_that_failed_is_not_used_again() {
    const MESSAGES: usize = 60;
    for fault in ["fdatasync:error=EIO:when=20", "pwrite64:error=EIO:when=20"] {
        let traced = Traced::faulty(QUIET, &[fault]);
        let directory = traced.directory.clone();
        Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
        let mut publisher = Wire::connect(&traced.broker, &Connect::v311("p"));
        for n in 0..MESSAGES {
            let publish = Publish::new("t", format!("marker-{n:03}.")).qos(1).id(id(n).0);
            publisher.send(&publish.encode(Version::V311));
            assert!(matches!(publisher.receive(), Packet::Puback(ack) if ack.id == id(n).0), "{fault}");
        }
        let file = traced.file();
        traced.broker.kill();
        let calls = trace::read(&file);
        let failed = calls.iter().position(|call| call.failed_with("EIO") && call.is_on_segment());
        let failed = failed.unwrap_or_else(|| panic!("{fault} did not happen"));
        let path = calls[failed].target();
        let again = calls[failed + 1..].iter().find(|call| call.target() == path);
        assert!(again.is_none(), "{fault}: {again:?}");
        assert_confirmed_after_sync(&calls, MESSAGES);
        assert_all_there(&directory, MESSAGES);
    }
}

/// The disk fails for good: durable messages are refused, everything else goes on, and what was confirmed is there when the
/// broker comes back on a disk that works.
#[test]
fn a_disk_that_fails_for_good_refuses_durable_messages_alone() {
    let traced = Traced::faulty(QUIET, &["fdatasync:error=EIO:when=20+"]);
    let directory = traced.directory.clone();
    let mut witness = Wire::connect(&traced.broker, &Connect::v311("w"));
    witness.subscribe("transient", 1);
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&traced.broker, &Connect::v5("p"));
    let mut confirmed = 0;
    loop {
        assert!(confirmed < 100, "the fault does not happen");
        let publish = Publish::new("t", format!("marker-{confirmed:03}.")).qos(1).id(9);
        publisher.send(&publish.encode(Version::V5));
        // The message that is caught by the failure has no answer; the next ones are refused.
        match publisher.hear(Duration::from_secs(3)) {
            Heard::Packet(Packet::Puback(ack)) if ack.code == 0 => confirmed += 1,
            Heard::Packet(Packet::Puback(ack)) if ack.code == 0x97 => break,
            Heard::Nothing => break,
            other => panic!("{other:?}"),
        }
    }
    for n in 0..20 {
        let mut client = Wire::connect(&traced.broker, &Connect::v5(&format!("c{n}")));
        client.publish(Publish::new("transient", n.to_string()).qos(1));
        assert_eq!(witness.take().1, n.to_string());
    }
    let mut other = Wire::connect(&traced.broker, &Connect::v5("q"));
    assert_eq!(other.publish_ack(Publish::new("t", "refused").qos(1)).unwrap().code, 0x97);
    traced.broker.kill();
    let broker = Broker::durable(&directory, QUIET);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..confirmed {
        assert_eq!(subscriber.take().1, format!("marker-{n:03}."));
    }
    // The one that was caught may be there as well; the refused one is not.
    Wire::connect(&broker, &Connect::v5("p")).publish(Publish::new("t", "last").qos(1));
    let next = subscriber.take().1;
    assert!(
        next == "last" || next == format!("marker-{confirmed:03}.") && subscriber.take().1 == "last",
        "{next}"
    );
}

/// A sync that takes long holds up those who wait for it, and nobody else.
#[test]
fn a_slow_disk_slows_durable_messages_alone() {
    let traced = Traced::faulty(QUIET, &["fdatasync:delay_enter=2000000:when=12+"]);
    let mut witness = Wire::connect(&traced.broker, &Connect::v311("w"));
    witness.subscribe("transient", 1);
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publishers: Vec<Wire> =
        (0..10).map(|n| Wire::connect(&traced.broker, &Connect::v311(&format!("p{n}")))).collect();
    // Up to the first sync that is slow.
    let slow = loop {
        publishers[0].send(&Publish::new("t", "x").qos(1).encode(Version::V311));
        match publishers[0].hear(Duration::from_secs(1)) {
            Heard::Packet(Packet::Puback(_)) => {}
            Heard::Nothing => break Instant::now(),
            other => panic!("{other:?}"),
        }
    };
    for publisher in &mut publishers[1..] {
        publisher.send(&Publish::new("t", "x").qos(1).encode(Version::V311));
    }
    let mut transient = Wire::connect(&traced.broker, &Connect::v311("c"));
    let mut rounds = 0;
    while slow.elapsed() < Duration::from_millis(500) {
        transient.publish(Publish::new("transient", "x").qos(1));
        witness.take();
        rounds += 1;
    }
    assert!(rounds > 0, "transient messages wait for the disk");
    for publisher in &mut publishers {
        assert!(matches!(publisher.receive(), Packet::Puback(_)));
    }
    let calls = traced.finish();
    let slow = calls.iter().filter(|call| call.is_on_segment() && call.result.contains("DELAYED")).count();
    // That of the first, and one for all the others; then what the end of the broker needs.
    assert!((2..=6).contains(&slow), "{slow} slow syncs");
}
