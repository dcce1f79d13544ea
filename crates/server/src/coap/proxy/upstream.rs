//! One exchange with another server, in a thread and over a socket of its own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tercet_coap::block::{Block, BlockSize, Progress, Receiver, Sender, Step};
use tercet_coap::endpoint::{Bounds, Endpoint, Heading, Incoming, Outgoing, Settings, Tag};
use tercet_coap::option::Judgement;
use tercet_coap::uri::Host;
use tercet_coap::{Code, ContentFormat, Number, OwnedMessage};

use super::target::{NAME, Target};
use crate::coap::response::{Body, Response};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The host has no address, or none that may be asked.
    #[error("the host has no address to be asked")]
    NoAddress,
    /// It did not answer in time.
    #[error("no answer in time")]
    TooLate,
    /// It answered nonsense.
    #[error("{0}")]
    Nonsense(String),
    /// The network refused.
    #[error("{0}")]
    Network(#[from] std::io::Error),
}

/// Asks the target and waits for its answer, which may be that there is none.
pub(super) fn fetch(target: &Target, timeout: Duration, max_body: usize) -> Response {
    match exchange(target, timeout, max_body) {
        Ok(response) => response,
        Err(failure @ Failure::TooLate) => Response::diagnostic(Code::GATEWAY_TIMEOUT, failure.to_string()),
        Err(failure) => Response::diagnostic(Code::BAD_GATEWAY, failure.to_string()),
    }
}

fn exchange(target: &Target, timeout: Duration, max_body: usize) -> Result<Response, Failure> {
    let mut line = Line::to(address(target)?, timeout)?;
    let (answer, body) = line.ask(&target.message, max_body)?;
    response(&answer, body)
}

/// An address of the host that may be asked.
fn address(target: &Target) -> Result<SocketAddr, Failure> {
    let port = target.uri.port();
    let found: Vec<SocketAddr> = match &target.uri.host {
        Host::Address(address) => vec![(*address, port).into()],
        Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.collect(),
        Host::Zoned(..) => Vec::new(),
    };
    found.into_iter().find(|address| target.allowed.covers(address.ip())).ok_or(Failure::NoAddress)
}

/// A socket to one server with its message layer.
struct Line {
    socket: UdpSocket,
    endpoint: Endpoint<()>,
    outgoing: Outgoing<()>,
    began: Instant,
    ends: Instant,
    buffer: Vec<u8>,
}

const LARGEST: usize = 65_536;
/// A peer that is asked one thing after the other needs little memory.
fn bounds() -> Bounds {
    Bounds {
        peers: 1,
        seen_per_peer: 8,
        seen: 8,
        waiting_per_peer: 1,
        exchanges: 2,
        resettable_per_peer: 0,
        ..Bounds::default()
    }
}

impl Line {
    fn to(address: SocketAddr, timeout: Duration) -> Result<Self, Failure> {
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        // From now on nobody else is heard.
        socket.connect(address)?;
        let seed = getrandom::u64().map_err(std::io::Error::from)?;
        let settings = Settings { bounds: bounds(), ..Settings::default() };
        let began = Instant::now();
        Ok(Line {
            socket,
            endpoint: Endpoint::new(settings, seed),
            outgoing: Outgoing::default(),
            began,
            ends: began + timeout,
            buffer: vec![0; LARGEST],
        })
    }

    /// Sends the whole request and collects the whole answer (RFC 7959).
    fn ask(&mut self, request: &OwnedMessage, max_body: usize) -> Result<(OwnedMessage, Vec<u8>), Failure> {
        let mut sender = Sender::new(request.payload.len(), BlockSize::MAX, 0);
        let mut piece = sender.piece();
        let mut answer = loop {
            let Some(next) = piece else { return Err(Failure::Nonsense("the body is too large".to_owned())) };
            let mut part = request.clone();
            part.payload = request.payload.get(next.range.clone()).unwrap_or_default().to_vec();
            if next.range.len() < request.payload.len() {
                part.set_uint(Number::BLOCK1, next.block.to_uint());
                if let Some(size) = next.size1 {
                    part.set_uint(Number::SIZE1, size);
                }
            }
            let answer = self.round_trip(&part)?;
            match sender.on_response(&answer.as_message()) {
                Progress::Next(next) => piece = Some(next),
                Progress::Finished => break answer,
            }
        };
        let mut receiver = Receiver::new(max_body, false);
        let wrong = |error: tercet_coap::block::ReceiveError| Failure::Nonsense(error.to_string());
        while let Step::Ask(block) = receiver.on_response(&answer.as_message()).map_err(wrong)? {
            answer = self.round_trip(&rest(request, block))?;
        }
        Ok((answer, receiver.into_body()))
    }

