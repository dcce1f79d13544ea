//! One peer over UDP or DTLS: datagrams in and out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{UdpSocket, lookup_host};

use tercet_coap::uri::Scheme;

use super::address::Address;
use super::builder::Settings;
use super::error::{Error, Result};

/// A socket that is connected to one peer, so that the operating system tells when nobody listens there.
pub(super) struct DatagramPort {
    socket: UdpSocket,
    url: String,
}

impl DatagramPort {
    /// Looks up the name and opens a socket; the peer's address.
    pub(super) async fn connect(address: &Address, _settings: &Settings) -> Result<(Self, SocketAddr)> {
        let url = address.to_string();
        let unreachable = |source: io::Error| Error::Connect { url: url.clone(), source: Arc::new(source) };
        if address.scheme == Scheme::Coaps {
            return Err(Error::Secure { url, reason: "DTLS is not built in".into() });
        }
        let (socket, peer) = open(&address.host(), address.port).await.map_err(unreachable)?;
        Ok((Self { socket, url }, peer))
    }

    /// The peer's address as it was given.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The next datagram. May be dropped and called again.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }

    /// Sends a datagram.
    pub(super) async fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).await.map(|_| ())
    }

    /// Says goodbye where there is somebody to say it to.
    pub(super) async fn close(self) {}
}

/// The first of the addresses that a socket can be connected to.
async fn open(host: &str, port: u16) -> io::Result<(UdpSocket, SocketAddr)> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for peer in lookup_host((host, port)).await? {
        let local = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let connected = async {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(peer).await?;
            Ok(socket)
        };
        match connected.await {
            Ok(socket) => return Ok((socket, peer)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
