//! A reactor above a log whose watermark moves when told. That something has not been said yet is shown by what comes after:
//! PINGRESP waits for nothing.

mod coap;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mio::Poll;
use parking_lot::Mutex;
use tercet_broker::clock::Now;
use tercet_broker::hosts::Hosts;
use tercet_broker::journal::{Admission, Journal, Position};
use tercet_broker::limits::Limits;
use tercet_broker::metrics::Metrics;
use tercet_broker::permission::Permissions;
use tercet_broker::record::{QueueRecord, Record, SessionRecord};

use crate::auth::{AuthSettings, Authenticator};
use crate::coap::node::{DatagramDoor, Node};
use crate::coap::settings::CoapShared;
use crate::config::Config;
use crate::event_log::EventLog;
use crate::http::health::Health;
use crate::listeners::Doors;
use crate::memory::Memory;
use crate::metrics::snapshot::CensusTaker;
use crate::reactor::acceptor::Acceptor;
use crate::reactor::event_loop::Reactor;
use crate::reactor::inbox::{Command, Inbox};
use crate::shared::Shared;

/// Longest wait for anything; reaching it fails the test.
const LONG: Duration = Duration::from_secs(20);

/// A log that is durable as far as it is told, and takes work as it is told.
#[derive(Default)]
struct HeldJournal {
    /// What was staged, in words.
    staged: Mutex<Vec<String>>,
    durable: AtomicU64,
    admission: AtomicU8,
    flushed: AtomicU64,
}

impl HeldJournal {
    fn enqueued(&self) -> usize {
        self.staged.lock().iter().filter(|record| *record == "enqueued").count()
    }
}

impl Journal for HeldJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        let enqueued =
            matches!(record, Record::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { .. })));
        let mut staged = self.staged.lock();
        staged.push(if enqueued { "enqueued".to_owned() } else { format!("{:?}", record.kind()) });
        Position::new(staged.len() as u64)
    }

    fn staged(&self) -> Position {
        Position::new(self.staged.lock().len() as u64)
    }

    fn durable(&self) -> Position {
        Position::new(self.durable.load(SeqCst))
    }

    fn flush(&self) {
        self.flushed.store(self.staged.lock().len() as u64, SeqCst);
    }

    fn admission(&self) -> Admission {
        [Admission::Open, Admission::Busy, Admission::Full, Admission::Failed]
            [usize::from(self.admission.load(SeqCst))]
    }
}

/// One reactor with its listener.
struct Broker {
    journal: Arc<HeldJournal>,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    address: String,
    /// Where it speaks CoAP.
    coap: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    fn start() -> Self {
        let config = Config::on_free_ports();
        let mut doors = Doors::open(&config, 1).unwrap();
        let address = doors.listeners[0].address.clone();
        let journal = Arc::new(HeldJournal::default());
        let recorder = Arc::clone(&journal) as Arc<dyn Journal>;
        let metrics = Arc::new(Metrics::default());
        let permissions = Permissions::allow_all();
        let events = Arc::new(EventLog);
        let hosts = Hosts::recording_to(Limits::default(), permissions, Some(recorder), events, metrics);
        let poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(&poll, Reactor::inbox_token()).unwrap());
        let coap = CoapShared::new(&config, hosts.definitions(), crate::coap::oscore::Contexts::default());
        let shared = Arc::new(Shared {
            coap,
            vhost: Arc::clone(hosts.default_host()),
            hosts: Arc::new(hosts),
            amqp: crate::amqp::AmqpShared::default(),
            authenticator: Authenticator::new(None, AuthSettings::default()).unwrap(),
            reactors: vec![Arc::clone(&inbox)],
            memory: Memory::new(u64::MAX),
            listeners: Vec::new(),
            census: CensusTaker::default(),
            sys_interval: ArcSwap::from_pointee(None),
            health: Health::starting(),
            storage: None,
        });
        let acceptor = Acceptor::new(doors.streams, vec![Arc::clone(&inbox)], 100, None, Instant::now());
        let door = doors.datagrams.pop().map(|mut bound| DatagramDoor {
            socket: bound.sockets.remove(0),
            groups: Vec::new(),
            settings: bound.settings,
        });
        let coap = door.as_ref().map(|door| door.socket.address).unwrap();
        let node = Node::new(door.into_iter().collect(), &shared, Now::read()).unwrap();
        let reactor =
            Reactor::new(0, poll, Arc::clone(&inbox), Arc::clone(&shared), Some(acceptor), node).unwrap();
        let thread = Some(thread::spawn(move || reactor.run()));
        Self { journal, inbox, shared, address, coap, thread }
    }

    /// Everything that was flushed so far is durable.
    fn sync(&self) {
        self.journal.durable.store(self.journal.flushed.load(SeqCst), SeqCst);
        self.inbox.log_moved(self.journal.durable());
    }

    /// Whether the log takes work.
    fn admit(&self, admission: Admission) {
        self.journal.admission.store(admission as u8, SeqCst);
        self.inbox.log_moved(self.journal.durable());
    }

    /// Waits until everything that was staged is flushed, and the watermark is at the end.
    fn sync_until(&self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LONG;
        while !done(self) {
            assert!(Instant::now() < end, "it does not come");
            self.sync();
            thread::yield_now();
        }
    }

    fn connect(&self, id: u8, version: u8, clean: bool) -> Client {
        let mut client = self.open();
        client.send(&connect(id, version, clean));
        self.sync_until(|_| client.has_input());
        client.expect(&if version == 5 { client.connack_v5() } else { vec![0x20, 2, 0, 0] });
        client
    }

    /// Connects a client without a durable session; nothing becomes durable meanwhile.
    fn connect_while_held(&self, id: u8) -> Client {
        let mut client = self.open();
        client.send(&connect(id, 4, true));
        client.expect(&[0x20, 2, 0, 0]);
        client
    }

    /// A connection that nothing was sent on.
    fn open(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Client { stream }
    }

    fn subscribe(&self, client: &mut Client, topic: u8, v5: bool) {
        client.send(&subscribe(topic, v5));
        self.sync_until(|_| client.has_input());
        client.expect(if v5 { &[0x90, 4, 0, 9, 0, 1] } else { &[0x90, 3, 0, 9, 1] });
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.inbox.send(Command::Stop);
        self.thread.take().unwrap().join().unwrap();
    }
}