    fn round_trip(&mut self, request: &OwnedMessage) -> Result<OwnedMessage, Failure> {
        let token = self.endpoint.fresh_token();
        let heading = Heading { code: request.code, token: &token, tag: Tag(0) };
        let now = self.began.elapsed();
        let write = |writer: &mut tercet_coap::Writer<'_>| {
            writer.options(request.options.as_options()).payload(&request.payload);
        };
        let sent = self.endpoint.send_confirmable((), heading, write, now, &mut self.outgoing);
        sent.map_err(|refused| Failure::Nonsense(refused.to_string()))?;
        loop {
            self.flush()?;
            let now = self.began.elapsed();
            let left = self.ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::TooLate);
            }
            let due = self.endpoint.next_due().map_or(left, |due| due.saturating_sub(now));
            self.socket.set_read_timeout(Some(due.min(left).max(SHORTEST)))?;
            let length = match self.socket.recv(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let mut failed = false;
                    let now = self.began.elapsed();
                    self.endpoint.run_due(now, &mut self.outgoing, |_| failed = true);
                    if failed {
                        return Err(Failure::TooLate);
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(answer) = self.received(length, &token)? {
                self.flush()?;
                return Ok(answer);
            }
        }
    }

    /// Deals with a datagram; the answer that is waited for may be in it.
    fn received(&mut self, length: usize, token: &[u8]) -> Result<Option<OwnedMessage>, Failure> {
        let now = self.began.elapsed();
        let bytes = self.buffer.get(..length).unwrap_or_default();
        match self.endpoint.receive((), bytes, now, &mut self.outgoing) {
            Incoming::Response { receipt, message, .. } if message.token == token => {
                if message.options.judge() != Judgement::Acceptable {
                    self.endpoint.refuse(receipt, &mut self.outgoing);
                    return Err(Failure::Nonsense(
                        "the answer has a critical option that is not understood".to_owned(),
                    ));
                }
                self.endpoint.accept(receipt, &mut self.outgoing);
                return Ok(Some(OwnedMessage::from_message(&message)));
            }
            Incoming::Response { receipt, .. } => self.endpoint.refuse(receipt, &mut self.outgoing),
            Incoming::Request { reply, .. } => self.endpoint.reject(reply, now, &mut self.outgoing),
            Incoming::Rejected { .. } => {
                return Err(Failure::Nonsense("the request was rejected".to_owned()));
            }
            Incoming::Acknowledged { .. } | Incoming::Nothing => (),
        }
        Ok(None)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        for ((), datagram) in self.outgoing.iter() {
            self.socket.send(datagram)?;
        }
        self.outgoing.clear();
        Ok(())
    }
}

/// A socket cannot wait for no time.
const SHORTEST: Duration = Duration::from_millis(1);

/// The request for a further block of the answer.
fn rest(request: &OwnedMessage, block: Block) -> OwnedMessage {
    let mut rest = request.clone();
    rest.set_uint(Number::BLOCK2, block.to_uint());
    if request.code != Code::FETCH {
        rest.payload.clear();
    }
    rest
}

/// What the client is told.
fn response(answer: &OwnedMessage, body: Vec<u8>) -> Result<Response, Failure> {
    let options = answer.options.as_options();
    let format = options.uint(Number::CONTENT_FORMAT).and_then(|format| u16::try_from(format).ok());
    let mut response = Response {
        content_format: format.map(ContentFormat),
        max_age: options.uint(Number::MAX_AGE),
        body: Body::Bytes(body.into()),
        ..Response::new(answer.code)
    };
    for (number, value) in options {
        match number {
            Number::CONTENT_FORMAT | Number::MAX_AGE | Number::OBSERVE => (),
            Number::BLOCK1 | Number::BLOCK2 | Number::SIZE1 | Number::SIZE2 => (),
            number if number.is_unsafe() => {
                return Err(Failure::Nonsense(format!(
                    "the answer has option {}, which is not understood",
                    number.0
                )));
            }
            number => response.options.push((number, Bytes::copy_from_slice(value))),
        }
    }
    if answer.code == Code::HOP_LIMIT_REACHED {
        // RFC 8768 §4: every proxy on the way back puts its name in front.
        let way = [NAME.as_bytes(), b" ", response.body.as_bytes()].concat();
        response.body = Body::Bytes(way.into());
    }
    Ok(response)
}
