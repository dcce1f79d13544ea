//! Server configurations, and their exchange while connections stand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{InconsistentKeys, ServerConfig};

use super::error::TlsConfigError;
use super::{MinimumVersion, pem};

/// What a TLS listener is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// PEM file with the certificate, followed by the intermediate ones.
    pub certificate: PathBuf,
    /// PEM file with the private key (PKCS#8, PKCS#1 or SEC1; not encrypted).
    pub key: PathBuf,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Application protocols offered by ALPN, the preferred one first, such as `mqtt`. When empty, ALPN is not
    /// negotiated; otherwise a client that offers only others is refused, one that offers none is not.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version spoken.
    pub minimum_version: MinimumVersion,
}

impl ServerSettings {
    /// No client certificates, no ALPN, TLS 1.2 and 1.3.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_auth: ClientAuth::Off,
            alpn: Vec::new(),
            minimum_version: MinimumVersion::default(),
        }
    }
}

/// Whether clients show certificates (mutual TLS). One that is shown must be valid in either case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for.
    #[default]
    Off,
    /// They are asked for, but a client may have none.
    Optional {
        /// PEM file with the authorities that issue them.
        ca: PathBuf,
    },
    /// Without one there is no connection.
    Required {
        /// PEM file with the authorities that issue them.
        ca: PathBuf,
    },
}

/// Reads the files and builds a configuration.
///
/// Each configuration has ticket keys of its own: a session resumed under it was verified under it, so replacing
/// the client authorities also ends what the old ones admitted.
///
/// # Errors
/// [`TlsConfigError`] with the file, the reason and a hint.
pub fn server_config(settings: &ServerSettings) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = pem::certificates("certificate chain", &settings.certificate)?;
    let key = pem::private_key(&settings.key)?;
    let verifier = client_verifier(&settings.client_auth, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.minimum_version.versions())
        .map_err(|error| TlsConfigError::new("TLS versions", None, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| certificate_error(settings, &error))?;
    config.alpn_protocols.clone_from(&settings.alpn);
    // Stateless tickets let a fleet that reconnects at once skip the costly part of the handshake without a cache
    // that would have to hold it. A client here has one connection, so one ticket is enough.
    config.ticketer =
        aws_lc_rs::Ticketer::new().map_err(|error| TlsConfigError::new("session tickets", None, error))?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn client_verifier(
    client_auth: &ClientAuth,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
    const WHAT: &str = "client authorities";
    let builder = |ca: &Path| {
        let roots = Arc::new(pem::roots(WHAT, ca)?);
        Ok(WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)))
    };
    let (builder, ca) = match client_auth {
        ClientAuth::Off => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Optional { ca } => (builder(ca)?.allow_unauthenticated(), ca),
        ClientAuth::Required { ca } => (builder(ca)?, ca),
    };
    builder.build().map_err(|error| TlsConfigError::new(WHAT, Some(ca), error))
}

fn certificate_error(settings: &ServerSettings, error: &rustls::Error) -> TlsConfigError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsConfigError::new("private key", Some(&settings.key), "does not belong to the certificate")
                .hint("the server's own certificate must come first in the chain")
        }
        rustls::Error::General(_) => TlsConfigError::new("private key", Some(&settings.key), error),
        _ => TlsConfigError::new("certificate chain", Some(&settings.certificate), error),
    }
}

/// A server configuration that can be replaced while connections stand: those keep what they began with, new ones
/// get the new one.
#[derive(Debug)]
pub struct ReloadableServerConfig {
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    settings: ServerSettings,
    config: Arc<ServerConfig>,
}

impl ReloadableServerConfig {
    /// Loads the first configuration.
    ///
    /// # Errors
    /// [`TlsConfigError`] with the file, the reason and a hint.
    pub fn load(settings: ServerSettings) -> Result<Self, TlsConfigError> {
        let config = server_config(&settings)?;
        Ok(Self { current: ArcSwap::from_pointee(Loaded { settings, config }) })
    }

    /// The configuration for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
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
    pub fn replace(&self, settings: ServerSettings) -> Result<(), TlsConfigError> {
        let config = server_config(&settings)?;
        self.current.store(Arc::new(Loaded { settings, config }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::test_certificates::Authority;

    #[test]
    fn problems_name_the_file_and_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "ca");
        let (certificate, key) = authority.issue("localhost");
        let (_, other_key) = authority.issue("other");
        let text = directory.path().join("text.pem");
        fs::write(&text, "hello").unwrap();
        let cut = directory.path().join("cut.pem");
        fs::write(&cut, &fs::read(&certificate).unwrap()[..200]).unwrap();
        let garbage = directory.path().join("garbage.pem");
        fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let missing = directory.path().join("missing.pem");

        let good = ServerSettings::new(&certificate, &key);
        let required = |ca: &Path| ClientAuth::Required { ca: ca.to_owned() };
        server_config(&good).unwrap();
        server_config(&ServerSettings { client_auth: required(&authority.file), ..good.clone() }).unwrap();
        let cases = [
            (ServerSettings::new(&missing, &key), "certificate chain", &missing, "relative to the working"),
            (ServerSettings::new(&text, &key), "certificate chain", &text, "no certificate in it"),
            (ServerSettings::new(&cut, &key), "certificate chain", &cut, "cut off"),
            (ServerSettings::new(&garbage, &key), "certificate chain", &garbage, "certificate"),
            (ServerSettings::new(&certificate, &certificate), "private key", &certificate, "swapped"),
            (ServerSettings::new(&certificate, &text), "private key", &text, "BEGIN PRIVATE KEY"),
            (ServerSettings::new(&certificate, &other_key), "private key", &other_key, "does not belong"),
            (
                ServerSettings { client_auth: required(&text), ..good },
                "client authorities",
                &text,
                "no certificate",
            ),
        ];
        for (settings, what, path, words) in cases {
            let error = server_config(&settings).unwrap_err();
            assert_eq!(error.what, what, "{error}");
            assert_eq!(error.path.as_ref(), Some(path), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_failed_reload_keeps_what_works() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "ca");
        let (certificate, key) = authority.issue("localhost");
        let config = ReloadableServerConfig::load(ServerSettings::new(&certificate, &key)).unwrap();
        let before = config.current();
        let contents = fs::read(&certificate).unwrap();
        fs::write(&certificate, "half written").unwrap();
        assert_eq!(config.reload().unwrap_err().path, Some(certificate.clone()));
        assert!(Arc::ptr_eq(&before, &config.current()));
        fs::write(&certificate, contents).unwrap();
        config.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &config.current()));
    }
}
