//! TLS settings of a client, and the rustls configuration that they mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tercet_net::tls::{ClientCertificate, ClientSettings, MinimumVersion, Roots, client_config};

/// How the broker's certificate is checked and which one is shown to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities to trust; with neither this nor `ca_dir`, those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// Directory of PEM files of authorities to trust.
    pub ca_dir: Option<PathBuf>,
    /// PEM file of the certificate (and chain) to show; needs `key`.
    pub cert: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// With authorities named, accept their certificates for any host name; without, accept any certificate at all.
    pub insecure: bool,
    /// Application protocols to offer (ALPN).
    pub alpn: Vec<String>,
    /// The oldest version to speak.
    pub minimum_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V12,
    /// TLS 1.3.
    V13,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A text that names the file and what is wrong with it.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let named = self.ca_file.is_some() || self.ca_dir.is_some();
        let own_check = named && (self.insecure || self.ca_dir.is_some());
        let roots = match &self.ca_file {
            // Replaced below, or asked for.
            _ if own_check || self.insecure => Roots::Insecure,
            Some(file) => Roots::File(file.clone()),
            None => Roots::System,
        };
        let certificate = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            _ => return Err("a client certificate needs both its file and its key".into()),
        };
        let settings = ClientSettings {
            roots,
            certificate,
            alpn: self.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
            minimum_version: match self.minimum_version {
                TlsVersion::V12 => MinimumVersion::Tls12,
                TlsVersion::V13 => MinimumVersion::Tls13,
            },
        };
        let config = client_config(&settings).map_err(|error| error.to_string())?;
        if !own_check {
            return Ok(config);
        }
        let mut config = ClientConfig::clone(&config);
        config.dangerous().set_certificate_verifier(self.verifier()?);
        Ok(Arc::new(config))
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let mut store = RootCertStore::empty();
        if let Some(file) = &self.ca_file {
            add_authorities(&mut store, file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        if let Some(directory) = &self.ca_dir {
            let entries =
                std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
            for entry in entries.flatten() {
                // Such directories hold links and other files besides; what counts is that some authority is found.
                let _ = add_authorities(&mut store, &entry.path());
            }
            if store.is_empty() {
                return Err(format!("{}: no certificates found", directory.display()));
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(if self.insecure { Arc::new(AnyName(verifier)) } else { verifier })
    }
}

fn add_authorities(store: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    for certificate in certificates {
        store.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Trusts the authorities but accepts any host name.
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
