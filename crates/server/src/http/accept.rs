//! Accepting: admission, PROXY header, TLS, then the requests of the connection.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tercet_net::listen::{SocketFile, StdListener, is_exhaustion};
use tercet_net::proxy_protocol::{HeaderDecoder, Progress, ProxyError, TrustedProxies};
use tercet_net::{Listener, Peer, PeerAddress};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::HttpContext;
use super::routes;
use super::stream::{AsyncSocket, HttpStream, Wire};
use crate::mqtt::settings::ListenerSettings;

/// Bytes of a request line and headers together.
const HEADERS: usize = 16 * 1024;
/// Header lines of a request.
const HEADER_LINES: usize = 64;
/// Pause after accepting failed, mostly for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket of the runtime.
pub(super) enum Door {
    Tcp(TcpListener),
    /// The file is held for its drop alone.
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop")] SocketFile),
}

impl Door {
    /// Gives a listener to the runtime in whose context this is called.
    pub(super) fn open(listener: Listener) -> io::Result<Self> {
        Ok(match listener.into_std() {
            StdListener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            StdListener::Unix(listener, file) => Self::Unix(UnixListener::from_std(listener)?, file),
        })
    }

    async fn accept(&self) -> io::Result<(AsyncSocket, PeerAddress)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Fails only when the peer is already gone, which the first read will tell.
                let _ = stream.set_nodelay(true);
                Ok((AsyncSocket::Tcp(stream), address.into()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((AsyncSocket::Unix(stream), PeerAddress::Unix))
            }
        }
    }
}

/// A connection that its listener has admitted; counted out when the last holder drops it, unless a reactor has
/// taken that over.
pub(crate) struct Admission {
    settings: Arc<ListenerSettings>,
    handed_over: AtomicBool,
}

impl Admission {
    fn of(settings: Arc<ListenerSettings>) -> Option<Arc<Self>> {
        settings.admit().then(|| Arc::new(Self { settings, handed_over: AtomicBool::new(false) }))
    }

    /// The settings of the listener.
    pub(crate) fn settings(&self) -> &Arc<ListenerSettings> {
        &self.settings
    }

    /// Leaves the counting out to whoever has the connection now.
    pub(crate) fn hand_over(&self) -> Arc<ListenerSettings> {
        self.handed_over.store(true, Relaxed);
        Arc::clone(&self.settings)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.handed_over.load(Relaxed) {
            self.settings.release();
        }
    }
}

/// Accepts connections of one listener for as long as the runtime lives.
pub(super) async fn accept_all(
    door: Door,
    settings: Arc<ArcSwap<ListenerSettings>>,
    context: Arc<HttpContext>,
) {
    let mut reported = false;
    loop {
        let (socket, address) = match door.accept().await {
            Ok(accepted) => accepted,
            // One that died while it waited.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) =>
            {
                continue;
            }
            Err(error) => {
                if !std::mem::replace(&mut reported, true) {
                    tracing::warn!(listener = %settings.load().name, %error, exhausted = is_exhaustion(&error),
                        "cannot accept connections; raise the open-file limit (LimitNOFILE, ulimit -n)");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let totals = context.shared.vhost.metrics();
        let Some(admission) = Admission::of(settings.load_full()) else {
            totals.sockets_refused.fetch_add(1, Relaxed);
            if !std::mem::replace(&mut reported, true) {
                tracing::warn!(listener = %settings.load().name,
                    "limit of connections reached; refusing more (max-connections)");
            }
            continue;
        };
        totals.sockets_accepted.fetch_add(1, Relaxed);
        tokio::spawn(look_after(socket, address, admission, Arc::clone(&context)));
    }
}

/// Serves one connection to its end.
async fn look_after(
    socket: AsyncSocket,
    address: PeerAddress,
    admission: Arc<Admission>,
    context: Arc<HttpContext>,
) {
    let settings = Arc::clone(admission.settings());
    let ready = within(settings.connect_timeout, dress(socket, address, &settings)).await;
    let (stream, peer) = match ready {
        Ok(ready) => ready,
        Err(error) => return tracing::debug!(listener = %settings.name, %error, "connection dropped"),
    };
    let shown = peer.to_string();
    let service = service_fn(move |request| {
        routes::answer(request, Arc::clone(&context), Arc::clone(&admission), peer.clone())
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.connect_timeout)
        .max_buf_size(HEADERS)
        .max_header_size(HEADERS)
        .max_headers(HEADER_LINES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(listener = %settings.name, peer = shown, %error, "HTTP connection ended");
    }
}

/// Puts the layers of the listener on a fresh connection and finds out who is at its other end.
async fn dress(
    socket: AsyncSocket,
    address: PeerAddress,
    settings: &ListenerSettings,
) -> io::Result<(HttpStream, Peer)> {
    let mut wire = Wire::new(socket, settings.connect_timeout);
    let peer = match &settings.layers.proxy {
        Some(trusted) => read_proxy_header(&mut wire, address, trusted).await?,
        None => Peer::direct(address),
    };
    let stream = match &settings.layers.tls {
        Some(tls) => HttpStream::Tls(Box::new(TlsAcceptor::from(tls.current()).accept(wire).await?)),
        None => HttpStream::Plain(wire),
    };
    Ok((stream, peer))
}

/// Reads the PROXY header in front of the stream; what was read behind it is put back.
async fn read_proxy_header(
    wire: &mut Wire,
    address: PeerAddress,
    trusted: &TrustedProxies,
) -> io::Result<Peer> {
    if !trusted.trusts(address) {
        return Err(io::Error::new(ErrorKind::PermissionDenied, ProxyError::Untrusted(address)));
    }
    let mut decoder = HeaderDecoder::speaking(trusted.versions());
    let mut buffer = [0; 1024];
    loop {
        let length = wire.read(&mut buffer).await?;
        let input = buffer.get(..length).filter(|input| !input.is_empty());
        let input = input.ok_or(ErrorKind::UnexpectedEof)?;
        let progress = decoder.feed(input).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let Progress::Complete { header, used } = progress {
            wire.put_back(input.get(used..).unwrap_or_default());
            return Ok(header.into_peer(address));
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "the handshake took too long")),
    }
}
