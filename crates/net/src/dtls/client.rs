//! What a DTLS client is configured with.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use dimpl::{Config, Dtls, DtlsCertificate, PskResolver};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs as ciphers;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use super::error::DtlsError;
use super::server::{build, read_certificate};
use crate::tls::{ClientSettings, TlsConfigError, server_verifier};

/// How a DTLS client proves who it is, and whom it believes.
#[derive(Clone, Debug)]
pub enum DtlsCredentials {
    /// A key that client and server share (`PSK_AES128_CCM_8`).
    PreSharedKey {
        /// What the server knows the key by; at most 65,535 bytes.
        identity: Vec<u8>,
        /// The key.
        key: Zeroizing<Vec<u8>>,
    },
    /// Certificates on the curves P-256 and P-384. Of the settings, ALPN and the version have no meaning here.
    Certificates(ClientSettings),
}

/// What a DTLS client is configured with.
#[derive(Clone, Debug)]
pub struct DtlsClientSettings {
    /// How both sides are proven.
    pub credentials: DtlsCredentials,
    /// Host name or address that the server's certificate has to carry; without meaning for shared keys.
    pub server_name: String,
}

/// A loaded configuration of a DTLS client.
#[derive(Clone)]
pub struct DtlsClientConfig {
    config: Arc<Config>,
    certificate: Option<ClientProof>,
}

#[derive(Clone)]
pub(super) struct ClientProof {
    verifier: Arc<dyn ServerCertVerifier>,
    server_name: ServerName<'static>,
    ours: DtlsCertificate,
    pub(super) has_certificate: bool,
}

impl ClientProof {
    /// Whether the server's certificate is good.
    pub(super) fn verify(&self, der: &[u8]) -> Result<(), DtlsError> {
        self.verifier
            .verify_server_cert(&CertificateDer::from(der), &[], &self.server_name, &[], UnixTime::now())
            .map(drop)
            .map_err(|error| DtlsError::Certificate(error.to_string()))
    }
}

impl DtlsClientConfig {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`TlsConfigError`] with the file, the reason and a hint.
    pub fn load(settings: &DtlsClientSettings) -> Result<Self, TlsConfigError> {
        match &settings.credentials {
            DtlsCredentials::PreSharedKey { identity, key } => {
                let resolver = Arc::new(OneKey(key.clone()));
                let builder = Config::builder()
                    .with_psk_client(identity.clone(), resolver)
                    .dtls12_cipher_suites(&[dimpl::crypto::Dtls12CipherSuite::PSK_AES128_CCM_8]);
                Ok(Self { config: Arc::new(build(builder, "pre-shared key")?), certificate: None })
            }
            DtlsCredentials::Certificates(tls) => {
                let provider = Arc::new(ciphers::default_provider());
                let ours = match &tls.certificate {
                    Some(files) => read_certificate(&files.certificate, &files.key)?,
                    None => nobody()?,
                };
                let proof = ClientProof {
                    verifier: server_verifier(tls, &provider)?,
                    server_name: server_name(&settings.server_name)?,
                    ours,
                    has_certificate: tls.certificate.is_some(),
                };
                Ok(Self { config: Arc::new(build(Config::builder(), "DTLS")?), certificate: Some(proof) })
            }
        }
    }

    pub(super) fn engine(&self, now: std::time::Instant) -> Dtls {
        let config = Arc::clone(&self.config);
        let mut engine = match &self.certificate {
            None => Dtls::new_12_psk(config, now),
            Some(proof) => Dtls::new_12(config, proof.ours.clone(), now),
        };
        engine.set_active(true);
        engine
    }

    pub(super) fn proof(&self) -> Option<&ClientProof> {
        self.certificate.as_ref()
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(name.to_owned())
            .map_err(|error| TlsConfigError::new("server name", None, error)),
    }
}

/// The engine wants a certificate and a key even of a client that has none. They are never shown: a session ends
/// when the server asks for them.
fn nobody() -> Result<DtlsCertificate, TlsConfigError> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|error| TlsConfigError::new("private key", None, error))?;
    Ok(DtlsCertificate { certificate: vec![0x30, 0], private_key: key.as_ref().to_vec() })
}

struct OneKey(Zeroizing<Vec<u8>>);

impl PskResolver for OneKey {
    fn resolve(&self, _identity: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.to_vec())
    }
}
