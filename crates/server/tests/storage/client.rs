//! A client that knows as much of MQTT 3.1.1 as these tests need.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
    next_id: u16,
}

impl Client {
    /// Connects; the session is kept.
    pub(crate) fn connect(address: &str, client_id: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let input = BufReader::new(stream.try_clone().unwrap());
        let mut client = Self { stream, input, next_id: 1 };
        let mut body = b"\0\x04MQTT\x04\0\0\0".to_vec();
        put_string(&mut body, client_id);
        client.send(0x10, &body);
        let (kind, answer) = client.receive();
        assert_eq!((kind, answer[1]), (0x20, 0));
        client
    }

    /// Subscribes with QoS 1.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        let mut body = self.id().to_be_bytes().to_vec();
        put_string(&mut body, filter);
        body.push(1);
        self.send(0x82, &body);
        while self.receive().0 != 0x90 {}
    }

    /// Publishes so many messages of this size with QoS 1, a few at a time, and returns when all are acknowledged.
    pub(crate) fn publish(&mut self, topic: &str, size: usize, count: usize) {
        const WINDOW: usize = 100;
        let (mut sent, mut acknowledged) = (0, 0);
        while acknowledged < count {
            while sent < count && sent - acknowledged < WINDOW {
                let mut body = Vec::new();
                put_string(&mut body, topic);
                body.extend_from_slice(&self.id().to_be_bytes());
                body.resize(body.len() + size, (sent % 251) as u8);
                self.send(0x32, &body);
                sent += 1;
            }
            assert_eq!(self.receive().0, 0x40);
            acknowledged += 1;
        }
    }

    /// Receives so many messages and acknowledges them. Returns their sizes together.
    pub(crate) fn consume(&mut self, count: usize) -> usize {
        let mut bytes = 0;
        for _ in 0..count {
            let (kind, body) = self.receive();
            assert_eq!(kind & 0xf6, 0x32, "a message of QoS 1");
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            self.send(0x40, &body[2 + topic..4 + topic]);
            bytes += body.len() - topic - 4;
        }
        bytes
    }

    fn id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        id
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut left = body.len();
        loop {
            let more = left >= 128;
            packet.push((left % 128) as u8 | if more { 128 } else { 0 });
            left /= 128;
            if !more {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet).unwrap();
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut byte = [0];
        self.input.read_exact(&mut byte).unwrap();
        let [kind] = byte;
        let (mut length, mut shift) = (0, 0);
        loop {
            self.input.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 127) << shift;
            shift += 7;
            if byte[0] < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.input.read_exact(&mut body).unwrap();
        (kind, body)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Whether the broker still listens is not this test's concern.
        let _ = self.stream.write_all(&[0xe0, 0]);
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
