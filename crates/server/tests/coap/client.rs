//! A server on free ports, and a client that sends what it is told.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tercet_coap::{Code, Kind, Limits, Number, OwnedMessage, datagram};
use tercet_server::config::Config;
use tercet_server::{RunningServer, Server};

/// A server in memory.
pub fn start(change: impl FnOnce(&mut Config)) -> RunningServer {
    let mut config = Config::on_free_ports();
    change(&mut config);
    Server::start(config).unwrap()
}

/// Where it speaks CoAP.
pub fn address(server: &RunningServer) -> SocketAddr {
    let listener = server.listeners().iter().find(|listener| listener.name == "coap").unwrap();
    listener.address.parse().unwrap()
}

/// A message that has come.
#[derive(Debug)]
pub struct Reply {
    pub kind: Kind,
    pub id: u16,
    pub message: OwnedMessage,
}

impl Reply {
    pub fn code(&self) -> Code {
        self.message.code
    }

    pub fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    pub fn uint(&self, number: Number) -> Option<u32> {
        self.message.as_message().options.uint(number)
    }
}

/// A client with a socket of its own.
pub struct Client {
    socket: UdpSocket,
    next_id: u16,
}

impl Client {
    pub fn new(server: &RunningServer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address(server)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, next_id: 1 }
    }

    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    pub fn send(&mut self, kind: Kind, message: &OwnedMessage) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        self.send_as(kind, id, message);
        id
    }

    pub fn send_as(&self, kind: Kind, id: u16, message: &OwnedMessage) {
        let mut bytes = Vec::new();
        message.encode_datagram(kind, id, &mut bytes);
        self.send_bytes(&bytes);
    }

    pub fn receive(&self) -> Reply {
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).unwrap();
        let read = datagram::decode(&buffer[..length], &Limits::protocol()).unwrap();
        Reply { kind: read.kind, id: read.id, message: OwnedMessage::from_message(&read.message) }
    }

    /// Sends a confirmable request and receives its piggybacked response.
    pub fn ask(&mut self, message: &OwnedMessage) -> Reply {
        let id = self.send(Kind::Confirmable, message);
        let reply = self.receive();
        assert_eq!((reply.kind, reply.id), (Kind::Acknowledgement, id), "{reply:?}");
        reply
    }
}

/// A request for a path.
pub fn request(code: Code, path: &str) -> OwnedMessage {
    let mut message = OwnedMessage::new(code);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        message.add(Number::URI_PATH, segment.as_bytes());
    }
    message
}

/// A request with a payload.
pub fn with_payload(code: Code, path: &str, payload: &[u8]) -> OwnedMessage {
    let mut message = request(code, path);
    message.payload = payload.to_vec();
    message
}
