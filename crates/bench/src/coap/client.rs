//! One client: a socket of its own, its Message IDs and tokens, the request under way.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::session::Session;
use super::wire::TOKEN;

/// What lies below the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Bare UDP.
    None,
    /// DTLS with a pre-shared key.
    Psk,
}

/// A client as the fleet keeps it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: UdpSocket,
    /// `None` for bare UDP.
    pub(super) session: Option<Box<Session>>,
    pub(super) next_id: u16,
    pub(super) serial: u32,
    /// Datagrams sent from this socket.
    pub(super) sent: u32,
    pub(super) pending: Option<Pending>,
    /// The last request, for retransmission.
    pub(super) last: Vec<u8>,
    /// The token of its observation.
    pub(super) observing: Option<[u8; TOKEN]>,
}

/// A request whose answer is awaited; times are the fleet's clock, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) id: u16,
    pub(super) token: [u8; TOKEN],
    pub(super) since: u64,
    pub(super) sent_at: u64,
    pub(super) retransmitted: u8,
    /// An empty acknowledgement came; the answer comes in a message of its own.
    pub(super) acknowledged: bool,
}

impl Client {
    pub(super) fn new(server: SocketAddr, number: usize) -> io::Result<Self> {
        Ok(Client {
            socket: socket_to(server)?,
            session: None,
            next_id: (number as u16).wrapping_mul(40_503),
            serial: (number as u32).wrapping_mul(0x9E37_79B9),
            sent: 0,
            pending: None,
            last: Vec::new(),
            observing: None,
        })
    }

    /// Sends a message; what the socket does not take is lost, as datagrams are.
    #[inline]
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.sent += 1;
        match &mut self.session {
            None => lossy(self.socket.send(message)),
            Some(session) => session.send(message, |record| lossy(self.socket.send(record))),
        }
    }
}

/// A socket of its own port that hears of `server` only.
pub(super) fn socket_to(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A full buffer loses datagrams; nothing else may.
pub(super) fn lossy(sent: io::Result<usize>) -> io::Result<()> {
    match sent {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => Ok(()),
        Err(error) => Err(error),
    }
}
