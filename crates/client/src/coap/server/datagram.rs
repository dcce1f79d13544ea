//! The server over UDP: one task with the socket and the message layer, one for each request and each observer.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tercet_coap::block::{BlockSize, Carrier};
use tercet_coap::endpoint::{Endpoint, Event, Handle, Heading, Incoming, Outgoing, Reply, Settings, Tag};
use tercet_coap::reliability::Transmission;
use tercet_coap::uri::Scheme;
use tercet_coap::{Code, Limits, Number, Token, Writer};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::super::error::{Error, Result};
use super::super::message::Message;
use super::relation::{Notifier, Relation};
use super::request::Peer;
use super::secure::Secure;
use super::service::{Outcome, Service};

/// An answer that takes longer is announced by an empty acknowledgement (RFC 7252 §5.2.2).
const PIGGYBACK: Duration = Duration::from_secs(1);
/// Requests that are worked on at the same time; beyond it the answer is 5.03.
const REQUESTS: usize = 4096;
/// Longest token that is taken (RFC 8974).
const TOKEN: usize = 64;
/// What fits into a datagram (RFC 7252 §4.6).
const CARRIER: Carrier = Carrier::Datagram(BlockSize::MAX);

struct Task {
    socket: UdpSocket,
    /// Over DTLS.
    secure: Option<Secure>,
    endpoint: Endpoint<SocketAddr>,
    out: Outgoing<SocketAddr>,
    start: Instant,
    service: Arc<Service>,
    sender: mpsc::UnboundedSender<Command>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Requests without an answer, by number.
    replies: HashMap<u64, (Reply<SocketAddr>, Token)>,
    /// When each of them has to be acknowledged, in order.
    slow: VecDeque<(Instant, u64)>,
    observers: HashMap<u64, Observer>,
    relations: HashMap<(SocketAddr, Token), u64>,
    /// The next number of a request or an observer.
    next: u64,
    tasks: JoinSet<()>,
}

struct Observer {
    peer: SocketAddr,
    token: Token,
    task: AbortHandle,
    /// The confirmable notification under way.
    under_way: Option<Handle>,
    arrived: Option<oneshot::Sender<bool>>,
}

/// What the tasks of requests and observers ask for. Each has at most one of these under way.
enum Command {
    Answer(u64, SocketAddr, Outcome),
    Notify { observer: u64, message: Message, confirmable: bool, arrived: oneshot::Sender<bool> },
    Replace { observer: u64, message: Message },
    Ended(u64),
}

/// What the task woke up for.
enum Wake {
    Datagram(usize, SocketAddr),
    Command(Command),
    Due,
    SecureDue,
    Slow,
}

/// Serves until an error of the socket that does not pass.
pub(super) async fn serve(
    socket: UdpSocket,
    secure: Option<Secure>,
    service: Arc<Service>,
    url: String,
) -> Result<()> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| Error::Invalid(format!("no randomness: {error}")))?;
    // Each observer has its own exchange with the peer, of which one at most is under way.
    let transmission = Transmission { nstart: u16::MAX, ..Transmission::default() };
    let codec = Limits { token: TOKEN, ..Limits::default() };
    let settings = Settings { transmission, codec, ..Settings::default() };
    let (sender, commands) = mpsc::unbounded_channel();
    let task = Task {
        socket,
        secure,
        endpoint: Endpoint::new(settings, u64::from_ne_bytes(seed)),
        out: Outgoing::new(),
        start: Instant::now(),
        service,
        sender,
        commands,
        replies: HashMap::new(),
        slow: VecDeque::new(),
        observers: HashMap::new(),
        relations: HashMap::new(),
        next: 0,
        tasks: JoinSet::new(),
    };
    let source = task.run().await;
    Err(Error::Lost { url, source: Arc::new(source) })
}

