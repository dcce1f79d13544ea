//! The load engine against servers whose behaviour is known.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tercet_bench::driver::Session;
use tercet_bench::engine::{EventLoop, Handler, Interrupt, LinkId, Outboxes};
use tercet_bench::floor;
use tercet_bench::mqtt::wire::{self, Qos, Version, kind};
use tercet_bench::peers::{Floor, Mosquitto, Peer, Protocol, Server, Storage};
use tercet_bench::report;
use tercet_bench::scenarios::{Backlog, Context, Durable, FanIn, FanOut, Latency, Pipe, Scenario, Suite};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn context() -> Context {
    Context {
        version: Version::V311,
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        shrink: 1,
        interrupt: Interrupt::default(),
    }
}

/// Runs `serve` in a thread while `with` talks to the address it announces; ends it afterwards.
fn beside<T>(
    serve: impl FnOnce(Interrupt, mpsc::Sender<SocketAddr>) + Send,
    with: impl FnOnce(SocketAddr) -> T,
) -> T {
    let interrupt = Interrupt::default();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let stop = interrupt.clone();
        scope.spawn(move || serve(stop, sender));
        let _ends = RaiseOnDrop(interrupt);
        with(receiver.recv().expect("the server announces its address"))
    })
}

/// Ends the server also when the test fails, as the scope waits for its thread.
struct RaiseOnDrop(Interrupt);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

#[test]
fn messages_through_the_floor_program_arrive_once_and_in_order() {
    use Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    let mut scenarios: Vec<Box<dyn Scenario>> = Vec::new();
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        scenarios.push(Box::new(Pipe { pairs: 3, qos, size: 64, window: 50 }));
    }
    scenarios.push(Box::new(Pipe { pairs: 1, qos: AtLeastOnce, size: 300_000, window: 4 }));
    scenarios.push(Box::new(FanIn { publishers: 10, qos: AtLeastOnce, size: 64, window: 20 }));
    scenarios.push(Box::new(FanOut { subscribers: 20, qos: AtMostOnce, size: 64, window: 4 }));
    scenarios.push(Box::new(Latency { qos: AtLeastOnce, size: 64, rate: 5000 }));
    let serve = |stop: Interrupt, ready: mpsc::Sender<SocketAddr>| {
        floor::serve(LOOPBACK, &stop, |addr| ready.send(addr).unwrap()).unwrap();
    };
    for scenario in scenarios {
        let sample = beside(serve, |addr| {
            scenario.run(&context(), &mut Server::attached(addr, Some(std::process::id()))).unwrap()
        });
        assert_eq!(sample.faults.describe(), "clean", "{}", scenario.name());
        assert!(sample.count > 0, "{}", scenario.name());
        assert!(sample.per_cpu_second.unwrap() > 0.0 && sample.p99_us.unwrap() > 0.0);
    }
}

#[test]
fn a_session_runs_a_child_server_in_every_round_and_reports_it() {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_tercet-bench"));
    let peers: Vec<Box<dyn Peer>> = vec![Box::new(Floor::of(binary))];
    let pipe = Pipe { pairs: 1, qos: Qos::AtMostOnce, size: 64, window: 50 };
    let session = Session {
        rounds: 2,
        warm_up: Duration::from_millis(10),
        measured: Duration::from_millis(50),
        shrink: 1,
        version: Version::V311,
        data: std::env::temp_dir(),
        command: "tercet-bench run".to_owned(),
        open_files: 1024,
        interrupt: Interrupt::default(),
    };
    let mut heard = 0;
    let results = session.run(&[Box::new(pipe)], &peers, |_| heard += 1);
    assert_eq!((results.runs.len(), heard), (2, 2));
    assert!(results.runs.iter().all(|run| run.sample.as_ref().is_some_and(|s| s.clean && s.rate > 0.0)));
    let json = serde_json::to_string(&results).unwrap();
    let back: report::Results = serde_json::from_str(&json).unwrap();
    assert_eq!(report::tables(&back), report::tables(&results));
    assert!(report::tables(&results).contains("2/2"));
}

#[test]
fn publishers_of_a_durable_scenario_time_their_confirmations() {
    let serve = |stop: Interrupt, ready: mpsc::Sender<SocketAddr>| {
        floor::serve(LOOPBACK, &stop, |addr| ready.send(addr).unwrap()).unwrap();
    };
    let durable = Durable { publishers: 4, window: 8, size: 100 };
    let sample = beside(serve, |addr| durable.run(&context(), &mut Server::attached(addr, None)).unwrap());
    assert_eq!(sample.faults.describe(), "clean");
    assert!(sample.confirm_p50_us.unwrap() > 0.0);
    assert!(sample.confirm_p99_us >= sample.confirm_p50_us);
}

