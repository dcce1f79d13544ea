//! Many datagrams with one system call.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg,
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use smallvec::SmallVec;

use super::socket::UdpSocket;

/// Datagrams moved by one call.
pub const MOST: usize = 32;
/// Distance between the buffers of two datagrams: not a power of two, so that they do not compete for the same lines of
/// the processor's cache.
const STRIDE: usize = 8192 - 64;
/// Bytes that [`receive`] needs.
pub const SCRATCH: usize = MOST * STRIDE;

/// A datagram that has arrived; its bytes are in the scratch buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub from: SocketAddr,
    /// The address it was sent to, on a socket that is bound to all.
    pub to: Option<IpAddr>,
    /// Where it is in the scratch buffer.
    pub range: Range<usize>,
    /// Whether its end is missing.
    pub is_cut: bool,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound<'a> {
    /// Who is to get it.
    pub to: SocketAddr,
    /// The address it comes from; `None` leaves it to the kernel.
    pub from: Option<IpAddr>,
    /// What is sent.
    pub bytes: &'a [u8],
}

/// The kernel leaves lengths in the headers that fit the next call only on the same socket, so each has its own. They hold
/// pointers, so each thread has its own.
type Headers = MultiHeaders<SockaddrStorage>;

/// A descriptor may be used again for a socket of another kind.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    descriptor: RawFd,
    is_v4: bool,
    is_wildcard: bool,
}

thread_local! {
    static HEADERS: RefCell<Vec<(Name, Headers)>> = const { RefCell::new(Vec::new()) };
}

fn with_headers<R>(socket: &UdpSocket, act: impl FnOnce(RawFd, &mut Headers) -> R) -> R {
    let descriptor = socket.socket.as_raw_fd();
    let (is_v4, is_wildcard) = (socket.address.is_ipv4(), socket.is_wildcard);
    let name = Name { descriptor, is_v4, is_wildcard };
    HEADERS.with_borrow_mut(|all| {
        if let Some((_, headers)) = all.iter_mut().find(|(of, _)| *of == name) {
            return act(descriptor, headers);
        }
        let room = match (is_wildcard, is_v4) {
            (false, _) => None,
            (true, true) => Some(cmsg_space!(libc::in_pktinfo)),
            (true, false) => Some(cmsg_space!(libc::in6_pktinfo)),
        };
        let mut headers = MultiHeaders::preallocate(MOST, room);
        let result = act(descriptor, &mut headers);
        all.push((name, headers));
        result
    })
}

/// Receives up to [`MOST`] datagrams into `scratch`, of [`SCRATCH`] bytes. Fewer, and there are no more for now.
///
/// # Errors
/// What the kernel says; nothing to be received is no error.
pub fn receive(socket: &UdpSocket, scratch: &mut [u8], into: &mut Vec<Received>) -> io::Result<()> {
    into.clear();
    with_headers(socket, |descriptor, headers| {
        let mut chunks = scratch.chunks_exact_mut(STRIDE);
        let mut buffers: [[IoSliceMut<'_>; 1]; MOST] =
            std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
        let results = match recvmmsg(descriptor, headers, &mut buffers, MsgFlags::MSG_DONTWAIT, None) {
            Ok(results) => results,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        for (index, message) in results.enumerate() {
            let Some(from) = message.address.as_ref().and_then(peer) else { continue };
            let to = match socket.is_wildcard {
                true => message.cmsgs().ok().and_then(|mut all| all.find_map(|one| target(&one))),
                false => None,
            };
            let start = index * STRIDE;
            let is_cut = message.flags.contains(MsgFlags::MSG_TRUNC);
            into.push(Received { from, to, range: start..start + message.bytes, is_cut });
        }
        Ok(())
    })
}

fn peer(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into())
}

/// The address of this machine that a datagram was sent to.
fn target(control: &ControlMessageOwned) -> Option<IpAddr> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))),
        _ => None,
    }
}

