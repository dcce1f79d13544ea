//! What a TLS handshake settled.

use rustls::{Connection, ProtocolVersion};

use super::identity::{CertificateIdentity, certificate_identity};

/// What a TLS handshake settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// Version, such as `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Host name that the client asked for (SNI), on the server's side.
    pub server_name: Option<String>,
    /// Application protocol agreed by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// The names in the peer's certificate, if it showed one; TLS has verified it.
    pub identity: Option<CertificateIdentity>,
}

impl TlsInfo {
    /// Reads a connection; `None` while it is handshaking.
    #[must_use]
    pub fn of(connection: &Connection) -> Option<Self> {
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "unknown",
        };
        if connection.is_handshaking() {
            return None;
        }
        let server_name = match connection {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        Some(Self {
            version,
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown")
                .to_owned(),
            server_name,
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            identity: certificate.and_then(|certificate| certificate_identity(certificate).ok()),
        })
    }
}