struct Client {
    stream: TcpStream,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next bytes are these.
    fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.stream.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    }

    /// Nothing has come before the answer to a ping, which everything that was sent before has passed.
    fn expect_nothing(&mut self) {
        self.send(&[0xC0, 0]);
        self.expect(&[0xD0, 0]);
    }

    fn has_input(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let seen = match self.stream.peek(&mut [0]) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        seen
    }

    /// The whole CONNACK that comes next, which has to be one that lets the client in.
    fn connack_v5(&self) -> Vec<u8> {
        let mut packet = [0; 256];
        let count = self.stream.peek(&mut packet).unwrap();
        let length = usize::from(packet[1]) + 2;
        assert!(count >= length && packet[0] == 0x20 && packet[3] == 0, "{:?}", &packet[..count]);
        packet[..length].to_vec()
    }
}

fn connect(id: u8, version: u8, clean: bool) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', version, if clean { 2 } else { 0 }, 0, 0];
    if version == 5 {
        // Session Expiry Interval.
        body.extend(if clean { &[0][..] } else { &[5, 17, 0, 0, 1, 0] });
    }
    body.extend([0, 1, id]);
    packet(0x10, &body)
}

fn subscribe(topic: u8, v5: bool) -> Vec<u8> {
    let mut body = vec![0, 9];
    body.extend(v5.then_some(0));
    body.extend([0, 1, topic, 1]);
    packet(0x82, &body)
}

fn publish(topic: u8, qos: u8, id: u8, v5: bool) -> Vec<u8> {
    let mut body = vec![0, 1, topic];
    if qos > 0 {
        body.extend([0, id]);
    }
    body.extend(v5.then_some(0));
    body.push(b'x');
    packet(0x30 | qos << 1, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8], body].concat()
}

/// A reader with a durable session on topic `d`, and one without on topic `c`.
fn readers(broker: &Broker) -> (Client, Client) {
    let mut durable = broker.connect(b'D', 4, false);
    broker.subscribe(&mut durable, b'd', false);
    let mut clean = broker.connect(b'C', 4, true);
    broker.subscribe(&mut clean, b'c', false);
    (durable, clean)
}

#[test]
fn deliveries_and_answers_come_when_the_log_has_moved_and_in_order() {
    let broker = Broker::start();
    let (mut durable, mut clean) = readers(&broker);
    let mut writer = broker.connect(b'W', 4, true);
    writer
        .send(&[publish(b'd', 1, 1, false), publish(b'c', 1, 2, false), publish(b'd', 2, 3, false)].concat());
    writer.expect_nothing();
    durable.expect_nothing();
    clean.expect(&[0x32, 6, 0, 1, b'c', 0, 1, b'x']);
    broker.sync();
    writer.expect(&[0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x50, 2, 0, 3]);
    durable.expect(&[0x32, 6, 0, 1, b'd', 0, 1, b'x', 0x32, 6, 0, 1, b'd', 0, 2, b'x']);
    writer.send(&[0x62, 2, 0, 3]);
    writer.expect(&[0x70, 2, 0, 3]);
}

