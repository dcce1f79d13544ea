//! A client of raw bytes with bounded waits.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::Broker;
use crate::connect::Connect;
use crate::packet::{self, Ack, Packet, Publish, Version, extent};
use crate::property::Properties;

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// "Server shutting down".
const SHUTTING_DOWN: u8 = 0x8B;

/// What a [`Wire`] runs over.
pub trait Transport: Read + Write + Send {
    /// Bounds each read; `None` waits for ever.
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()>;
    /// Says that no more bytes will be sent.
    fn end(&self) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)
    }
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Transport for UnixStream {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)
    }
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// One connection to the broker. Dropping it closes the socket without DISCONNECT, as a client that dies does.
pub struct Wire {
    stream: Box<dyn Transport>,
    version: Version,
    name: String,
    buffer: Vec<u8>,
    /// PUBLISH packets that came while an answer was awaited; the broker may send them in any order.
    early: VecDeque<Packet>,
    next_id: u16,
}

/// What [`Wire::hear`] heard.
#[derive(Debug)]
pub enum Heard {
    /// A packet.
    Packet(Packet),
    /// Nothing in time.
    Nothing,
    /// The end of the connection, with or without the broker's saying that it is shutting down.
    Closed,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// A TCP connection on which nothing was sent.
    #[must_use]
    pub fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker accepts connections");
        stream.set_nodelay(true).unwrap();
        // A broker that stops reading must fail the test, not hang it.
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream, version)
    }

    /// A client end over another transport.
    #[must_use]
    pub fn over(stream: impl Transport + 'static, version: Version) -> Self {
        stream.set_patience(Some(PATIENCE)).unwrap();
        Self {
            stream: Box::new(stream),
            version,
            name: String::new(),
            buffer: Vec::new(),
            early: VecDeque::new(),
            next_id: 1,
        }
    }

    /// Connects to the broker's first MQTT listener and expects to be accepted.
    #[must_use]
    pub fn connect(broker: &Broker, connect: &Connect) -> Self {
        Self::connect_at(broker.mqtt(), connect)
    }

    /// Connects to an address and expects to be accepted.
    #[must_use]
    pub fn connect_at(address: SocketAddr, connect: &Connect) -> Self {
        Self::open(address, connect.version).handshake(connect).0
    }

    /// Connects and returns the CONNACK's session present flag and properties with it.
    #[must_use]
    pub fn connect_full(broker: &Broker, connect: &Connect) -> (Self, bool, Properties) {
        let (wire, present, properties) = Self::open(broker.mqtt(), connect.version).handshake(connect);
        (wire, present, properties)
    }

    /// Sends the CONNECT and expects to be accepted.
    #[must_use]
    pub fn handshake(mut self, connect: &Connect) -> (Self, bool, Properties) {
        self.send(&connect.encode());
        self.name = format!("{connect:?}").chars().take(60).collect();
        match self.receive() {
            Packet::Connack { session_present, code: 0, properties } => (self, session_present, properties),
            other => panic!("expected an accepting CONNACK for {connect:?}, got {other:?}"),
        }
    }

    /// Connects and returns the code with which the broker refused, once it closed the connection.
    #[must_use]
    pub fn refused(broker: &Broker, connect: &Connect) -> (u8, Properties) {
        Self::refused_at(broker.mqtt(), connect)
    }

    /// As [`Wire::refused`], at an address.
    #[must_use]
    pub fn refused_at(address: SocketAddr, connect: &Connect) -> (u8, Properties) {
        let mut wire = Self::open(address, connect.version);
        wire.send(&connect.encode());
        match wire.receive() {
            Packet::Connack { session_present: false, code, properties } if code != 0 => {
                wire.expect_closed();
                (code, properties)
            }
            other => panic!("expected a refusing CONNACK for {connect:?}, got {other:?}"),
        }
    }

    /// Connects to a broker that may die at any moment: `None` if it does so before it has accepted.
    #[must_use]
    pub fn try_connect(address: SocketAddr, connect: &Connect) -> Option<(Self, bool)> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let mut wire = Self::over(stream, connect.version);
        wire.name = format!("{connect:?}").chars().take(60).collect();
        wire.try_send(&connect.encode()).ok()?;
        match wire.hear(PATIENCE) {
            Heard::Packet(Packet::Connack { session_present, code: 0, .. }) => Some((wire, session_present)),
            Heard::Closed => None,
            other => panic!("expected an accepting CONNACK for {connect:?}, got {other:?}"),
        }
    }

    /// Listens for at most `patience` to a broker that may die at any moment, also within a packet.
    pub fn hear(&mut self, patience: Duration) -> Heard {
        if let Some(packet) = self.early.pop_front() {
            return Heard::Packet(packet);
        }
        let mut chunk = [0; 64 * 1024];
        let end = Instant::now() + patience;
        loop {
            if let Some((head, body)) = extent(&self.buffer) {
                let bytes: Vec<u8> = self.buffer.drain(..head + body).collect();
                let packet = Packet::decode(self.version, bytes[0], &bytes[head..]);
                let ends = matches!(packet, Packet::Disconnect(SHUTTING_DOWN, _));
                return if ends { Heard::Closed } else { Heard::Packet(packet) };
            }
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            if self.stream.set_patience(Some(left)).is_err() {
                return Heard::Closed;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Heard::Closed,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= end {
                        return Heard::Nothing;
                    }
                }
                Err(_) => return Heard::Closed,
            }
        }
    }

    /// The version spoken.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Bounds the waits from here on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.set_patience(Some(patience)).unwrap();
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the broker takes bytes");
    }

    /// Sends bytes to a peer that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Says that no more bytes will be sent.
    pub fn end(&mut self) {
        let _ = self.stream.end();
    }

    /// The next packet, or `None` when the broker closed the connection. Panics when nothing comes in time.
    pub fn next_packet(&mut self) -> Option<Packet> {
        if let Some(packet) = self.early.pop_front() {
            return Some(packet);
        }
        self.read_packet()
    }

    fn read_packet(&mut self) -> Option<Packet> {
        self.next_raw().map(|bytes| {
            let (head, _) = extent(&bytes).expect("a whole packet");
            Packet::decode(self.version, bytes[0], &bytes[head..])
        })
    }

    /// The next packet's bytes, or `None` when the broker closed the connection.
    pub fn next_raw(&mut self) -> Option<Vec<u8>> {
        match self.try_next_raw() {
            Ok(bytes) => bytes,
            Err(error) => panic!("nothing came from the broker in time on {}: {error}", self.name),
        }
    }

    /// As [`Wire::next_raw`], with an error when nothing comes in time.
    pub fn try_next_raw(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((head, body)) = extent(&self.buffer) {
                return Ok(Some(self.buffer.drain(..head + body).collect()));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "closed within a packet: {:02x?}", self.buffer);
                    return Ok(None);
                }
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next packet; panics if the connection ends.
    pub fn receive(&mut self) -> Packet {
        self.next_packet()
            .unwrap_or_else(|| panic!("the broker closed {} when a packet was expected", self.name))
    }

    /// The next packet that is not a PUBLISH; those that come before it are kept for [`Wire::receive`].
    pub fn answer(&mut self) -> Packet {
        loop {
            match self.read_packet() {
                Some(packet @ Packet::Publish(_)) => self.early.push_back(packet),
                Some(packet) => return packet,
                None => panic!("the broker closed {} when an answer was expected", self.name),
            }
        }
    }

    /// The next packet, which must be a PUBLISH. It is not acknowledged.
    pub fn receive_publish(&mut self) -> Publish {
        match self.receive() {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH on {}, got {other:?}", self.name),
        }
    }

    /// The next PUBLISH, acknowledged by its quality of service to the end.
    pub fn take_publish(&mut self) -> Publish {
        let publish = self.receive_publish();
        self.acknowledge(&publish);
        publish
    }

    /// Acknowledges a PUBLISH by its quality of service; for QoS 2 the PUBREL must be the next packet.
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            0 => {}
            1 => self.send(&packet::ack(0x40, publish.id)),
            _ => {
                self.send(&packet::ack(0x50, publish.id));
                let release = self.answer();
                assert!(matches!(&release, Packet::Pubrel(ack) if ack.id == publish.id), "{release:?}");
                self.send(&packet::ack(0x70, publish.id));
            }
        }
    }

    /// The next PUBLISH's topic and payload, acknowledged.
    pub fn take(&mut self) -> (String, String) {
        let publish = self.take_publish();
        let text = publish.text();
        (publish.topic, text)
    }

    /// Expects the connection to be closed without another packet.
    pub fn expect_closed(&mut self) {
        if let Some(packet) = self.next_packet() {
            panic!("expected {} to be closed, got {packet:?}", self.name);
        }
    }

    /// Expects a DISCONNECT with this reason code (5.0; a plain close in 3.x) and the close.
    pub fn expect_disconnect(&mut self, code: u8) -> Properties {
        if !self.version.has_properties() {
            self.expect_closed();
            return Properties::new();
        }
        match self.receive() {
            Packet::Disconnect(seen, properties) => {
                assert_eq!(
                    seen, code,
                    "reason code of DISCONNECT on {} ({seen:#04x}, not {code:#04x})",
                    self.name
                );
                self.expect_closed();
                properties
            }
            other => panic!("expected DISCONNECT {code:#04x} on {}, got {other:?}", self.name),
        }
    }

    /// Sends PINGREQ and expects PINGRESP as the very next packet.
    pub fn ping(&mut self) {
        self.send(&[0xC0, 0]);
        let packet = self.receive();
        assert_eq!(packet, Packet::Pingresp, "{} waited for PINGRESP", self.name);
    }

    /// Subscribes to one filter with an option byte and expects it granted with the same QoS.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let codes = self.subscribe_many(&[(filter, options)]);
        assert_eq!(codes, [options & 3], "codes for {filter}");
    }

    /// Subscribes and returns the codes.
    pub fn subscribe_many(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(&Properties::new(), filters)
    }

    /// Subscribes with properties and returns the codes.
    pub fn subscribe_with(&mut self, properties: &Properties, filters: &[(&str, u8)]) -> Vec<u8> {
        let id = self.packet_id();
        self.send(&packet::subscribe(self.version, id, properties, filters));
        match self.answer() {
            Packet::Suback(seen, codes, _) if seen == id => codes,
            other => panic!("expected SUBACK {id} on {}, got {other:?}", self.name),
        }
    }

    /// Unsubscribes and returns the codes (none in 3.x).
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.packet_id();
        self.send(&packet::unsubscribe(self.version, id, filters));
        match self.answer() {
            Packet::Unsuback(seen, codes, _) if seen == id => codes,
            other => panic!("expected UNSUBACK {id} on {}, got {other:?}", self.name),
        }
    }

    /// Publishes, goes through the acknowledgement of its QoS and returns the reason code. A QoS 0 message is
    /// followed by a PINGREQ, so that the broker has taken it on return.
    pub fn publish(&mut self, publish: Publish) -> u8 {
        self.publish_ack(publish).map_or(0, |ack| ack.code)
    }

    /// As [`Wire::publish`], with the first acknowledgement.
    pub fn publish_ack(&mut self, mut publish: Publish) -> Option<Ack> {
        if publish.qos > 0 {
            publish.id = self.packet_id();
        }
        self.send(&publish.encode(self.version));
        match publish.qos {
            0 => {
                self.send(&[0xC0, 0]);
                assert_eq!(self.answer(), Packet::Pingresp);
                None
            }
            1 => match self.answer() {
                Packet::Puback(ack) if ack.id == publish.id => Some(ack),
                other => panic!("expected PUBACK {} on {}, got {other:?}", publish.id, self.name),
            },
            _ => match self.answer() {
                Packet::Pubrec(ack) if ack.id == publish.id => {
                    if ack.code < 0x80 {
                        self.send(&packet::ack(0x62, publish.id));
                        match self.answer() {
                            Packet::Pubcomp(done) if done.id == publish.id => {}
                            other => {
                                panic!("expected PUBCOMP {} on {}, got {other:?}", publish.id, self.name)
                            }
                        }
                    }
                    Some(ack)
                }
                other => panic!("expected PUBREC {} on {}, got {other:?}", publish.id, self.name),
            },
        }
    }

    /// A packet identifier that was not used lately.
    pub fn packet_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        id
    }

    /// Says goodbye and waits for the close.
    pub fn disconnect(mut self) {
        self.send(&[0xE0, 0]);
        self.expect_closed();
    }
}
