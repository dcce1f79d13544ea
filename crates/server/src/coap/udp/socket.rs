//! Sockets of UDP: one per reactor, all bound to the same address, so that the kernel spreads clients over reactors and
//! every client stays with one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tercet_net::ListenError;
use tercet_net::listen::ListenAddress;

/// Bytes that the kernel is asked to keep for a socket in each direction; it grants what `net.core.rmem_max` allows.
const KERNEL_BUFFER: usize = 4 << 20;

/// A bound socket that does not block.
#[derive(Debug)]
pub struct UdpSocket {
    /// The socket, to be watched and read.
    pub socket: mio::net::UdpSocket,
    /// Where it is bound, with the real port.
    pub address: SocketAddr,
    /// Whether it is bound to all addresses, so that each datagram must be answered from the one that it was sent to.
    pub is_wildcard: bool,
}

/// Binds `count` sockets to `address`; port 0 picks a free one, the same for all.
///
/// # Errors
/// The address is in use, by another program or by sockets of this one, or cannot be bound.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, ListenError> {
    let failed = |source| refused(address, source);
    // Sockets that share a port would silently share that of another broker of this user, too: ask first.
    let probe = open(address, false).map_err(failed)?;
    let actual = probe.local_addr().map_err(failed)?;
    let Some(actual) = actual.as_socket() else { return Err(failed(io::ErrorKind::AddrNotAvailable.into())) };
    drop(probe);
    (0..count).map(|_| shared(actual).map_err(failed)).collect()
}

/// "All CoAP Nodes" (RFC 7252 §12.8), of IPv4, and of IPv6 in the link and in the site.
const GROUPS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 1, 187)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd)),
    IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd)),
];

/// Binds a socket to each multicast address of CoAP that fits a listener at `address`, on its port.
///
/// # Errors
/// The system refuses to join a group.
pub fn join_groups(address: SocketAddr) -> Result<Vec<UdpSocket>, ListenError> {
    let fits = |group: &&IpAddr| group.is_ipv4() == address.is_ipv4();
    let join = |group: &IpAddr| {
        let at = SocketAddr::new(*group, address.port());
        join(*group, address).map_err(|source| refused(at, source))
    };
    GROUPS.iter().filter(fits).map(join).collect()
}

fn join(group: IpAddr, listener: SocketAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(group, listener.port());
    let socket = open(address, true)?;
    match (group, listener.ip()) {
        (IpAddr::V4(group), IpAddr::V4(interface)) => socket.join_multicast_v4(&group, &interface)?,
        (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, 0)?,
        _ => {}
    }
    Ok(UdpSocket { socket: mio::net::UdpSocket::from_std(socket.into()), address, is_wildcard: false })
}

fn shared(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, true)?;
    let is_wildcard = address.ip().is_unspecified();
    if is_wildcard {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    let socket = mio::net::UdpSocket::from_std(socket.into());
    Ok(UdpSocket { socket, address, is_wildcard })
}

fn open(address: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_port(shares_port)?;
    // The kernel gives what it may; less is no reason not to start.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn refused(address: SocketAddr, source: io::Error) -> ListenError {
    let (reason, hint) = match source.kind() {
        io::ErrorKind::AddrInUse => (
            "address in use".to_owned(),
            Some(
                "another CoAP server? stop it, move all ports with --port-offset, or serve no CoAP with --coap off",
            ),
        ),
        io::ErrorKind::PermissionDenied => {
            ("permission denied".to_owned(), Some("ports below 1024 need CAP_NET_BIND_SERVICE"))
        }
        _ => (source.to_string(), None),
    };
    ListenError { address: ListenAddress::Tcp(address), reason, hint, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 0)
    }

    #[test]
    fn the_sockets_share_one_port_and_nobody_else_gets_it() {
        let sockets = bind(free("127.0.0.1"), 3).unwrap();
        let address = sockets[0].address;
        assert!(address.port() != 0 && sockets.iter().all(|socket| socket.address == address));
        assert!(sockets.iter().all(|socket| !socket.is_wildcard));
        let error = bind(address, 1).unwrap_err();
        assert_eq!(error.reason, "address in use");
    }
}
