//! Makes the stream of bytes to the broker: TCP or Unix socket, then TLS, then WebSocket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, Scheme};
use super::options::Options;
use super::websocket;
use crate::{Error, Result};

/// A stream of bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects.
pub(super) async fn dial(endpoint: &Endpoint, options: &Options) -> Result<Box<dyn Io>> {
    let url = endpoint.to_string();
    let unreachable = |source: io::Error| Error::Connect { url: url.clone(), source: Arc::new(source) };
    let (scheme, host, port, path) = match endpoint {
        Endpoint::Unix(path) => {
            return Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?));
        }
        Endpoint::Host { scheme, host, port, path } => (*scheme, host, *port, path),
    };
    let tcp = tcp(host, port, options).await.map_err(unreachable)?;
    let stream: Box<dyn Io> = if scheme.is_tls() {
        let refused = |reason: String| Error::Tls { url: url.clone(), reason };
        let config = options.tls.config().map_err(refused)?;
        let name = ServerName::try_from(host.clone()).map_err(|error| refused(error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, tcp).await;
        Box::new(stream.map_err(|error| refused(error.to_string()))?)
    } else {
        Box::new(tcp)
    };
    if !matches!(scheme, Scheme::Ws | Scheme::Wss) {
        return Ok(stream);
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let authority = if port == scheme.default_port() { bracketed } else { format!("{bracketed}:{port}") };
    let socket = websocket::connect(stream, &authority, path).await;
    Ok(Box::new(socket.map_err(|reason| Error::WebSocket { url, reason })?))
}

/// Tries the addresses of the host one after the other; the last failure is told.
async fn tcp(host: &str, port: u16, options: &Options) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match connect_to(address, options).await {
            Ok(stream) => {
                stream.set_nodelay(options.nodelay)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connect_to(address: SocketAddr, options: &Options) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = options.bind {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(address).await
}
