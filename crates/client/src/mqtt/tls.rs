//! TLS settings of a client, and the rustls configuration that they mean.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use tercet_net::tls::{ClientCertificate, ClientSettings, MinimumVersion, NameCheck, Roots, client_config};

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
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        client_config(&self.settings()?).map_err(|error| error.to_string())
    }

    /// The same as the transports have it.
    ///
    /// # Errors
    /// A text that says what is missing.
    pub(crate) fn settings(&self) -> Result<ClientSettings, String> {
        let (roots, name_check) = match (self.ca_file.clone(), self.ca_dir.clone()) {
            (None, None) if self.insecure => (Roots::Insecure, NameCheck::AnyName),
            (None, None) => (Roots::System, NameCheck::Required),
            (file, directory) => {
                let check = if self.insecure { NameCheck::AnyName } else { NameCheck::Required };
                (authorities(file, directory), check)
            }
        };
        let certificate = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            _ => return Err("a client certificate needs both its file and its key".into()),
        };
        Ok(ClientSettings {
            roots,
            name_check,
            certificate,
            alpn: self.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
            minimum_version: match self.minimum_version {
                TlsVersion::V12 => MinimumVersion::Tls12,
                TlsVersion::V13 => MinimumVersion::Tls13,
            },
        })
    }
}

fn authorities(file: Option<PathBuf>, directory: Option<PathBuf>) -> Roots {
    match (file, directory) {
        (Some(file), Some(directory)) => Roots::FileAndDirectory { file, directory },
        (Some(file), None) => Roots::File(file),
        (None, Some(directory)) => Roots::Directory(directory),
        (None, None) => Roots::System,
    }
}