impl Task {
    async fn run(mut self) -> io::Error {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.wake(&mut buffer).await {
                Ok(Wake::Datagram(length, peer)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    match &mut self.secure {
                        None => self.receive(datagram, peer),
                        Some(secure) => secure.receive(peer, datagram),
                    }
                }
                Ok(Wake::Command(command)) => self.command(command),
                Ok(Wake::Due) => self.run_due(),
                Ok(Wake::SecureDue) => self.secure.iter_mut().for_each(Secure::run_due),
                Ok(Wake::Slow) => self.acknowledge_slow(),
                Err(error) if passes(&error) => {}
                Err(error) => return error,
            }
            while self.tasks.try_join_next().is_some() {}
            self.deal_with_secure();
            self.flush().await;
        }
    }

    /// What came of the work of DTLS: peers that are gone, and messages.
    fn deal_with_secure(&mut self) {
        let Some(secure) = &mut self.secure else { return };
        let (gone, received) = (secure.take_gone(), secure.take_received());
        for peer in gone {
            self.endpoint.forget(peer);
            let of_peer = |(number, observer): (&u64, &Observer)| (observer.peer == peer).then_some(*number);
            let observers: Vec<_> = self.observers.iter().filter_map(of_peer).collect();
            observers.into_iter().for_each(|observer| self.remove(observer));
        }
        for (peer, message) in received {
            self.receive(&message, peer);
        }
    }

    /// Sends what is to be sent. A peer that cannot be reached will not answer, which the message layer deals with.
    async fn flush(&mut self) {
        match &mut self.secure {
            None => {
                for (peer, datagram) in self.out.iter() {
                    let _ = self.socket.send_to(datagram, *peer).await;
                }
            }
            Some(secure) => {
                self.out.iter().for_each(|(peer, datagram)| secure.send(*peer, datagram));
                for (peer, datagram) in secure.take_transmit() {
                    let _ = self.socket.send_to(&datagram, peer).await;
                }
            }
        }
        self.out.clear();
    }

    async fn wake(&mut self, buffer: &mut [u8]) -> io::Result<Wake> {
        let due = at(self.endpoint.next_due().map(|due| self.start + due));
        let slow = at(self.slow.front().map(|(when, _)| *when));
        let secure_due = at(self.secure.as_ref().and_then(Secure::next_due).map(Into::into));
        tokio::select! {
            received = self.socket.recv_from(buffer) => received.map(|(length, peer)| Wake::Datagram(length, peer)),
            // There is always a sender: our own.
            Some(command) = self.commands.recv() => Ok(Wake::Command(command)),
            () = due => Ok(Wake::Due),
            () = secure_due => Ok(Wake::SecureDue),
            () = slow => Ok(Wake::Slow),
        }
    }

    fn receive(&mut self, datagram: &[u8], peer: SocketAddr) {
        let now = self.start.elapsed();
        match self.endpoint.receive(peer, datagram, now, &mut self.out) {
            Incoming::Request { reply, message } => {
                let token = Token::new(message.token).unwrap_or_default();
                let message = Message::from_wire(&message);
                self.request(reply, token, message);
            }
            Incoming::Response { receipt, .. } => self.endpoint.refuse(receipt, &mut self.out),
            Incoming::Acknowledged { tag: Tag(observer) } => self.settle(observer, true),
            Incoming::Rejected { tag: Tag(observer) } => self.remove(observer),
            Incoming::Nothing => {}
        }
    }

    fn request(&mut self, reply: Reply<SocketAddr>, token: Token, message: Message) {
        let now = self.start.elapsed();
        let peer = reply.peer();
        if self.replies.len() >= REQUESTS {
            let write = |writer: &mut Writer<'_>| _ = writer.uint(Number::MAX_AGE, 1);
            self.endpoint.respond(reply, Code::SERVICE_UNAVAILABLE, &token, write, now, &mut self.out);
            return;
        }
        if token.len() > TOKEN {
            self.endpoint.respond(reply, Code::BAD_REQUEST, &token, |_| {}, now, &mut self.out);
            return;
        }
        if message.options().uint(Number::OBSERVE) == Some(1)
            && let Some(observer) = self.relations.get(&(peer, token.clone()))
        {
            self.remove(*observer);
        }
        let number = self.number();
        self.replies.insert(number, (reply, token.clone()));
        self.slow.push_back((Instant::now() + PIGGYBACK, number));
        let (service, sender) = (self.service.clone(), self.sender.clone());
        let who = match &self.secure {
            None => Peer { address: peer, scheme: Scheme::Coap, identity: None },
            Some(secure) => Peer { address: peer, scheme: Scheme::Coaps, identity: secure.identity(peer) },
        };
        self.tasks.spawn(async move {
            let outcome = service.answer(&who, &token, message, CARRIER).await;
            let _ = sender.send(Command::Answer(number, peer, outcome));
        });
    }

    fn command(&mut self, command: Command) {
        let now = self.start.elapsed();
        match command {
            Command::Answer(number, peer, outcome) => {
                let Some((reply, token)) = self.replies.remove(&number) else { return };
                let (answer, relation) = match outcome {
                    Outcome::Silence => return self.endpoint.suppress(reply, now, &mut self.out),
                    Outcome::Answer(answer) => (answer, None),
                    Outcome::Observe(answer, relation) => (answer, Some(relation)),
                };
                self.endpoint.respond(reply, answer.code, &token, writing(&answer), now, &mut self.out);
                if let Some(relation) = relation {
                    self.observe(peer, *relation);
                }
            }
            Command::Notify { observer, message, confirmable, arrived } => {
                self.notify(observer, &message, confirmable, arrived);
            }
            Command::Replace { observer, message } => {
                let Some(known) = self.observers.get(&observer) else { return };
                let (peer, heading) = (known.peer, heading(known, observer, &message));
                let replaced = known
                    .under_way
                    .is_some_and(|handle| self.endpoint.replace(handle, heading, writing(&message)));
                // What it was to replace has arrived meanwhile.
                if !replaced {
                    let sent = self.endpoint.send_non_confirmable(
                        peer,
                        heading,
                        writing(&message),
                        now,
                        &mut self.out,
                    );
                    if sent.is_err() {
                        self.remove(observer);
                    }
                }
            }
            Command::Ended(observer) => self.remove(observer),
        }
    }

    /// Begins a relation; one with the same token ends (RFC 7641 §4.1).
    fn observe(&mut self, peer: SocketAddr, relation: Relation) {
        let key = (peer, relation.token().clone());
        if let Some(earlier) = self.relations.get(&key) {
            self.remove(*earlier);
        }
        let observer = self.number();
        let sender = self.sender.clone();
        let token = key.1.clone();
        let task = self.tasks.spawn(async move {
            relation.run(Notifications { observer, sender: sender.clone() }).await;
            let _ = sender.send(Command::Ended(observer));
        });
        self.relations.insert(key, observer);
        self.observers.insert(observer, Observer { peer, token, task, under_way: None, arrived: None });
    }

    fn notify(
        &mut self,
        observer: u64,
        message: &Message,
        confirmable: bool,
        arrived: oneshot::Sender<bool>,
    ) {
        let now = self.start.elapsed();
        let Some(known) = self.observers.get_mut(&observer) else { return };
        let heading = Heading { code: message.code, token: &known.token.clone(), tag: Tag(observer) };
        let sent = if confirmable {
            self.endpoint
                .send_confirmable(known.peer, heading, writing(message), now, &mut self.out)
                .map(|handle| known.under_way = Some(handle))
        } else {
            self.endpoint.send_non_confirmable(known.peer, heading, writing(message), now, &mut self.out)
        };
        match sent {
            Ok(()) if confirmable => known.arrived = Some(arrived),
            Ok(()) => drop(arrived.send(true)),
            Err(_) => drop(arrived.send(false)),
        }
    }

    /// The confirmable notification of an observer has arrived, or never will.
    fn settle(&mut self, observer: u64, there: bool) {
        if let Some(known) = self.observers.get_mut(&observer) {
            known.under_way = None;
            if let Some(arrived) = known.arrived.take() {
                let _ = arrived.send(there);
            }
        }
    }

    /// Ends a relation: the observer rejected a notification, did not acknowledge one, or does not want them any more.
    fn remove(&mut self, observer: u64) {
        let Some(known) = self.observers.remove(&observer) else { return };
        known.task.abort();
        if let Some(handle) = known.under_way {
            self.endpoint.cancel(handle, self.start.elapsed(), &mut self.out);
        }
        self.relations.remove(&(known.peer, known.token));
    }

    fn run_due(&mut self) {
        let mut gone = Vec::new();
        let now = self.start.elapsed();
        self.endpoint
            .run_due(now, &mut self.out, |Event::Failed { tag: Tag(observer), .. }| gone.push(observer));
        gone.into_iter().for_each(|observer| self.remove(observer));
    }

    fn acknowledge_slow(&mut self) {
        let now = Instant::now();
        while let Some((_, number)) = self.slow.pop_front_if(|(when, _)| *when <= now) {
            if let Some((reply, _)) = self.replies.get_mut(&number) {
                self.endpoint.acknowledge_later(reply, self.start.elapsed(), &mut self.out);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// An observer's task's way to the socket.
struct Notifications {
    observer: u64,
    sender: mpsc::UnboundedSender<Command>,
}

impl Notifier for Notifications {
    const REPLACES: bool = true;

    fn notify(&mut self, message: Message, confirmable: bool) -> oneshot::Receiver<bool> {
        let (arrived, told) = oneshot::channel();
        let _ = self.sender.send(Command::Notify { observer: self.observer, message, confirmable, arrived });
        told
    }

    fn replace(&mut self, message: Message) {
        let _ = self.sender.send(Command::Replace { observer: self.observer, message });
    }
}

fn heading<'k>(known: &'k Observer, observer: u64, message: &Message) -> Heading<'k> {
    Heading { code: message.code, token: &known.token, tag: Tag(observer) }
}

fn writing(message: &Message) -> impl FnOnce(&mut Writer<'_>) {
    |writer| _ = writer.options(message.options()).payload(&message.payload)
}

/// Resolves at the time, never without one.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

/// What ICMP tells of one peer is no reason to stop.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted
    )
}
