//! TLS: configurations from files, reload without dropping connections, and who the peer's certificate says it is.
//!
//! Built on rustls with aws-lc; TLS 1.2 and 1.3. The configurations serve the non-blocking
//! [`Transport`](crate::Transport) and any other user of rustls alike.

mod client_config;
mod error;
mod identity;
mod info;
pub(crate) mod pem;
mod server_config;

pub(crate) use client_config::server_verifier;
pub use client_config::{ClientCertificate, ClientSettings, NameCheck, Roots, client_config};
pub use error::TlsConfigError;
pub use identity::{CertificateIdentity, IdentityError, certificate_identity};
pub use info::TlsInfo;
pub use server_config::{ClientAuth, ReloadableServerConfig, ServerSettings, server_config};

use rustls::SupportedProtocolVersion;

/// The oldest TLS version spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinimumVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl MinimumVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ONLY,
        }
    }
}

#[cfg(test)]
pub(crate) mod test_certificates;
