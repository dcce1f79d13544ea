//! What a DTLS server is configured with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use dimpl::{Config, ConfigBuilder, DtlsCertificate};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::error::DtlsError;
use super::hello::Proof;
use super::keys::PskKeys;
use super::provider::{ServerKeys, crypto_provider};
use crate::tls::{TlsConfigError, pem};

/// What a DTLS server is configured with: keys, a certificate, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DtlsServerSettings {
    /// File with the pre-shared keys of clients, as [`PskKeys::parse`] reads it.
    pub psk_file: Option<PathBuf>,
    /// PEM files of the server's certificate and its private key, on the curve P-256 or P-384. Of a chain only the
    /// first certificate is shown.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// PEM file of the authorities that issue certificates of clients. With it a client that uses certificates has
    /// to have one; without it none is asked for. The intermediate authorities belong into it too.
    pub client_ca: Option<PathBuf>,
}

/// A loaded configuration of a DTLS server.
pub struct DtlsServerConfig {
    keys: Option<Arc<Config>>,
    certificate: Option<(Arc<Config>, DtlsCertificate)>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl DtlsServerConfig {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsConfigError`] with the file, the reason and a hint.
    pub fn load(settings: &DtlsServerSettings) -> Result<Self, TlsConfigError> {
        let keys = settings.psk_file.as_deref().map(read_keys).transpose()?;
        let certificate = settings
            .certificate
            .as_ref()
            .map(|(certificate, key)| read_certificate(certificate, key))
            .transpose()?;
        let clients = settings.client_ca.as_deref().map(client_verifier).transpose()?;
        let require = clients.is_some();
        let config = |builder: ConfigBuilder, what| {
            let builder = builder.use_server_cookie(true).require_client_certificate(require);
            build(builder, what).map(Arc::new)
        };
        let keys = keys
            .map(|keys| {
                let resolver = Arc::new(ServerKeys(Arc::new(keys)));
                config(Config::builder().with_psk_server(None, resolver), "pre-shared keys")
            })
            .transpose()?;
        let certificate = certificate
            .map(|ours| config(Config::builder(), "DTLS").map(|config| (config, ours)))
            .transpose()?;
        Ok(Self { keys, certificate, clients })
    }

    pub(super) fn accepts(&self, proof: Proof) -> bool {
        match proof {
            Proof::PreSharedKey => self.keys.is_some(),
            Proof::Certificate => self.certificate.is_some(),
        }
    }

    /// An engine for a client that is to be proven so; `None` if this server cannot.
    pub(super) fn engine(&self, proof: Proof, now: std::time::Instant) -> Option<dimpl::Dtls> {
        match proof {
            Proof::PreSharedKey => Some(dimpl::Dtls::new_12_psk(Arc::clone(self.keys.as_ref()?), now)),
            Proof::Certificate => {
                let (config, certificate) = self.certificate.as_ref()?;
                Some(dimpl::Dtls::new_12(Arc::clone(config), certificate.clone(), now))
            }
        }
    }

    pub(super) fn clients(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.clients.clone()
    }
}

/// Whether a certificate of a client is good.
pub(super) fn verify_client(verifier: &dyn ClientCertVerifier, der: &[u8]) -> Result<(), DtlsError> {
    verifier
        .verify_client_cert(&CertificateDer::from(der), &[], UnixTime::now())
        .map(drop)
        .map_err(|error| DtlsError::Certificate(error.to_string()))
}

/// A configuration that can be replaced while peers stand: those keep what they began with, new ones get the new one.
pub struct ReloadableDtlsServerConfig {
    current: ArcSwap<Loaded>,
}

struct Loaded {
    settings: DtlsServerSettings,
    config: Arc<DtlsServerConfig>,
}

impl ReloadableDtlsServerConfig {
    /// Loads the first configuration.
    ///
    /// # Errors
    /// [`TlsConfigError`] with the file, the reason and a hint.
    pub fn load(settings: DtlsServerSettings) -> Result<Self, TlsConfigError> {
        let config = Arc::new(DtlsServerConfig::load(&settings)?);
        Ok(Self { current: ArcSwap::from_pointee(Loaded { settings, config }) })
    }

    /// The configuration for the next peer.
    #[must_use]
    pub fn current(&self) -> Arc<DtlsServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Reads the same files again.
    ///
    /// # Errors
    /// [`TlsConfigError`]; the old configuration stays in force.
    pub fn reload(&self) -> Result<(), TlsConfigError> {
        self.replace(self.current.load().settings.clone())
    }

    /// Replaces settings and configuration together.
    ///
    /// # Errors
    /// [`TlsConfigError`]; the old settings and configuration stay in force.
    pub fn replace(&self, settings: DtlsServerSettings) -> Result<(), TlsConfigError> {
        let config = Arc::new(DtlsServerConfig::load(&settings)?);
        self.current.store(Arc::new(Loaded { settings, config }));
        Ok(())
    }
}

fn read_keys(path: &Path) -> Result<PskKeys, TlsConfigError> {
    const WHAT: &str = "pre-shared keys";
    let bytes = pem::read(WHAT, path)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| TlsConfigError::new(WHAT, Some(path), error))?;
    PskKeys::parse(text).map_err(|error| TlsConfigError::new(WHAT, Some(path), error))
}

/// Reads a certificate and its key, which has to be one that DTLS can sign with here.
pub(super) fn read_certificate(certificate: &Path, key: &Path) -> Result<DtlsCertificate, TlsConfigError> {
    let chain = pem::certificates("certificate", certificate)?;
    let private_key = pem::private_key(key)?.secret_der().to_vec();
    crypto_provider().key_provider.load_private_key(&private_key).map_err(|_| {
        TlsConfigError::new("private key", Some(key), "not an ECDSA key on P-256 or P-384")
            .hint("DTLS has no RSA here; make a key with `openssl ecparam -name prime256v1 -genkey`")
    })?;
    let certificate = chain.first().map(|first| first.to_vec()).unwrap_or_default();
    Ok(DtlsCertificate { certificate, private_key })
}

fn client_verifier(ca: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
    const WHAT: &str = "client authorities";
    let roots = Arc::new(pem::roots(WHAT, ca)?);
    WebPkiClientVerifier::builder_with_provider(roots, Arc::new(aws_lc_rs::default_provider()))
        .build()
        .map_err(|error| TlsConfigError::new(WHAT, Some(ca), error))
}

pub(super) fn build(builder: ConfigBuilder, what: &'static str) -> Result<Config, TlsConfigError> {
    builder
        .with_crypto_provider(crypto_provider())
        .dtls13_cipher_suites(&[])
        .build()
        .map_err(|error| TlsConfigError::new(what, None, error))
}
