//! A certificate authority for tests, with its files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub(crate) struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = directory.join(format!("{name}.pem"));
        fs::write(&file, certificate.pem()).unwrap();
        Self { directory: directory.to_owned(), issuer: Issuer::new(params, key), file }
    }

    /// Issues a certificate for `name` as common name and, if it can be one, host name; gives certificate and key
    /// files.
    pub(crate) fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let host_name = name.bytes().all(|byte| byte.is_ascii_graphic());
        let mut params =
            CertificateParams::new(if host_name { vec![name.to_owned()] } else { Vec::new() }).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let stem = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let (certificate_file, key_file) =
            (self.directory.join(format!("{stem}.crt")), self.directory.join(format!("{stem}.key")));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (certificate_file, key_file)
    }
}
