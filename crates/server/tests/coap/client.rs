//! A server on free ports, and a client that sends what it is told.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tercet_coap::{Code, Kind, Limits, Number, OwnedMessage, datagram};
use tercet_server::config::Config;
use tercet_server::{RunningServer, Server};

/// A server in memory.
pub(crate) fn start(change: impl FnOnce(&mut Config)) -> RunningServer {
    let mut config = Config::on_free_ports();
    change(&mut config);
    Server::start(config).unwrap()
}

/// Where it speaks CoAP.
pub(crate) fn address(server: &RunningServer) -> SocketAddr {
    let listener = server.listeners().iter().find(|listener| listener.name == "coap").unwrap();
    listener.address.parse().unwrap()
}

/// A message that has come.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: Kind,
    pub(crate) id: u16,
    pub(crate) message: OwnedMessage,
}

impl Reply {
    pub(crate) fn code(&self) -> Code {
        self.message.code
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    pub(crate) fn uint(&self, number: Number) -> Option<u32> {
        self.message.as_message().options.uint(number)
    }
}

/// A client with a socket of its own.
pub(crate) struct Client {
    socket: UdpSocket,
    next_id: u16,
}

impl Client {
    pub(crate) fn new(server: &RunningServer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address(server)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, next_id: 1 }
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, kind: Kind, message: &OwnedMessage) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        self.send_as(kind, id, message);
        id
    }

    pub(crate) fn send_as(&self, kind: Kind, id: u16, message: &OwnedMessage) {
        let mut bytes = Vec::new();
        message.encode_datagram(kind, id, &mut bytes);
        self.send_bytes(&bytes);
    }

    pub(crate) fn receive(&self) -> Reply {
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).unwrap();
        let read = datagram::decode(&buffer[..length], &Limits::protocol()).unwrap();
        Reply { kind: read.kind, id: read.id, message: OwnedMessage::from_message(&read.message) }
    }

    /// Sends a confirmable request and receives its piggybacked response.
    pub(crate) fn ask(&mut self, message: &OwnedMessage) -> Reply {
        let id = self.send(Kind::Confirmable, message);
        let reply = self.receive();
        assert_eq!((reply.kind, reply.id), (Kind::Acknowledgement, id), "{reply:?}");
        reply
    }
}

/// A request for a path.
pub(crate) fn request(code: Code, path: &str) -> OwnedMessage {
    let mut message = OwnedMessage::new(code);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        message.add(Number::URI_PATH, segment.as_bytes());
    }
    message
}

/// A request with a payload.
pub(crate) fn with_payload(code: Code, path: &str, payload: &[u8]) -> OwnedMessage {
    let mut message = request(code, path);
    message.payload = payload.to_vec();
    message
}
