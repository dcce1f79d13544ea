//! Answers of CoAP that wait for the log.

use std::net::UdpSocket;

use tercet_broker::journal::Admission;
use tercet_coap::{Code, Kind, Limits, Number, OwnedMessage, Token, datagram};

use super::{Broker, LONG};

fn put(payload: &[u8]) -> OwnedMessage {
    let mut message = OwnedMessage::new(Code::PUT);
    message.token = Token::new(b"tk").unwrap();
    message.add(Number::URI_PATH, b"ps").add(Number::URI_PATH, b"a");
    message.payload = payload.to_vec();
    message
}

struct Client(UdpSocket);

impl Client {
    fn new(broker: &Broker) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(broker.coap).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self(socket)
    }

    fn send(&self, kind: Kind, id: u16, message: &OwnedMessage) {
        let mut bytes = Vec::new();
        message.encode_datagram(kind, id, &mut bytes);
        self.0.send(&bytes).unwrap();
    }

    fn has_input(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let has = self.0.peek(&mut [0; 1]).is_ok();
        self.0.set_nonblocking(false).unwrap();
        has
    }

    fn receive(&self) -> (Kind, u16, Code, Vec<u8>) {
        let mut buffer = [0; 1500];
        let length = self.0.recv(&mut buffer).unwrap();
        let read = datagram::decode(&buffer[..length], &Limits::default()).unwrap();
        (read.kind, read.id, read.message.code, read.message.token.to_vec())
    }

    /// Nothing has come. What was sent before this has been dealt with: a ping after it is answered.
    fn has_nothing(&self) {
        self.send(Kind::Confirmable, 999, &OwnedMessage::new(Code::EMPTY));
        assert_eq!(self.receive(), (Kind::Reset, 999, Code::EMPTY, Vec::new()));
    }
}

#[test]
fn a_publication_is_answered_in_its_acknowledgement_when_the_log_has_it_soon() {
    let broker = Broker::start();
    let client = Client::new(&broker);
    client.send(Kind::Confirmable, 1, &put(b"1"));
    client.has_nothing();
    broker.sync_until(|_| client.has_input());
    assert_eq!(client.receive(), (Kind::Acknowledgement, 1, Code::CREATED, b"tk".to_vec()));
}

#[test]
fn a_publication_that_takes_long_is_acknowledged_first_and_answered_by_itself() {
    let broker = Broker::start();
    let client = Client::new(&broker);
    client.send(Kind::Confirmable, 1, &put(b"1"));
    let acknowledged = (Kind::Acknowledgement, 1, Code::EMPTY, Vec::new());
    assert_eq!(client.receive(), acknowledged);
    client.send(Kind::Confirmable, 1, &put(b"1"));
    assert_eq!(client.receive(), acknowledged, "a duplicate gets what the first one got");
    broker.sync_until(|_| client.has_input());
    let (kind, id, code, token) = client.receive();
    assert_eq!((kind, code, token), (Kind::Confirmable, Code::CREATED, b"tk".to_vec()));
    client.send(Kind::Acknowledgement, id, &OwnedMessage::new(Code::EMPTY));
    client.send(Kind::Confirmable, 2, &put(b"2"));
    client.has_nothing();
    broker.sync_until(|_| client.has_input());
    assert_eq!(client.receive().2, Code::CHANGED);
}

#[test]
fn a_log_that_fails_is_said_to_those_who_wait_for_it() {
    let broker = Broker::start();
    let client = Client::new(&broker);
    client.send(Kind::Confirmable, 1, &put(b"1"));
    client.has_nothing();
    broker.admit(Admission::Failed);
    let mut code = client.receive().2;
    if code.is_empty() {
        // It took more than a second here: the answer follows the acknowledgement.
        code = client.receive().2;
    }
    assert_eq!(code, Code::SERVICE_UNAVAILABLE);
}
