//! What the broker asks of the operating system, seen by `strace`: confirmations follow the syncs that cover them, and
//! what need not survive is not written.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;
use tercet_interop::broker::new_directory;
use tercet_interop::trace::{self, Call};
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

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
        let directory = new_directory();
        Self { broker: Broker::traced(&directory, toml, CALLS), directory }
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
    let traced = Traced::start("[log]\nconnections = false\n");
    Wire::connect(&traced.broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&traced.broker, &Connect::v311("p"));
    for n in 0..MESSAGES {
        let publish = Publish::new("t", format!("marker-{n:03}.")).qos(1).id(id(n).0);
        publisher.send(&publish.encode(Version::V311));
        assert!(matches!(publisher.receive(), Packet::Puback(ack) if ack.id == id(n).0));
    }
    drop(publisher);
    let calls = traced.finish();
    for n in 0..MESSAGES {
        let marker = format!("marker-{n:03}.");
        let write = calls.iter().find(|call| call.writes_batch() && call.arguments.contains(&marker));
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
    let syncs = segment_syncs(&calls);
    assert!((MESSAGES..=MESSAGES + OTHER_SYNCS).contains(&syncs), "{syncs} syncs for {MESSAGES} messages");
}

#[test]
fn messages_that_wait_together_share_a_sync() {
    const WINDOW: usize = 50;
    const MESSAGES: usize = 600;
    let traced = Traced::start("[log]\nconnections = false\n");
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
    let traced = Traced::start("[log]\nconnections = false\n");
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
