//! Client configurations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::TlsConfigError;
use super::{MinimumVersion, pem};

/// How a client uses TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Whose certificates are accepted.
    pub roots: Roots,
    /// Whether the certificate has to carry the server's name.
    pub name_check: NameCheck,
    /// What to show to a server that asks.
    pub certificate: Option<ClientCertificate>,
    /// Application protocols offered by ALPN, the preferred one first, such as `mqtt`.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version spoken.
    pub minimum_version: MinimumVersion,
}

/// Which servers a client believes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those certified by the authorities that the operating system trusts.
    #[default]
    System,
    /// Those certified by the authorities in a PEM file, and no others.
    File(PathBuf),
    /// Those certified by the authorities in the PEM files of a directory, and no others. Other files in it are passed
    /// over, but one authority must be found.
    Directory(PathBuf),
    /// The authorities of a PEM file and of a directory together.
    FileAndDirectory {
        /// As [`File`](Self::File).
        file: PathBuf,
        /// As [`Directory`](Self::Directory).
        directory: PathBuf,
    },
    /// Any at all: the connection is encrypted, but whoever is in the middle can read and change it. For trials.
    Insecure,
}

/// Whether a server's certificate has to carry the name that the client connects to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCheck {
    /// It has to.
    #[default]
    Required,
    /// Any certificate of a trusted authority will do, so that each server of that authority can pass for any other.
    /// For an authority of one's own whose servers are reached by address.
    AnyName,
}

/// A client's own certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file with the certificate, followed by the intermediate ones.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Reads the files and builds a configuration.
///
/// # Errors
/// [`TlsConfigError`] with the file, the reason and a hint.
pub fn client_config(settings: &ClientSettings) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = server_verifier(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.minimum_version.versions())
        .map_err(|error| TlsConfigError::new("TLS versions", None, error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(ours) => {
            let chain = pem::certificates("client certificate", &ours.certificate)?;
            let key = pem::private_key(&ours.key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsConfigError::new("client certificate", Some(&ours.certificate), error))?
        }
    };
    config.alpn_protocols.clone_from(&settings.alpn);
    Ok(Arc::new(config))
}

pub(crate) fn server_verifier(
    settings: &ClientSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
    const WHAT: &str = "certificate authorities";
    let (store, path) = match &settings.roots {
        Roots::Insecure => return Ok(Arc::new(AcceptAnyServer(Arc::clone(provider)))),
        Roots::System => (system_roots()?, None),
        Roots::File(path) => (pem::roots(WHAT, path)?, Some(path.as_path())),
        Roots::Directory(path) => {
            let mut store = RootCertStore::empty();
            add_directory(&mut store, WHAT, path)?;
            (store, Some(path.as_path()))
        }
        Roots::FileAndDirectory { file, directory } => {
            let mut store = pem::roots(WHAT, file)?;
            add_directory(&mut store, WHAT, directory)?;
            (store, Some(file.as_path()))
        }
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| TlsConfigError::new(WHAT, path, error))?;
    Ok(match settings.name_check {
        NameCheck::Required => verifier,
        NameCheck::AnyName => Arc::new(AnyName(verifier)),
    })
}

/// Adds the authorities in the files of a directory. Such directories hold links and other files besides.
fn add_directory(
    store: &mut RootCertStore,
    what: &'static str,
    directory: &Path,
) -> Result<(), TlsConfigError> {
    let before = store.len();
    let entries =
        std::fs::read_dir(directory).map_err(|error| TlsConfigError::new(what, Some(directory), error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_file()
            && let Ok(certificates) = pem::certificates(what, &path)
        {
            store.add_parsable_certificates(certificates);
        }
    }
    if store.len() == before {
        return Err(TlsConfigError::new(what, Some(directory), "no certificate in its files")
            .hint("expected files in PEM, blocks that begin with -----BEGIN CERTIFICATE-----"));
    }
    Ok(())
}

fn system_roots() -> Result<RootCertStore, TlsConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Systems carry a few certificates that do not parse; the others are what counts.
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "the operating system has none".to_owned(), ToString::to_string);
        return Err(TlsConfigError::new("system certificate authorities", None, reason)
            .hint("install ca-certificates, or name a file with --cafile"));
    }
    Ok(store)
}

/// Trusts the authorities but accepts any name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is looked at last, after the chain was found good.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts every certificate. Signatures of the handshake are still checked, so that the peer at least owns the key
/// it shows.
#[derive(Debug)]
struct AcceptAnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
