//! User names from TLS client certificates.

use crate::config::CertificateUser;
use std::sync::Arc;
use tercet_net::tls::CertificateIdentity;

/// What the TLS layer says about the client, on a listener that takes user names from certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CertifiedUser {
    /// The listener does not take user names from certificates.
    #[default]
    NotUsed,
    /// The verified certificate names this user; user name and password in the request are ignored.
    Name(Arc<str>),
    /// There is no certificate, or it does not have the name that is asked for: the client is refused.
    Missing,
}

impl CertifiedUser {
    /// Takes the part of the certificate that the listener asks for. `identity` are the names in the certificate
    /// that TLS has verified, if there is one. An empty name names nobody.
    pub fn choose(part: CertificateUser, identity: Option<&CertificateIdentity>) -> Self {
        let name = |identity: &CertificateIdentity| match part {
            CertificateUser::Off => None,
            CertificateUser::Cn => identity.common_name.clone(),
            CertificateUser::SanDns => identity.dns.first().cloned(),
            CertificateUser::SanEmail => identity.emails.first().cloned(),
            CertificateUser::SanUri => identity.uris.first().cloned(),
            CertificateUser::Subject => Some(identity.subject.clone()),
        };
        if part == CertificateUser::Off {
            return Self::NotUsed;
        }
        match identity.and_then(name) {
            Some(name) if !name.is_empty() => Self::Name(name.into()),
            _ => Self::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_part_of_the_certificate_becomes_the_user() {
        let full = CertificateIdentity {
            subject: "O=Example, CN=device-7".to_owned(),
            common_name: Some("device-7".to_owned()),
            dns: vec!["d7.example".to_owned(), "other.example".to_owned()],
            emails: vec!["d7@example.org".to_owned()],
            uris: vec!["spiffe://example/d7".to_owned()],
        };
        let name = |text: &str| CertifiedUser::Name(text.into());
        let cases = [
            (CertificateUser::Off, CertifiedUser::NotUsed),
            (CertificateUser::Cn, name("device-7")),
            (CertificateUser::SanDns, name("d7.example")),
            (CertificateUser::SanEmail, name("d7@example.org")),
            (CertificateUser::SanUri, name("spiffe://example/d7")),
            (CertificateUser::Subject, name("O=Example, CN=device-7")),
        ];
        let nameless = CertificateIdentity { common_name: Some(String::new()), ..Default::default() };
        for (part, expected) in cases {
            assert_eq!(CertifiedUser::choose(part, Some(&full)), expected);
            let nobody = match part {
                CertificateUser::Off => CertifiedUser::NotUsed,
                _ => CertifiedUser::Missing,
            };
            assert_eq!(CertifiedUser::choose(part, None), nobody);
            assert_eq!(CertifiedUser::choose(part, Some(&nameless)), nobody);
        }
    }
}
