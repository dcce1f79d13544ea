//! The AMQP load against a server whose behaviour is known.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tercet_bench::amqp::Cycle;
use tercet_bench::amqp::wire::{self, Fields, kind, method};
use tercet_bench::engine::{EventLoop, Handler, Interrupt, LinkId, Outboxes};
use tercet_bench::mqtt::wire::Version;
use tercet_bench::peers::Server;
use tercet_bench::scenarios::{
    AmqpChurn, AmqpConfirmed, AmqpIdleConnections, AmqpIdleQueues, AmqpPipe, AmqpQueues, Context, Sample,
    Scenario, Suite,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const WELL_FORMED: &str = "the load generator is well-behaved";

fn context() -> Context {
    Context {
        version: Version::V311,
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        shrink: 100,
        interrupt: Interrupt::default(),
    }
}

/// How well the server does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Everything once and in order.
    Good,
    /// Some messages twice, some after their successor.
    Careless,
    /// Some messages confirmed twice, some refused.
    Confused,
    /// Delivery tags with holes.
    Miscounting,
}

/// Queues are names of consumers; what nobody consumes is dropped.
struct Broker {
    care: Care,
    /// Link, channel and next delivery tag of each queue's consumer.
    consumers: HashMap<Vec<u8>, (LinkId, u16, u64)>,
    /// Published messages of each channel in confirm mode.
    confirming: HashMap<(LinkId, u16), u64>,
    /// The queue, the header and the confirm number of the message that is coming on a channel.
    coming: HashMap<(LinkId, u16), (Vec<u8>, Vec<u8>)>,
    forwarded: u64,
    held: Option<(Vec<u8>, Vec<u8>, Vec<u8>)>,
}

impl Broker {
    fn new(care: Care) -> Self {
        let (consumers, confirming, coming) = (HashMap::new(), HashMap::new(), HashMap::new());
        Broker { care, consumers, confirming, coming, forwarded: 0, held: None }
    }

    fn method(&mut self, link: LinkId, channel: u16, payload: &[u8], out: &mut Outboxes) {
        let mut fields = Fields(payload);
        let id = fields.u32().expect(WELL_FORMED);
        let arguments: &[u8] = match id {
            method::CONNECTION_START_OK => {
                return send(out, link, 0, kind::METHOD, b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c");
            }
            method::CONNECTION_TUNE_OK | method::BASIC_ACK => return,
            method::BASIC_PUBLISH => {
                fields.u16().expect(WELL_FORMED);
                fields.short_string().expect(WELL_FORMED);
                let queue = fields.short_string().expect(WELL_FORMED).to_vec();
                self.coming.insert((link, channel), (queue, Vec::new()));
                return;
            }
            method::BASIC_CONSUME => {
                fields.u16().expect(WELL_FORMED);
                let queue = fields.short_string().expect(WELL_FORMED).to_vec();
                self.consumers.insert(queue, (link, channel, 0));
                b"\x01c"
            }
            method::CONFIRM_SELECT => {
                self.confirming.insert((link, channel), 0);
                b""
            }
            method::CHANNEL_OPEN => b"\0\0\0\0",
            method::CONNECTION_OPEN => b"\0",
            method::QUEUE_DECLARE => b"\x01q\0\0\0\0\0\0\0\0",
            method::QUEUE_DELETE => b"\0\0\0\0",
            _ => b"",
        };
        let answer = [&(id + 1).to_be_bytes()[..], arguments].concat();
        send(out, link, channel, kind::METHOD, &answer);
    }

    fn body(&mut self, link: LinkId, channel: u16, body: &[u8], out: &mut Outboxes) {
        let (queue, header) = self.coming.remove(&(link, channel)).expect(WELL_FORMED);
        self.forwarded += 1;
        let turn = self.forwarded % 16;
        if let Some(number) = self.confirming.get_mut(&(link, channel)) {
            *number += 1;
            let ack: &[u8] =
                if self.care == Care::Confused && turn == 3 { b"\0\x3c\0\x78" } else { b"\0\x3c\0\x50" };
            let ack = [ack, &number.to_be_bytes(), &[0]].concat();
            for _ in 0..if self.care == Care::Confused && turn == 9 { 2 } else { 1 } {
                send(out, link, channel, kind::METHOD, &ack);
            }
        }
        if self.care == Care::Careless && turn == 7 {
            self.held = Some((queue, header, body.to_vec()));
            return;
        }
        for _ in 0..if self.care == Care::Careless && turn == 12 { 2 } else { 1 } {
            self.deliver(&queue, &header, body, out);
        }
        self.release(out);
    }

    fn release(&mut self, out: &mut Outboxes) {
        if let Some((queue, header, body)) = self.held.take() {
            self.deliver(&queue, &header, &body, out);
        }
    }

    fn deliver(&mut self, queue: &[u8], header: &[u8], body: &[u8], out: &mut Outboxes) {
        let Some((link, channel, tag)) = self.consumers.get_mut(queue) else { return };
        *tag += if self.care == Care::Miscounting && self.forwarded % 16 == 5 { 2 } else { 1 };
        let deliver = [b"\0\x3c\0\x3c\x01c", &tag.to_be_bytes()[..], b"\0\0\x01k"].concat();
        send(out, *link, *channel, kind::METHOD, &deliver);
        send(out, *link, *channel, kind::HEADER, header);
        // A body may come in any number of frames.
        let (one, other) = body.split_at(if self.forwarded.is_multiple_of(3) { body.len() / 2 } else { 0 });
        for part in [one, other].into_iter().filter(|part| !part.is_empty()) {
            send(out, *link, *channel, kind::BODY, part);
        }
    }
}

fn send(out: &mut Outboxes, link: LinkId, channel: u16, kind: u8, payload: &[u8]) {
    let buffer = out.buffer(link);
    buffer.push(kind);
    buffer.extend_from_slice(&channel.to_be_bytes());
    buffer.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    buffer.extend_from_slice(payload);
    buffer.push(0xCE);
}

impl Handler for Broker {
    fn opened(&mut self, _: LinkId, _: &mut Outboxes) {}

    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String> {
        let mut at = 0;
        if bytes.starts_with(b"AMQP") {
            assert_eq!(bytes[..8], wire::PROTOCOL_HEADER);
            send(out, link, 0, kind::METHOD, b"\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US");
            at = 8;
        }
        while let Some(frame) = wire::frame(&bytes[at..]).map_err(|error| error.to_string())? {
            at += frame.total;
            match frame.kind {
                kind::METHOD => self.method(link, frame.channel, frame.payload, out),
                kind::HEADER => {
                    self.coming.get_mut(&(link, frame.channel)).expect(WELL_FORMED).1 =
                        frame.payload.to_vec();
                }
                kind::BODY => self.body(link, frame.channel, frame.payload, out),
                other => return Err(format!("frame of type {other}")),
            }
        }
        Ok(at)
    }

