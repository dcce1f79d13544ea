//! The client end of TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::{Authority, Identity};
use crate::packet::Version;
use crate::wire::{PATIENCE, Transport, Wire};

/// A TLS connection, handshake done.
#[derive(Debug)]
pub struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Connects as `localhost`, trusting one authority, with a client certificate and protocol names if given.
    ///
    /// # Errors
    /// If the handshake fails.
    pub fn open(
        address: SocketAddr,
        authority: &Authority,
        identity: Option<&Identity>,
        protocols: &[&str],
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(connection, stream)))
    }

    /// The protocol name that was agreed on.
    #[must_use]
    pub fn protocol(&self) -> Option<String> {
        self.0.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The server's certificate, DER.
    #[must_use]
    pub fn server_certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().and_then(|list| list.first()).expect("a certificate").to_vec()
    }

    /// A client end over this connection.
    #[must_use]
    pub fn wire(self, version: Version) -> Wire {
        Wire::over(self, version)
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Transport for Tls {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.0.sock.set_read_timeout(patience)
    }
    fn end(&self) -> io::Result<()> {
        self.0.sock.shutdown(std::net::Shutdown::Write)
    }
}
