//! AMQP 0-9-1 by hand: bytes out, frames in. Nothing here is taken from the codec under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

/// What a method frame says about closing: code, class and method.
pub(crate) type Close = (u16, u16, u16);

impl Frame {
    /// Class and method, of a method frame.
    pub(crate) fn method(&self) -> Option<(u16, u16)> {
        (self.kind == 1 && self.payload.len() >= 4)
            .then(|| (number(&self.payload), number(&self.payload[2..])))
    }

    /// Code, class and method of connection.close or channel.close.
    pub(crate) fn close(&self) -> Option<Close> {
        let ((10, 50) | (20, 40)) = self.method()? else { return None };
        let text = usize::from(self.payload[6]);
        let blamed = &self.payload[7 + text..];
        assert_eq!(blamed.len(), 4, "{self:?}");
        Some((number(&self.payload[4..]), number(blamed), number(&blamed[2..])))
    }
}

fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

pub(crate) fn method(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat())
}

pub(crate) fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

pub(crate) fn start_ok(mechanism: &str, response: &[u8]) -> Vec<u8> {
    let mut capabilities = short("authentication_failure_close");
    capabilities.extend(b"t\x01");
    let mut client = short("capabilities");
    client.push(b'F');
    client.extend(long(&capabilities));
    method(0, 10, 11, &[long(&client), short(mechanism), long(response), short("en_US")].concat())
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    let arguments = [&channel_max.to_be_bytes()[..], &frame_max.to_be_bytes(), &heartbeat.to_be_bytes()];
    method(0, 10, 31, &arguments.concat())
}

pub(crate) fn open(vhost: &str) -> Vec<u8> {
    method(0, 10, 40, &[short(vhost), vec![0, 0]].concat())
}

pub(crate) fn publish(channel: u16, exchange: &str, key: &str) -> Vec<u8> {
    method(channel, 60, 40, &[vec![0, 0], short(exchange), short(key), vec![0]].concat())
}

pub(crate) fn header(channel: u16, class: u16, size: u64, properties: &[u8]) -> Vec<u8> {
    frame(2, channel, &[&class.to_be_bytes()[..], &[0, 0], &size.to_be_bytes(), properties].concat())
}

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    pub(crate) fn fresh(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// After connection.start.
    pub(crate) fn started(address: SocketAddr) -> Self {
        let mut wire = Self::fresh(address);
        wire.send(HEADER);
        wire.expect(10, 10);
        wire
    }

    /// After connection.tune.
    pub(crate) fn authenticated(address: SocketAddr) -> Self {
        let mut wire = Self::started(address);
        wire.send(&start_ok("PLAIN", b"\0guest\0guest"));
        wire.expect(10, 30);
        wire
    }

    /// After connection.open-ok.
    pub(crate) fn opened(address: SocketAddr) -> Self {
        let mut wire = Self::authenticated(address);
        wire.send(&[tune_ok(2047, 131_072, 0), open("/")].concat());
        wire.expect(10, 41);
        wire
    }

    /// With channel 1 open.
    pub(crate) fn with_channel(address: SocketAddr) -> Self {
        let mut wire = Self::opened(address);
        wire.send(&method(1, 20, 10, &[0]));
        wire.expect(20, 11);
        wire
    }

    /// Whoever is being closed may be closed before it has said everything.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn expect(&mut self, class: u16, id: u16) -> Frame {
        let frame = self.next().expect("a frame");
        assert_eq!(frame.method(), Some((class, id)), "{frame:?}");
        frame
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.whole() {
                return Some(frame);
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}; received so far: {:02x?}", self.received),
            }
        }
    }

    fn whole(&mut self) -> Option<Frame> {
        let head = self.received.get(..7)?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let (kind, channel) = (head[0], number(&head[1..]));
        let end = *self.received.get(7 + size)?;
        assert_eq!(end, 0xCE, "{:02x?}", self.received);
        let bytes: Vec<u8> = self.received.drain(..size + 8).collect();
        Some(Frame { kind, channel, payload: bytes[7..7 + size].to_vec() })
    }

    /// What comes until the end of the stream, not in frames.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut chunk = [0; 4096];
            assert!(Instant::now() < end, "the stream does not end");
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.received,
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.received,
                Err(error) => panic!("{error}; received so far: {:02x?}", self.received),
            }
        }
    }
}