    fn closed(&mut self, _: LinkId, _: &str, _: &mut Outboxes) {}

    fn turn_end(&mut self, out: &mut Outboxes) {
        self.release(out);
    }
}

/// Runs a scenario against such a server.
fn run(scenario: &dyn Scenario, care: Care) -> Sample {
    let interrupt = Interrupt::default();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let stop = interrupt.clone();
        scope.spawn(move || {
            let mut events = EventLoop::new().expect("an event loop");
            sender.send(events.listen(LOOPBACK).expect("a free port")).expect("the test waits");
            let mut broker = Broker::new(care);
            while !stop.is_raised() {
                events.turn(Some(Duration::from_millis(20)), &mut broker).expect("the server goes on");
            }
        });
        let _ends = RaiseOnDrop(interrupt);
        let addr = receiver.recv().expect("the server announces its address");
        scenario
            .run(&context(), &mut Server::attached(addr, Some(std::process::id())))
            .expect("the run is carried through")
    })
}

/// Ends the server also when the test fails, as the scope waits for its thread.
struct RaiseOnDrop(Interrupt);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

fn pipe(size: usize) -> AmqpPipe {
    AmqpPipe { size, window: 64, direct: false }
}

const CONFIRMED: AmqpConfirmed = AmqpConfirmed { window: 50, prefetch: 100, every: 10, size: 256 };

#[test]
fn messages_through_a_good_server_arrive_once_and_in_order() {
    let queues = AmqpQueues { queues: 50, rate_of_each: 20, size: 64, durable: true };
    for scenario in [&pipe(16) as &dyn Scenario, &pipe(1024), &pipe(100_000), &CONFIRMED, &queues] {
        let sample = run(scenario, Care::Good);
        assert_eq!(sample.faults.describe(), "clean", "{}", scenario.name());
        assert!(sample.count > 0 && sample.p99_us.unwrap() > 0.0, "{}", scenario.name());
    }
    assert!(run(&CONFIRMED, Care::Good).confirm_p50_us.unwrap() > 0.0);
}

#[test]
fn what_is_opened_and_closed_is_counted() {
    for cycle in [Cycle::Connection, Cycle::Channel, Cycle::Queue { durable: true }] {
        let sample = run(&AmqpChurn { cycle, suite: Suite::Default }, Care::Good);
        assert!(sample.clean && sample.count > 0, "{cycle:?}");
    }
    let idle = run(&AmqpIdleConnections { connections: 2000, at_once: 8 }, Care::Good);
    assert!(idle.clean);
    assert_eq!((idle.count, idle.extra["connections"]), (20, 20.0));
    let queues = run(&AmqpIdleQueues { queues: 5000 }, Care::Good);
    assert!(queues.clean);
    assert_eq!(queues.count, 50);
}

#[test]
fn a_server_that_repeats_and_reorders_is_not_clean() {
    for size in [16, 64] {
        let faults = run(&pipe(size), Care::Careless).faults;
        assert!(faults.duplicated > 0 && faults.reordered > 0, "{}", faults.describe());
        assert_eq!((faults.lost, faults.foreign), (0, 0));
    }
}

#[test]
fn wrong_confirmations_and_tags_are_noticed() {
    let faults = run(&CONFIRMED, Care::Confused).faults;
    assert!(faults.misacked > 0 && faults.refused > 0, "{}", faults.describe());
    let faults = run(&pipe(64), Care::Miscounting).faults;
    assert!(faults.misacked > 0 && faults.lost == 0, "{}", faults.describe());
}
