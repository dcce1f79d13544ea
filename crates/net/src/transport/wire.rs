//! The lowest layer: the socket, and the PROXY header in front of its stream while that is awaited.

use std::io::{self, Read};

use crate::peer::Peer;
use crate::proxy_protocol::{HeaderDecoder, Progress};
use crate::socket::Socket;

use super::{Received, invalid_data};

/// A view of the parts of a transport that deliver raw bytes.
pub(super) struct Wire<'a> {
    pub(super) socket: &'a mut Socket,
    pub(super) peer: &'a mut Peer,
    pub(super) proxy: &'a mut Option<HeaderDecoder>,
}

impl Wire<'_> {
    /// Reads bytes of the stream proper into `buffer`.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            let received = read(self.socket, buffer)?;
            let (Received::Data(n) | Received::More(n)) = received else { return Ok(received) };
            let Some(decoder) = self.proxy else { return Ok(received) };
            match decoder.feed(buffer.get(..n).unwrap_or_default()).map_err(invalid_data)? {
                Progress::Incomplete => {}
                Progress::Complete { header, used } => {
                    *self.peer = header.into_peer(self.peer.socket_address());
                    *self.proxy = None;
                    if used < n {
                        buffer.copy_within(used..n, 0);
                        return Ok(match received {
                            Received::Data(_) => Received::Data(n - used),
                            _ => Received::More(n - used),
                        });
                    }
                }
            }
        }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.receive(buffer)? {
            Received::Data(n) | Received::More(n) => Ok(n),
            Received::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
            Received::Closed => Ok(0),
        }
    }
}

/// One read of the socket.
pub(super) fn read(socket: &mut Socket, buffer: &mut [u8]) -> io::Result<Received> {
    loop {
        return match socket.read(buffer) {
            Ok(0) => Ok(Received::Closed),
            Ok(n) if n == buffer.len() => Ok(Received::More(n)),
            Ok(n) => Ok(Received::Data(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::WouldBlock),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
