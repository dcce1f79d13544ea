//! What resources a server has, and what servers there are (RFC 6690, RFC 7252 §7 and §8).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tercet_coap::link_format::{self, Link};
use tercet_coap::uri::Scheme;
use tercet_coap::{Code, ContentFormat, Kind, OwnedMessage, Token, datagram};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::address::{Address, add_path};
use super::client::Client;
use super::error::{Error, Result};
use super::message::Message;
use super::response::Response;

/// The place of the links of a server.
const WELL_KNOWN: &str = "/.well-known/core";
/// More servers than these are not listened to.
const SERVERS: usize = 10_000;

impl Client {
    /// The resources of the server: the links of `/.well-known/core`.
    ///
    /// # Errors
    /// Those of the request, and [`Error::Protocol`] when the answer is not in the link format.
    pub async fn discover(&self) -> Result<Vec<Link<'static>>> {
        self.discover_matching("").await
    }

    /// As [`discover`](Self::discover), of those only that match a query such as `rt=core.ps` or `href=/sensors*`.
    ///
    /// # Errors
    /// As for [`discover`](Self::discover).
    pub async fn discover_matching(&self, query: &str) -> Result<Vec<Link<'static>>> {
        let mut request = self.get(WELL_KNOWN);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            request = request.query_part(part);
        }
        links(&request.accept(ContentFormat::LINK_FORMAT).await?)
    }
}

/// The links that an answer consists of.
///
/// # Errors
/// [`Error::Protocol`] when it is not in the link format.
pub fn links(response: &Response) -> Result<Vec<Link<'static>>> {
    let text = response.text().ok_or_else(|| Error::Protocol("links that are not UTF-8".into()))?;
    let links = link_format::parse(text).map_err(|error| Error::Protocol(error.to_string()))?;
    Ok(links.into_iter().map(Link::into_owned).collect())
}

/// Asks a group of servers at once, such as `coap://224.0.1.187` or `coap://[ff02::fd%25eth0]`, all that listen on this
/// network (RFC 7252 §8): the answers that came within `patience`, each with its [peer](Response::peer). Servers may
/// take 5 s to answer.
///
/// # Errors
/// A bad address or path, and those of the socket. No answer at all is none.
pub async fn ask_group(url: &str, path: &str, patience: Duration) -> Result<Vec<Response>> {
    let address = Address::parse(url)?;
    let group = address.multicast().filter(|_| address.scheme == Scheme::Coap);
    let Some(group) = group else {
        let reason = "not the address of a group of servers over UDP".into();
        return Err(Error::Url { url: url.to_owned(), reason });
    };
    let failed = |source: io::Error| Error::Connect { url: address.to_string(), source: Arc::new(source) };
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error)))?;
    let token = Token::from(random);
    let mut request = OwnedMessage { token: token.clone(), ..OwnedMessage::new(Code::GET) };
    add_path(path, &mut request.options)?;
    let mut datagram = Vec::new();
    // RFC 7252 §8.1: requests to a group are Non-confirmable.
    let id = u16::from_ne_bytes([random[0], random[1]]);
    request.encode_datagram(Kind::NonConfirmable, id, &mut datagram);
    let socket = socket(group).await.map_err(failed)?;
    let host = address.host();
    let target = tokio::net::lookup_host((host.as_str(), address.port)).await;
    let target = target.map_err(failed)?.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    socket.send_to(&datagram, target).await.map_err(failed)?;
    Ok(collect(&socket, &token, Instant::now() + patience).await)
}

async fn socket(group: IpAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr =
        if group.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    UdpSocket::bind(local).await
}

async fn collect(socket: &UdpSocket, token: &Token, deadline: Instant) -> Vec<Response> {
    let mut answers: Vec<Response> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while answers.len() < SERVERS {
        let Ok(received) = timeout_at(deadline, socket.recv_from(&mut buffer)).await else { break };
        // An error is that of one server which is not there.
        let Ok((length, peer)) = received else { continue };
        let bytes = buffer.get(..length).unwrap_or_default();
        let Ok(datagram) = datagram::decode(bytes, &tercet_coap::Limits::default()) else { continue };
        let message = datagram.message;
        let again = answers.iter().any(|answer| answer.peer() == Some(peer));
        if message.code.is_response() && message.token == token.as_bytes() && !again {
            answers.push(Response::new(Message::from_wire(&message), Some(peer)));
        }
        if datagram.kind == Kind::Confirmable {
            let [high, low] = datagram.id.to_be_bytes();
            let acknowledgement = [0x40 | Kind::Acknowledgement.bits() << 4, Code::EMPTY.0, high, low];
            let _ = socket.send_to(&acknowledgement, peer).await;
        }
    }
    answers
}
