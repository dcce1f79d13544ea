//! Who a certificate says its owner is.
//!
//! Names become user names and meet permission rules, so anything that could make one name pass for another is
//! refused: an embedded NUL ends a string for some readers and not for others (CVE-2017-7653), control characters
//! forge log lines, undecodable text compares as something else.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names in a certificate. The certificate was verified by TLS before; this only reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The whole subject, such as `C=DE, O=Example, CN=device-7`.
    pub subject: String,
    /// The (first) common name of the subject.
    pub common_name: Option<String>,
    /// Host names among the subject alternative names, in their order.
    pub dns: Vec<String>,
    /// E-mail addresses among the subject alternative names, in their order.
    pub emails: Vec<String>,
    /// URIs among the subject alternative names (such as SPIFFE ids), in their order.
    pub uris: Vec<String>,
}

/// A certificate whose names cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate that can be read.
    #[error("unreadable certificate")]
    Unreadable,
    /// A name with a NUL or another control character in it.
    #[error("control character in a {0} of the certificate")]
    ControlCharacter(&'static str),
    /// A name whose text cannot be decoded.
    #[error("undecodable {0} in the certificate")]
    Undecodable(&'static str),
}

/// Reads the names in a certificate (DER).
///
/// # Errors
/// [`IdentityError`] when it cannot be read or a name in it cannot be trusted to mean what it shows.
pub fn certificate_identity(der: &[u8]) -> Result<CertificateIdentity, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Unreadable)?;
    let mut identity = CertificateIdentity {
        subject: clean("subject", &certificate.subject().to_string())?,
        ..Default::default()
    };
    for name in certificate.subject().iter_common_name() {
        let text = name.as_str().map_err(|_| IdentityError::Undecodable("common name"))?;
        let text = clean("common name", text)?;
        identity.common_name.get_or_insert(text);
    }
    let alternatives =
        certificate.subject_alternative_name().map_err(|_| IdentityError::Undecodable("alternative name"))?;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(text) => identity.dns.push(clean("host name", text)?),
            GeneralName::RFC822Name(text) => identity.emails.push(clean("e-mail address", text)?),
            GeneralName::URI(text) => identity.uris.push(clean("URI", text)?),
            GeneralName::Invalid(..) => return Err(IdentityError::Undecodable("alternative name")),
            _ => {}
        }
    }
    Ok(identity)
}

fn clean(what: &'static str, text: &str) -> Result<String, IdentityError> {
    if text.chars().any(char::is_control) {
        return Err(IdentityError::ControlCharacter(what));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_names: &[&str], alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn all_kinds_of_names_are_found() {
        let der = certificate(
            &["device-7"],
            vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::Rfc822Name("a@example".try_into().unwrap()),
                SanType::URI("spiffe://example/device/7".try_into().unwrap()),
                SanType::IpAddress("192.0.2.1".parse().unwrap()),
                SanType::DnsName("b.example".try_into().unwrap()),
            ],
        );
        let expected = CertificateIdentity {
            subject: "O=Example, CN=device-7".to_owned(),
            common_name: Some("device-7".to_owned()),
            dns: vec!["a.example".to_owned(), "b.example".to_owned()],
            emails: vec!["a@example".to_owned()],
            uris: vec!["spiffe://example/device/7".to_owned()],
        };
        assert_eq!(certificate_identity(&der), Ok(expected));
    }

    #[test]
    fn a_certificate_without_names_is_nobody() {
        let identity = certificate_identity(&certificate(&[], Vec::new())).unwrap();
        assert_eq!((identity.common_name, identity.dns.len()), (None, 0));
    }

    #[test]
    fn names_with_control_characters_are_refused() {
        for bad in ["admin\0.example", "a\nb", "\u{7f}", "a\u{85}b"] {
            let refused = certificate_identity(&certificate(&[bad], Vec::new()));
            assert!(matches!(refused, Err(IdentityError::ControlCharacter(_))), "{bad:?}: {refused:?}");
        }
        let host = SanType::DnsName("admin\0.example".try_into().unwrap());
        let refused = certificate_identity(&certificate(&["fine"], vec![host]));
        assert_eq!(refused, Err(IdentityError::ControlCharacter("host name")));
    }

    proptest! {
        #[test]
        fn arbitrary_and_damaged_certificates_never_panic(bytes: Vec<u8>, at in 0..400usize, flip in 1..=255u8) {
            let _ = certificate_identity(&bytes);
            static GOOD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let mut damaged = GOOD.get_or_init(|| certificate(&["device"], Vec::new())).clone();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            let _ = certificate_identity(&damaged);
        }
    }
}
