//! Certificates and keys from PEM files.

use std::fs;
use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::TlsConfigError;

/// All certificates of a file, at least one.
pub(crate) fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let bytes = read(what, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsConfigError::new(what, Some(path), describe(&error)))?;
    if certificates.is_empty() {
        return Err(TlsConfigError::new(what, Some(path), "no certificate in it")
            .hint("expected PEM, a block that begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

/// The private key of a file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    const WHAT: &str = "private key";
    let bytes = read(WHAT, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let failure = TlsConfigError::new(WHAT, Some(path), describe(&error));
        let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        if contains(b"ENCRYPTED") {
            failure
                .hint("encrypted keys are not supported; decrypt it with `openssl pkey -in KEY -out PLAIN`")
        } else if contains(b"BEGIN CERTIFICATE") {
            failure.hint("this file holds a certificate; are the two files swapped?")
        } else {
            failure.hint("expected PEM, a block that begins with -----BEGIN PRIVATE KEY-----")
        }
    })
}

/// A trust store of the certificates in a file.
pub(crate) fn roots(what: &'static str, path: &Path) -> Result<RootCertStore, TlsConfigError> {
    let mut store = RootCertStore::empty();
    add_roots(&mut store, what, path)?;
    Ok(store)
}

/// Adds the certificates in a file to a trust store.
pub(crate) fn add_roots(
    store: &mut RootCertStore,
    what: &'static str,
    path: &Path,
) -> Result<(), TlsConfigError> {
    for certificate in certificates(what, path)? {
        store.add(certificate).map_err(|error| TlsConfigError::new(what, Some(path), error))?;
    }
    Ok(())
}

pub(crate) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    fs::read(path).map_err(|error| {
        let failure = TlsConfigError::new(what, Some(path), &error);
        match error.kind() {
            io::ErrorKind::PermissionDenied => failure.hint("the broker's user must be able to read it"),
            io::ErrorKind::NotFound => failure.hint("paths are relative to the working directory"),
            _ => failure,
        }
    })
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing usable in it".to_owned(),
        pem::Error::MissingSectionEnd { .. } => "cut off: a block has no -----END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a malformed -----BEGIN line".to_owned(),
        pem::Error::Base64Decode(detail) => format!("not valid base64: {detail}"),
        other => other.to_string(),
    }
}
