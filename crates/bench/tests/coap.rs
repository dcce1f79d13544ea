//! The CoAP load against servers whose behaviour is known.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tercet_bench::coap::wire::{Datagram, Kind, code, empty};
use tercet_bench::engine::Interrupt;
use tercet_bench::floor;
use tercet_bench::mqtt::wire::Version;
use tercet_bench::peers::{Protocol, Server};
use tercet_bench::scenarios::{
    CoapBlocks, CoapFlood, CoapHandshakes, CoapRequests, Context, Method, Sample, Scenario,
};

const WORKS: &str = "loopback sockets work and the load is well-formed";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn context() -> Context {
    Context {
        version: Version::V311,
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        shrink: 100,
        interrupt: Interrupt::default(),
    }
}

/// A server in a thread of its own, ended on drop.
struct Running {
    addr: SocketAddr,
    interrupt: Interrupt,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn floor(protocol: Protocol) -> Self {
        let interrupt = Interrupt::default();
        let (tell, told) = mpsc::channel();
        let stop = interrupt.clone();
        let thread = thread::spawn(move || {
            let ready = |addr| tell.send(addr).expect(WORKS);
            match protocol {
                Protocol::Coaps => floor::serve_coaps(LOOPBACK, &stop, ready).expect(WORKS),
                _ => floor::serve_coap(LOOPBACK, &stop, ready).expect(WORKS),
            }
        });
        Running { addr: told.recv().expect(WORKS), interrupt, thread: Some(thread) }
    }

    /// Answers every fiftieth request with 4.04, and every seventh in a message of its own.
    fn careless() -> Self {
        let interrupt = Interrupt::default();
        let stop = interrupt.clone();
        let socket = UdpSocket::bind(LOOPBACK).expect(WORKS);
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect(WORKS);
        let addr = socket.local_addr().expect(WORKS);
        let thread = thread::spawn(move || {
            let mut requests = 0;
            let mut bytes = [0; 2048];
            while !stop.is_raised() {
                let Ok((length, peer)) = socket.recv_from(&mut bytes) else { continue };
                let request = Datagram::parse(&bytes[..length]).expect(WORKS);
                requests += 1;
                let head = 4 + request.token.len();
                let code = if requests % 50 == 0 { 0x84 } else { code::CHANGED };
                let separate = requests % 7 == 0;
                if separate {
                    socket.send_to(&empty(Kind::Acknowledgement, request.id), peer).expect(WORKS);
                }
                let mut answer = bytes[..head].to_vec();
                // A separate response is confirmable, as the request is, and has a Message ID of its own.
                answer[0] |= if separate { 0 } else { (Kind::Acknowledgement as u8) << 4 };
                answer[1] = code;
                answer[2] ^= if separate { 0x80 } else { 0 };
                if request.code != code::EMPTY {
                    socket.send_to(&answer, peer).expect(WORKS);
                }
            }
        });
        Running { addr, interrupt, thread: Some(thread) }
    }

    fn measure(&self, scenario: &dyn Scenario) -> Sample {
        scenario.run(&context(), &mut Server::attached(self.addr, None)).expect(WORKS)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.interrupt.raise();
        self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn a_good_server_answers_every_request_once() {
    for protocol in [Protocol::Coap, Protocol::Coaps] {
        let server = Running::floor(protocol);
        for method in [Method::Get, Method::Put] {
            let sample = server.measure(&CoapRequests { method, clients: 5, protocol });
            assert!(sample.clean && sample.count > 10, "{protocol:?} {method:?}: {sample:?}");
            assert!(sample.p99_us.is_some());
        }
    }
}

#[test]
fn handshakes_are_counted() {
    let server = Running::floor(Protocol::Coaps);
    let sample = server.measure(&CoapHandshakes { clients: 3 });
    assert!(sample.clean && sample.count > 3, "{sample:?}");
}

#[test]
fn wrong_answers_are_faults_and_separate_ones_are_not() {
    let server = Running::careless();
    let put = CoapRequests { method: Method::Put, clients: 3, protocol: Protocol::Coap };
    let sample = server.measure(&put);
    assert!(!sample.clean && sample.faults.refused > 0, "{sample:?}");
    let others = sample.faults.foreign + sample.faults.lost + sample.faults.duplicated;
    assert_eq!(others, 0, "{sample:?}");
    assert!(sample.closed_because.unwrap().contains("4.04"));
}

#[test]
fn a_server_that_keeps_nothing_does_not_pass_for_one_that_does() {
    let server = Running::floor(Protocol::Coap);
    let sample = server.measure(&CoapFlood { clients: 2 });
    assert!(sample.faults.refused > 0 && sample.count == 0, "{sample:?}");
    let direction = tercet_bench::coap::scripts::Direction::Read;
    let blocks =
        CoapBlocks { direction, clients: 2 }.run(&context(), &mut Server::attached(server.addr, None));
    assert!(blocks.is_ok_and(|sample| !sample.clean));
}
