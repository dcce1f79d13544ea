//! The floor of CoAP: one thread, `recvfrom`, `sendto`, an answer that only echoes Message ID and token.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use dimpl::{Dtls, Output};

use crate::coap::server_engine;
use crate::coap::wire::{Datagram, HEADER, Kind, SMALL, code};
use crate::engine::Interrupt;

const LARGEST: usize = 2048;
const HEARTBEAT: Duration = Duration::from_millis(200);

/// Answers a GET with 2.05 and [`SMALL`], anything else with 2.04, and a ping with a reset.
///
/// # Errors
/// When the address cannot be bound or the socket fails.
pub fn serve_coap(addr: SocketAddr, interrupt: &Interrupt, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let socket = bind(addr, ready)?;
    let mut answer = Vec::with_capacity(LARGEST);
    receive(&socket, interrupt, |peer, request| {
        answer.clear();
        write_answer(request, &mut answer);
        if answer.is_empty() { Ok(()) } else { socket.send_to(&answer, peer).map(drop) }
    })
}

/// The same over DTLS, an engine and nothing else for each peer.
///
/// # Errors
/// When the address cannot be bound or the socket fails.
pub fn serve_coaps(
    addr: SocketAddr,
    interrupt: &Interrupt,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let engine = server_engine()?;
    let socket = bind(addr, ready)?;
    let mut peers: HashMap<SocketAddr, Dtls> = HashMap::new();
    let mut record = vec![0; LARGEST];
    let mut answer = Vec::with_capacity(LARGEST);
    receive(&socket, interrupt, |peer, datagram| {
        if begins_anew(datagram) {
            peers.remove(&peer);
        }
        let association = peers.entry(peer).or_insert_with(&engine);
        if association.handle_packet(datagram).is_err() {
            peers.remove(&peer);
            return Ok(());
        }
        loop {
            match association.poll_output(&mut record) {
                Output::Packet(bytes) => drop(socket.send_to(bytes, peer)?),
                Output::ApplicationData(request) => {
                    answer.clear();
                    write_answer(request, &mut answer);
                    // A peer that is gone gets no answer.
                    let _ = association.send_application_data(&answer);
                }
                Output::CloseNotify => {
                    peers.remove(&peer);
                    return Ok(());
                }
                Output::Timeout(_) => return Ok(()),
                _ => (),
            }
        }
    })
}

/// Whether this is the first message of a handshake: somebody else may have got the port of a client that is gone.
fn begins_anew(datagram: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    // Type and epoch of the record, type and number of the message (RFC 6347 §4.1, §4.2.2).
    datagram.first() == Some(&HANDSHAKE)
        && datagram.get(3..5) == Some(&[0, 0])
        && datagram.get(13) == Some(&CLIENT_HELLO)
        && datagram.get(17..19) == Some(&[0, 0])
}

fn bind(addr: SocketAddr, ready: impl FnOnce(SocketAddr)) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr)?;
    socket.set_read_timeout(Some(HEARTBEAT))?;
    ready(socket.local_addr()?);
    Ok(socket)
}

fn receive(
    socket: &UdpSocket,
    interrupt: &Interrupt,
    mut datagram: impl FnMut(SocketAddr, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [0; LARGEST];
    while !interrupt.is_raised() {
        match socket.recv_from(&mut buffer) {
            Ok((length, peer)) => datagram(peer, &buffer[..length])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_answer(request: &[u8], answer: &mut Vec<u8>) {
    let Some(read) = Datagram::parse(request) else { return };
    if read.code == code::EMPTY {
        answer.extend_from_slice(&crate::coap::wire::empty(Kind::Reset, read.id));
        return;
    }
    answer.extend_from_slice(&request[..HEADER + read.token.len()]);
    answer[0] |= (Kind::Acknowledgement as u8) << 4;
    answer[1] = if read.code == code::GET { code::CONTENT } else { code::CHANGED };
    if read.code == code::GET {
        answer.push(0xFF);
        answer.extend_from_slice(SMALL);
    }
}
