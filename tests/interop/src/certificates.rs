//! A certificate authority and what it signed, made for one test.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
}

/// A certificate and its private key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new authority.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server certificate for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn server(&self) -> Identity {
        self.sign("localhost", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate with this common name and alternative names.
    #[must_use]
    pub fn client(&self, name: &str, alternatives: &[&str]) -> Identity {
        self.sign(name, alternatives, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, name: &str, alternatives: &[&str], usage: ExtendedKeyUsagePurpose) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(usage);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// Writes `ca.pem`, `server.pem` and `server.key` into a directory.
    pub fn write_server(&self, directory: &Path) {
        let server = self.server();
        fs::write(directory.join("ca.pem"), &self.pem).unwrap();
        fs::write(directory.join("server.pem"), server.certificate).unwrap();
        fs::write(directory.join("server.key"), server.key).unwrap();
    }
}