#[test]
fn an_answer_of_a_later_batch_waits_for_that() {
    let broker = Broker::start();
    let (mut durable, _clean) = readers(&broker);
    let mut writer = broker.connect(b'W', 4, true);
    writer.send(&publish(b'd', 1, 1, false));
    writer.expect_nothing();
    let first = broker.journal.durable().number() + 1;
    writer.send(&publish(b'd', 1, 2, false));
    writer.expect_nothing();
    broker.journal.durable.store(first, SeqCst);
    broker.inbox.log_moved(Position::new(first));
    writer.expect(&[0x40, 2, 0, 1]);
    writer.expect_nothing();
    durable.expect(&[0x32, 6, 0, 1, b'd', 0, 1, b'x']);
    durable.expect_nothing();
    broker.sync();
    writer.expect(&[0x40, 2, 0, 2]);
    durable.expect(&[0x32, 6, 0, 1, b'd', 0, 2, b'x']);
}

#[test]
fn a_durable_session_is_given_out_when_it_is_durable_and_not_before() {
    let broker = Broker::start();
    let mut other = broker.connect(b'O', 4, true);
    let mut client = broker.open();
    let mut all = connect(b'D', 4, false);
    all.extend(subscribe(b'd', false));
    all.extend([0xC0, 0]);
    client.send(&all);
    let end = Instant::now() + LONG;
    while broker.shared.vhost.sessions().get("D").is_none() {
        assert!(Instant::now() < end);
        thread::yield_now();
    }
    other.expect_nothing();
    // A delivery at most once must not come before the answer either.
    assert!(!client.has_input());
    assert_eq!(broker.journal.staged.lock().len(), 1, "nothing behind the CONNECT is worked on");
    broker.sync();
    client.expect(&[0x20, 2, 0, 0, 0xD0, 0]);
    broker.sync_until(|_| client.has_input());
    client.expect(&[0x90, 3, 0, 9, 1]);
}

#[test]
fn a_takeover_of_a_session_that_is_not_given_out_yet_ends_the_earlier_connection() {
    let broker = Broker::start();
    let mut other = broker.connect(b'O', 4, true);
    let mut first = broker.open();
    first.send(&connect(b'D', 4, false));
    let staged = |count: usize| {
        let end = Instant::now() + LONG;
        while broker.journal.staged.lock().len() < count {
            assert!(Instant::now() < end);
            thread::yield_now();
        }
    };
    staged(1);
    let mut second = broker.open();
    second.send(&connect(b'D', 4, false));
    staged(2);
    other.expect_nothing();
    broker.sync();
    second.expect(&[0x20, 2, 1, 0]);
    second.expect_nothing();
    let mut rest = Vec::new();
    first.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0x20, 2, 0, 0], "closed behind its answer");
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_nothing_with_it() {
    let broker = Broker::start();
    let (mut durable, _clean) = readers(&broker);
    let mut writer = broker.connect(b'W', 4, true);
    writer.send(&publish(b'd', 1, 1, false));
    writer.expect_nothing();
    drop(writer);
    // The slot may have another owner by then.
    let mut next = broker.connect_while_held(b'N');
    next.expect_nothing();
    broker.sync();
    durable.expect(&[0x32, 6, 0, 1, b'd', 0, 1, b'x']);
    next.expect_nothing();
}

#[test]
fn a_busy_log_stops_the_reading_of_those_who_fill_it_and_of_nobody_else() {
    let broker = Broker::start();
    let (mut durable, mut clean) = readers(&broker);
    let mut writer = broker.connect(b'W', 4, true);
    broker.admit(Admission::Busy);
    writer.send(&publish(b'd', 1, 1, false));
    let end = Instant::now() + LONG;
    while broker.journal.enqueued() < 1 {
        assert!(Instant::now() < end);
        thread::yield_now();
    }
    writer.send(&publish(b'd', 1, 2, false));
    let mut other = broker.connect_while_held(b'N');
    other.send(&publish(b'c', 1, 1, false));
    other.expect(&[0x40, 2, 0, 1]);
    clean.expect(&[0x32, 6, 0, 1, b'c', 0, 1, b'x']);
    other.expect_nothing();
    assert_eq!(broker.journal.enqueued(), 1, "the second is not read");
    broker.sync();
    durable.expect(&[0x32, 6, 0, 1, b'd', 0, 1, b'x']);
    writer.expect(&[0x40, 2, 0, 1]);
    other.expect_nothing();
    assert_eq!(broker.journal.enqueued(), 1, "not while it is busy");
    broker.admit(Admission::Open);
    broker.sync_until(|_| writer.has_input());
    writer.expect(&[0x40, 2, 0, 2]);
}

