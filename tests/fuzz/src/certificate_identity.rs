//! The names in a certificate: none that is given out has a control character in it.

use tercet_net::tls::certificate_identity;

/// The body of the target.
pub fn check(data: &[u8]) {
    let Ok(identity) = certificate_identity(data) else { return };
    let lists = [&identity.dns, &identity.emails, &identity.uris];
    let names = [Some(&identity.subject), identity.common_name.as_ref()];
    for name in names.into_iter().flatten().chain(lists.into_iter().flatten()) {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    assert_eq!(certificate_identity(data), Ok(identity));
}
