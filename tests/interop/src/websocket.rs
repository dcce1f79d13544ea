//! The client end of a WebSocket (RFC 6455), small enough to send frames that a library refuses to send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::packet::Version;
use crate::wire::{PATIENCE, Transport, Wire};

/// Frame opcodes (RFC 6455 §5.2).
pub mod opcode {
    #![allow(missing_docs)]
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// A WebSocket over any transport.
#[derive(Debug)]
pub struct WebSocket<T> {
    stream: T,
    unread: Vec<u8>,
    /// Control frames that came between data frames: opcode and payload.
    pub control: Vec<(u8, Vec<u8>)>,
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The upgrade request for a path with these extra header lines.
#[must_use]
pub fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// Sends a request over TCP and returns the status line and headers of the answer.
#[must_use]
pub fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read_head(&mut stream)
}

impl WebSocket<TcpStream> {
    /// Connects to `/mqtt` with subprotocol `mqtt`.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::upgrade(stream)
    }
}

impl<T: Transport> WebSocket<T> {
    /// Upgrades a connection at `/mqtt` and checks the answer (RFC 6455 §4.1).
    #[must_use]
    pub fn upgrade(mut stream: T) -> Self {
        stream.write_all(request("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n").as_bytes()).unwrap();
        stream.flush().unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let accept = STANDARD.encode(Sha1::digest(format!("{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
        assert!(head.contains(&accept), "Sec-WebSocket-Accept is not {accept}: {head}");
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("sec-websocket-protocol: mqtt"), "[MQTT-6.0.0-4]: {head}");
        assert!(!lower.contains("sec-websocket-extensions"), "no extension was offered: {head}");
        Self { stream, unread: Vec::new(), control: Vec::new() }
    }

    /// Sends one masked frame.
    pub fn frame(&mut self, last: bool, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = vec![u8::from(last) << 7 | opcode];
        match payload.len() {
            n @ 0..=125 => bytes.push(0x80 | n as u8),
            n @ 126..=65535 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.raw(&bytes)
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next frame's opcode and payload; `None` at the end of the connection.
    pub fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.exact(2)?;
        assert_eq!(head[1] & 0x80, 0, "RFC 6455 §5.1: a server must not mask");
        assert_eq!(head[0] & 0x70, 0, "no extension was agreed on");
        let length = match head[1] & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.exact(2)?.try_into().unwrap())),
            127 => usize::try_from(u64::from_be_bytes(self.exact(8)?.try_into().unwrap())).unwrap(),
            n => n.into(),
        };
        Some((head[0] & 0x0f, self.exact(length)?))
    }

    fn exact(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// A client end over this connection; each write is one binary frame.
    #[must_use]
    pub fn wire(self, version: Version) -> Wire
    where
        T: 'static,
    {
        Wire::over(self, version)
    }
}

impl<T: Transport> Read for WebSocket<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.next_frame() {
                None | Some((opcode::CLOSE, _)) => return Ok(0),
                Some((opcode::BINARY | opcode::CONTINUATION, payload)) => self.unread = payload,
                Some(control) => self.control.push(control),
            }
        }
        let n = buffer.len().min(self.unread.len());
        buffer[..n].copy_from_slice(&self.unread[..n]);
        self.unread.drain(..n);
        Ok(n)
    }
}

impl<T: Transport> Write for WebSocket<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame(true, opcode::BINARY, bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<T: Transport> Transport for WebSocket<T> {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_patience(patience)
    }
    fn end(&self) -> io::Result<()> {
        self.stream.end()
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(error) => panic!("no answer to the upgrade: {error}"),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