#[test]
fn a_full_log_refuses_after_some_patience_and_heals() {
    let broker = Broker::start();
    let (mut durable, mut clean) = readers(&broker);
    let mut new = broker.connect(b'5', 5, true);
    let mut old = broker.connect(b'4', 4, true);
    broker.admit(Admission::Full);
    let began = Instant::now();
    new.send(&[publish(b'd', 1, 1, true), publish(b'd', 2, 2, true), publish(b'c', 1, 3, true)].concat());
    old.send(&[publish(b'd', 1, 1, false), publish(b'd', 2, 2, false), publish(b'c', 1, 3, false)].concat());
    durable.expect_nothing();
    new.expect(&[0x40, 3, 0, 1, 0x97, 0x50, 3, 0, 2, 0x97]);
    assert!(began.elapsed() >= crate::reactor::face::PATIENCE, "nobody was left waiting");
    new.expect(&[0x40, 2, 0, 3]);
    old.expect(&[0x40, 2, 0, 3]);
    for id in 1..3 {
        clean.expect(&[0x32, 6, 0, 1, b'c', 0, id, b'x']);
    }
    // From now on the answer comes at once.
    new.send(&publish(b'd', 1, 4, true));
    new.expect(&[0x40, 3, 0, 4, 0x97]);
    let mut late = broker.open();
    late.send(&connect(b'L', 4, false));
    late.expect(&[0x20, 2, 0, 3]);
    durable.send(&subscribe(b'e', false));
    durable.expect(&[0x90, 3, 0, 9, 0x80]);
    assert_eq!(broker.journal.enqueued(), 0);

    broker.admit(Admission::Open);
    new.send(&publish(b'd', 2, 2, true));
    old.send(&publish(b'd', 2, 2, false));
    new.expect_nothing();
    old.expect_nothing();
    broker.sync();
    new.expect(&[0x50, 2, 0, 2]);
    old.expect(&[0x50, 2, 0, 2]);
    for id in 1..3 {
        durable.expect(&[0x32, 6, 0, 1, b'd', 0, id, b'x']);
    }
    assert_eq!(broker.shared.vhost.metrics().totals().refused_by_log, 7);
}

#[test]
fn a_session_that_was_there_before_is_given_out_while_the_log_is_full() {
    let broker = Broker::start();
    let (durable, _clean) = readers(&broker);
    let mut writer = broker.connect(b'W', 4, true);
    writer.send(&publish(b'd', 1, 1, false));
    writer.expect_nothing();
    broker.sync();
    writer.expect(&[0x40, 2, 0, 1]);
    broker.admit(Admission::Full);
    drop(durable);
    let mut again = broker.open();
    again.send(&connect(b'D', 4, false));
    again.expect(&[0x20, 2, 1, 0]);
    again.expect(&[0x3A, 6, 0, 1, b'd', 0, 1, b'x']);
    again.send(&[0x40, 2, 0, 1]);
    again.expect_nothing();
}

#[test]
fn the_log_wakes_only_a_reactor_that_waits_for_it() {
    let poll = Poll::new().unwrap();
    let inbox = Inbox::new(&poll, Reactor::inbox_token()).unwrap();
    let mut poll = poll;
    let mut events = mio::Events::with_capacity(8);
    let mut woken = |inbox: &Inbox, position: u64| {
        inbox.log_moved(Position::new(position));
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        inbox.take(&mut Vec::new());
        !events.is_empty()
    };
    assert!(!woken(&inbox, 5));
    inbox.await_log(Position::new(7));
    assert!(!woken(&inbox, 6));
    assert!(woken(&inbox, 7));
    assert!(!woken(&inbox, 8), "once");
    inbox.await_log(Position::NONE);
    assert!(woken(&inbox, 0), "any change");
    inbox.await_log(Position::new(9));
    inbox.stop_awaiting();
    assert!(!woken(&inbox, 9));
}
