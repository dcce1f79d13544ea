//! The server: addresses to listen at, and what is common to them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tercet_coap::uri::Scheme;
use tercet_net::dtls::{DtlsServerSettings, ReloadableDtlsServerConfig};
use tercet_net::tls::{ClientAuth, ServerSettings, server_config};
use tokio::net::{TcpListener, UdpSocket, lookup_host};
use tokio::task::JoinSet;

use super::super::address::Address;
use super::super::error::{Error, Result};
use super::super::oscore::Oscore;
use super::router::Router;
use super::secure::Secure;
use super::service::{Bounds, Service};
use super::{datagram, stream};

/// A CoAP server that listens at one or several addresses.
///
/// Over UDP it answers from the address that the system chooses: on a machine with several, bind one of them rather
/// than `0.0.0.0`.
pub struct Server {
    listeners: Vec<Listener>,
    settings: Settings,
}

struct Listener {
    scheme: Scheme,
    socket: Socket,
    address: SocketAddr,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

struct Settings {
    bounds: Bounds,
    certificate: Option<Certificate>,
    psk_file: Option<PathBuf>,
    contexts: Vec<Oscore>,
}

/// The server's certificate, for TLS and DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file with the certificate, followed by the intermediate ones.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities of clients' certificates; with it, clients have to show one.
    pub client_ca: Option<PathBuf>,
}

impl Server {
    /// Listens at an address: `coap://` (UDP), `coaps://` (DTLS), `coap+tcp://`, `coaps+tcp://`, `coap+ws://` or `coaps+ws://`, host and
    /// port. Port 0 takes one that is free.
    ///
    /// # Errors
    /// A bad address, and those of the socket.
    pub async fn bind(url: impl AsRef<str>) -> Result<Self> {
        let settings = Settings {
            bounds: Bounds { body: 1024 * 1024, observers: 10_000 },
            certificate: None,
            psk_file: None,
            contexts: Vec::new(),
        };
        Self { listeners: Vec::new(), settings }.and(url).await
    }

    /// Listens at a further address.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub async fn and(mut self, url: impl AsRef<str>) -> Result<Self> {
        let address = Address::parse(url.as_ref())?;
        let failed =
            |source: io::Error| Error::Connect { url: address.to_string(), source: Arc::new(source) };
        let host = address.host();
        let targets = lookup_host((host.as_str(), address.port)).await.map_err(failed)?;
        let targets: Vec<_> = targets.collect();
        let (socket, bound) = match address.scheme {
            Scheme::Coap | Scheme::Coaps => {
                let socket = UdpSocket::bind(targets.as_slice()).await.map_err(failed)?;
                let bound = socket.local_addr().map_err(failed)?;
                (Socket::Udp(socket), bound)
            }
            _ => {
                let socket = TcpListener::bind(targets.as_slice()).await.map_err(failed)?;
                let bound = socket.local_addr().map_err(failed)?;
                (Socket::Tcp(socket), bound)
            }
        };
        self.listeners.push(Listener { scheme: address.scheme, socket, address: bound });
        Ok(self)
    }

    /// The certificate for the addresses that are secured.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.settings.certificate = Some(certificate);
        self
    }

    /// The pre-shared keys of clients, for DTLS: a file with a line `NAME:KEY` for each, the key in hexadecimal.
    #[must_use]
    pub fn psk_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.psk_file = Some(path.into());
        self
    }

    /// Takes requests that are protected with this context, beside others (RFC 8613). May be called several times.
    #[must_use]
    pub fn oscore(mut self, context: Oscore) -> Self {
        self.settings.contexts.push(context);
        self
    }

    /// The largest body of a request that is taken, in bytes; 1 MiB if not set. Beyond it the answer is 4.13.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.bounds.body = bytes;
        self
    }

    /// How many observers there may be altogether; 10,000 if not set. Beyond it a request to observe is answered
    /// without observation.
    #[must_use]
    pub fn max_observers(mut self, count: usize) -> Self {
        self.settings.bounds.observers = count;
        self
    }

    /// Where it listens, in the order in which the addresses were given, as URIs.
    pub fn urls(&self) -> Vec<String> {
        let url = |listener: &Listener| format!("{}://{}", listener.scheme, listener.address);
        self.listeners.iter().map(url).collect()
    }

    /// Answers requests until what is returned is dropped.
    ///
    /// # Errors
    /// Certificates that cannot be read, and sockets that fail for good.
    pub async fn serve(self, router: Router) -> Result<()> {
        let Settings { bounds, ref contexts, .. } = self.settings;
        let service = Arc::new(Service::new(router, contexts.clone(), bounds, key()?));
        let mut tasks = JoinSet::new();
        for listener in self.listeners {
            let url = format!("{}://{}", listener.scheme, listener.address);
            let service = service.clone();
            let scheme = listener.scheme;
            match listener.socket {
                Socket::Udp(socket) => {
                    let secure = match scheme.is_secure() {
                        true => Some(dtls(&self.settings, &url)?),
                        false => None,
                    };
                    tasks.spawn(datagram::serve(socket, secure, service, url))
                }
                Socket::Tcp(socket) => {
                    let tls = match scheme.is_secure() {
                        true => Some(tls(self.settings.certificate.as_ref(), scheme, &url)?),
                        false => None,
                    };
                    tasks.spawn(stream::serve(socket, scheme, tls, service))
                }
            };
        }
        match tasks.join_next().await {
            Some(Ok(Err(error))) => Err(error),
            _ => Err(Error::Closed),
        }
    }
}

/// A key that nobody knows.
fn key() -> Result<[u64; 2]> {
    let mut halves = [[0; 8]; 2];
    for half in &mut halves {
        getrandom::fill(half).map_err(|error| Error::Invalid(format!("no randomness: {error}")))?;
    }
    Ok(halves.map(u64::from_ne_bytes))
}

fn dtls(settings: &Settings, url: &str) -> Result<Secure> {
    let failed = |reason: String| Error::Secure { url: url.to_owned(), reason };
    if settings.certificate.is_none() && settings.psk_file.is_none() {
        return Err(failed("the server has neither a certificate nor pre-shared keys".into()));
    }
    let certificate = settings.certificate.clone();
    let client_ca = certificate.as_ref().and_then(|certificate| certificate.client_ca.clone());
    let settings = DtlsServerSettings {
        psk_file: settings.psk_file.clone(),
        certificate: certificate.map(|certificate| (certificate.certificate, certificate.key)),
        client_ca,
    };
    let config = ReloadableDtlsServerConfig::load(settings).map_err(|error| failed(error.to_string()))?;
    Secure::new(Arc::new(config)).map_err(|error| failed(error.to_string()))
}

fn tls(certificate: Option<&Certificate>, scheme: Scheme, url: &str) -> Result<Arc<ServerConfig>> {
    let failed = |reason: String| Error::Secure { url: url.to_owned(), reason };
    let Some(certificate) = certificate else {
        return Err(failed("the server has no certificate".into()));
    };
    let mut settings = ServerSettings::new(&certificate.certificate, &certificate.key);
    if let Some(ca) = &certificate.client_ca {
        settings.client_auth = ClientAuth::Required { ca: ca.clone() };
    }
    if scheme == Scheme::CoapsTcp {
        settings.alpn.push(tercet_coap::stream::ALPN.to_vec());
    }
    server_config(&settings).map_err(|error| failed(error.to_string()))
}