#[test]
fn a_server_is_killed_stopped_and_started_again() {
    let floor = Floor::of(PathBuf::from(env!("CARGO_BIN_EXE_tercet-bench")));
    let mut server = floor.start(Protocol::Mqtt, Storage::Memory).unwrap();
    let pipe = Pipe { pairs: 1, qos: Qos::AtLeastOnce, size: 64, window: 4 };
    server.restart().expect_err("it runs");
    server.kill();
    assert_eq!(server.usage(), None);
    server.restart().unwrap();
    assert!(pipe.run(&context(), &mut server).unwrap().clean);
    server.terminate().unwrap();
    server.restart().unwrap();
    assert!(pipe.run(&context(), &mut server).unwrap().clean && server.usage().is_some());
}

#[test]
fn a_backlog_outlives_what_its_server_promises_to_survive() {
    let data = std::env::temp_dir().join(format!("tercet-bench-smoke-{}", std::process::id()));
    let backlog = Backlog { messages: 4000, size: 100, suite: Suite::Long };
    let mut server = Mosquitto.start(Protocol::Mqtt, Storage::Disk(&data)).unwrap();
    let sample = backlog.run(&context(), &mut server).unwrap();
    assert_eq!((sample.faults.describe().as_str(), sample.count), ("clean", 4000));
    assert!(sample.extra["ready_after_stop_s"] > 0.0 && sample.extra["disk_drained_mib"] > 0.0);
    drop(server);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    std::fs::remove_dir(&data).unwrap();
}

/// Forwards to the first subscriber, some messages twice and some after their successor.
#[derive(Default)]
struct Careless {
    subscriber: Option<LinkId>,
    forwarded: u64,
    held: Option<Vec<u8>>,
}

impl Handler for Careless {
    fn opened(&mut self, _: LinkId, _: &mut Outboxes) {}

    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String> {
        let mut at = 0;
        while let Some(frame) = wire::frame(&bytes[at..]).map_err(|error| error.to_string())? {
            let packet = &bytes[at..at + frame.total];
            match frame.kind() {
                kind::CONNECT => out.buffer(link).extend_from_slice(&[0x20, 2, 0, 0]),
                kind::SUBSCRIBE => {
                    self.subscriber = Some(link);
                    out.buffer(link).extend_from_slice(&[0x90, 3, frame.body[0], frame.body[1], 0]);
                }
                _ => {
                    let buffer = out.buffer(self.subscriber.expect("subscribed before it publishes"));
                    self.forwarded += 1;
                    if self.forwarded % 16 == 7 {
                        self.held = Some(packet.to_vec());
                    } else {
                        buffer.extend_from_slice(packet);
                        buffer.extend_from_slice(&self.held.take().unwrap_or_default());
                    }
                    if self.forwarded % 16 == 12 {
                        buffer.extend_from_slice(packet);
                    }
                }
            }
            at += frame.total;
        }
        Ok(at)
    }

    fn closed(&mut self, _: LinkId, _: &str, _: &mut Outboxes) {}

    fn turn_end(&mut self, out: &mut Outboxes) {
        if let (Some(subscriber), Some(held)) = (self.subscriber, self.held.take()) {
            out.buffer(subscriber).extend_from_slice(&held);
        }
    }
}

#[test]
fn a_server_that_repeats_and_reorders_is_not_clean() {
    let serve = |stop: Interrupt, ready: mpsc::Sender<SocketAddr>| {
        let mut events = EventLoop::new().unwrap();
        ready.send(events.listen(LOOPBACK).unwrap()).unwrap();
        let mut server = Careless::default();
        while !stop.is_raised() {
            events.turn(Some(Duration::from_millis(20)), &mut server).unwrap();
        }
    };
    let pipe = Pipe { pairs: 1, qos: Qos::AtMostOnce, size: 64, window: 64 };
    let sample = beside(serve, |addr| pipe.run(&context(), &mut Server::attached(addr, None)).unwrap());
    assert!(!sample.clean);
    assert!(sample.faults.duplicated > 0 && sample.faults.reordered > 0, "{}", sample.faults.describe());
    assert_eq!(sample.faults.lost, 0);
    assert_eq!(sample.per_cpu_second, None);
}
