//! Makes the stream of bytes to a peer: TCP, then TLS, then WebSocket.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use tercet_coap::uri::Scheme;

use super::address::Address;
use super::error::{Error, Result};
use super::websocket::{self, Framing};
use crate::mqtt::Tls;

/// A stream of bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream, and the framing of its messages if it is a WebSocket.
pub(super) struct Dialled {
    pub(super) io: Box<dyn Io>,
    pub(super) websocket: Option<Framing>,
}

/// Connects to a peer that is reached over TCP. Messages of a WebSocket are bounded by `limit` bytes.
pub(super) async fn dial(address: &Address, tls: &Tls, limit: usize) -> Result<Dialled> {
    let url = address.to_string();
    let unreachable = |source: io::Error| Error::Connect { url: url.clone(), source: Arc::new(source) };
    let tcp = TcpStream::connect((address.host().as_str(), address.port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let mut io: Box<dyn Io> = if address.scheme.is_secure() {
        secure(tcp, address, tls).await.map_err(|reason| Error::Secure { url: url.clone(), reason })?
    } else {
        Box::new(tcp)
    };
    let websocket = match address.scheme {
        Scheme::CoapWs | Scheme::CoapsWs => {
            let framing = websocket::connect(&mut io, &address.authority(), websocket::PATH, limit).await;
            Some(framing.map_err(|reason| Error::WebSocket { url, reason })?)
        }
        _ => None,
    };
    Ok(Dialled { io, websocket })
}

async fn secure(tcp: TcpStream, address: &Address, tls: &Tls) -> Result<Box<dyn Io>, String> {
    let mut tls = tls.clone();
    // RFC 8323 §8.2: over TLS the protocol is named; a WebSocket is HTTP first.
    if address.scheme == Scheme::CoapsTcp && tls.alpn.is_empty() {
        tls.alpn.push("coap".into());
    }
    let name = ServerName::try_from(address.host()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(tls.config()?).connect(name, tcp).await;
    Ok(Box::new(stream.map_err(|error| error.to_string())?))
}