/// Sends datagrams, [`MOST`] with each call. What the kernel does not take is lost, as datagrams may be; returns
/// how many that are.
pub fn send(socket: &UdpSocket, datagrams: &[Outbound<'_>]) -> usize {
    let mut lost = 0;
    let mut rest = datagrams;
    while let Some((first, others)) = rest.split_first() {
        if others.first().is_none_or(|next| next.from.is_some()) || first.from.is_some() {
            lost += usize::from(send_one(socket, first).is_err());
            rest = others;
            continue;
        }
        let run = rest.iter().take(MOST).take_while(|datagram| datagram.from.is_none()).count();
        let (run, _) = rest.split_at(run);
        // When the first one cannot be sent the others may fare better.
        let sent = send_run(socket.socket.as_fd(), run).unwrap_or(0);
        lost += usize::from(sent == 0);
        rest = rest.get(sent.max(1)..).unwrap_or_default();
    }
    lost
}

fn send_one(socket: &UdpSocket, datagram: &Outbound<'_>) -> io::Result<()> {
    let Some(from) = datagram.from else {
        return socket.socket.send_to(datagram.bytes, datagram.to).map(drop);
    };
    let (v4, v6);
    let control = match from {
        IpAddr::V4(ip) => {
            let s_addr = u32::from(ip).to_be();
            let (ipi_spec_dst, ipi_addr) = (libc::in_addr { s_addr }, libc::in_addr { s_addr: 0 });
            v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(ip) => {
            let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
            v6 = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: scope(datagram.to) };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let to = SockaddrStorage::from(datagram.to);
    let buffers = [IoSlice::new(datagram.bytes)];
    sendmsg(socket.socket.as_raw_fd(), &buffers, &[control], MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

/// The interface that a link-local address belongs to; 0 for others.
fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// Sends up to [`MOST`] datagrams from the address that the kernel chooses; returns how many it took.
fn send_run(socket: BorrowedFd<'_>, run: &[Outbound<'_>]) -> io::Result<usize> {
    let to: SmallVec<[SocketAddrAny; MOST]> = run.iter().map(|datagram| datagram.to.into()).collect();
    let buffers: SmallVec<[[IoSlice<'_>; 1]; MOST]> =
        run.iter().map(|datagram| [IoSlice::new(datagram.bytes)]).collect();
    let mut controls: SmallVec<[SendAncillaryBuffer<'_, '_, '_>; MOST]> =
        run.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut headers: SmallVec<[MMsgHdr<'_>; MOST]> = to
        .iter()
        .zip(&buffers)
        .zip(&mut controls)
        .map(|((to, buffer), control)| MMsgHdr::new_with_addr(to, buffer, control))
        .collect();
    Ok(sendmmsg(socket, &mut headers, SendFlags::DONTWAIT)?)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Plain;

    use super::*;
    use crate::coap::udp::socket::bind;

    fn arrived(socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Option<IpAddr>, Vec<u8>)> {
        let (mut scratch, mut received, mut all) = (vec![0; SCRATCH], Vec::new(), Vec::new());
        while all.len() < count {
            receive(socket, &mut scratch, &mut received).unwrap();
            all.extend(received.iter().map(|one| (one.from, one.to, scratch[one.range.clone()].to_vec())));
            std::thread::yield_now();
        }
        all
    }

    #[test]
    fn datagrams_come_and_go_in_batches() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let peer = Plain::bind("127.0.0.1:0").unwrap();
        for n in 0..40_u8 {
            peer.send_to(&[n; 5], socket.address).unwrap();
        }
        let all = arrived(&socket, 40);
        for (n, (from, to, bytes)) in all.iter().enumerate() {
            assert_eq!((*from, *to, &**bytes), (peer.local_addr().unwrap(), None, &[n as u8; 5][..]));
        }
        let bytes: Vec<u8> = (0..80).collect();
        let to = peer.local_addr().unwrap();
        let outbound: Vec<_> = bytes.chunks(2).map(|bytes| Outbound { to, from: None, bytes }).collect();
        assert_eq!(send(&socket, &outbound), 0);
        let mut buffer = [0; 10];
        for n in 0..40_u8 {
            let (length, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&[n * 2, n * 2 + 1][..], socket.address));
        }
    }

    #[test]
    fn what_came_to_one_of_many_addresses_is_answered_from_it() {
        for (all, asked, client) in [
            ("0.0.0.0:0", "127.0.0.7", "127.0.0.9:0"),
            ("[::]:0", "::1", "[::1]:0"),
            ("[::]:0", "127.0.0.8", "127.0.0.9:0"),
        ] {
            let socket = bind(all.parse().unwrap(), 1).unwrap().remove(0);
            let peer = Plain::bind(client).unwrap();
            let asked = SocketAddr::new(asked.parse().unwrap(), socket.address.port());
            for _ in 0..2 {
                peer.send_to(b"x", asked).unwrap();
            }
            for (from, to, _) in arrived(&socket, 2) {
                assert_eq!(to.map(|ip| ip.to_canonical()), Some(asked.ip()), "{all}");
                assert_eq!(send(&socket, &[Outbound { to: from, from: to, bytes: b"y" }]), 0);
                assert_eq!(peer.recv_from(&mut [0; 4]).unwrap(), (1, asked), "{all}");
            }
        }
    }

    #[test]
    fn a_datagram_that_is_too_long_is_known_to_be_cut() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let peer = Plain::bind("127.0.0.1:0").unwrap();
        peer.send_to(&[1; STRIDE + 1], socket.address).unwrap();
        let (mut scratch, mut received) = (vec![0; SCRATCH], Vec::new());
        while received.is_empty() {
            receive(&socket, &mut scratch, &mut received).unwrap();
        }
        assert!(received[0].is_cut && received[0].range.len() == STRIDE);
    }
}
