//! TLS between the socket and the bytes above it.
//!
//! Ciphertext is read into the upper part of the caller's scratch and decrypted to its lower part, so that one
//! system call can serve many records and nothing of it stays here. Memory per connection: what rustls keeps for
//! its state, plus one partial record, plus at most [`SEND_BUFFER`] of encrypted bytes that the socket did not take.

use std::io::{self, IoSlice, Read, Write};

use rustls::Connection;

use crate::socket::Socket;
use crate::tls::{IdentityError, certificate_identity};

use super::wire::Wire;
use super::{Received, invalid_data};

/// Encrypted bytes that may wait for the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// More plaintext than may come out of a record that was partly received before.
const RECORD: usize = 18 * 1024;
/// Reads without a result before other connections get their turn.
const PATIENCE: usize = 8;

#[derive(Debug)]
pub(super) struct TlsLayer {
    pub(super) connection: Connection,
    /// The certificate of the peer, if any, was found to hold usable names.
    identity_checked: bool,
    /// The peer said that it will send nothing more.
    closed: bool,
    failed: Option<Failure>,
}

#[derive(Debug)]
enum Failure {
    /// TLS itself failed; told once all bytes before it were handed out.
    Tls(rustls::Error),
    /// The peer is not one whose bytes are handed out at all.
    Identity(IdentityError),
}

impl TlsLayer {
    pub(super) fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(SEND_BUFFER));
        Self { connection, identity_checked: false, closed: false, failed: None }
    }

    pub(super) fn receive(&mut self, wire: &mut Wire<'_>, scratch: &mut [u8]) -> io::Result<Received> {
        for _ in 0..PATIENCE {
            // From a record that did not fit into the scratch before, or from before the connection was handed over.
            self.check_identity();
            let buffered = self.decrypted(scratch);
            if buffered > 0 {
                return Ok(Received::More(buffered));
            }
            match &self.failed {
                Some(Failure::Tls(error)) => return Err(invalid_data(error.clone())),
                Some(Failure::Identity(error)) => return Err(invalid_data(*error)),
                None => {}
            }
            if self.closed {
                return Ok(Received::Closed);
            }
            let received = if scratch.len() >= 2 * RECORD {
                self.read_bulk(wire, scratch)?
            } else {
                self.read_little(wire, scratch)?
            };
            // Handshake answers go out at once. A failure here shows in the next read too, after what has come.
            let _ = self.flush(wire.socket);
            match received {
                // Only part of a record came, or of a handshake: see whether the socket has more.
                Received::Data(0) | Received::More(0) => {}
                received => return Ok(received),
            }
        }
        Ok(Received::More(0))
    }

    /// Reads as much as leaves room for its plaintext below it.
    fn read_bulk(&mut self, wire: &mut Wire<'_>, scratch: &mut [u8]) -> io::Result<Received> {
        let (plain, cipher) = scratch.split_at_mut(scratch.len().midpoint(RECORD));
        let received = wire.receive(cipher)?;
        let (Received::Data(n) | Received::More(n)) = received else { return Ok(received) };
        let mut cipher = cipher.get(..n).unwrap_or_default();
        let mut filled = 0;
        while !cipher.is_empty() && self.failed.is_none() {
            // Nothing is taken any more after the peer's close_notify.
            if self.connection.read_tls(&mut cipher)? == 0 {
                break;
            }
            self.process();
            filled += self.decrypted(plain.get_mut(filled..).unwrap_or_default());
        }
        self.release_buffer();
        let ended = self.failed.is_some() || self.closed;
        Ok(match received {
            Received::Data(_) if !ended => Received::Data(filled),
            _ => Received::More(filled),
        })
    }

    /// Lets rustls read the socket in its own small pieces, for a scratch too small to share.
    fn read_little(&mut self, wire: &mut Wire<'_>, scratch: &mut [u8]) -> io::Result<Received> {
        match self.connection.read_tls(wire) {
            Ok(0) => return Ok(Received::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::WouldBlock),
            Err(error) => return Err(error),
        }
        self.process();
        Ok(Received::More(self.decrypted(scratch)))
    }

    fn process(&mut self) {
        if let Err(error) = self.connection.process_new_packets() {
            self.failed.get_or_insert(Failure::Tls(error));
        }
        self.check_identity();
    }

    /// Once per connection: a certificate whose names could deceive is refused before a byte is delivered.
    fn check_identity(&mut self) {
        if self.identity_checked || self.connection.is_handshaking() {
            return;
        }
        self.identity_checked = true;
        let Connection::Server(server) = &self.connection else { return };
        if let Some(certificate) = server.peer_certificates().and_then(<[_]>::first)
            && let Err(error) = certificate_identity(certificate)
        {
            self.connection.send_close_notify();
            self.failed = Some(Failure::Identity(error));
        }
    }

    /// Moves decrypted bytes into `room`.
    fn decrypted(&mut self, room: &mut [u8]) -> usize {
        if matches!(self.failed, Some(Failure::Identity(_))) {
            return 0;
        }
        let mut filled = 0;
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.connection.reader().read(rest) {
                Ok(0) => {
                    self.closed = true;
                    break;
                }
                Ok(n) => filled += n,
                // `WouldBlock`, or the end of the stream without a close_notify: nothing more is here.
                Err(_) => break,
            }
        }
        filled
    }

    /// rustls grows its input buffer to the size of a record and shrinks it at the next read, which for an idle
    /// connection may never come: a read that gives nothing lets it shrink now.
    fn release_buffer(&mut self) {
        let _ = self.connection.read_tls(&mut Nothing);
    }

    pub(super) fn send(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush(socket)?;
        let taken = self.connection.writer().write_vectored(slices)?;
        if taken == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.flush(socket)?;
        Ok(taken)
    }

    /// Writes encrypted bytes; true when none are left.
    pub(super) fn flush(&mut self, socket: &mut Socket) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A source that never has anything.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
