//! Who a client is, by what its transport proves.

use std::net::SocketAddr;
use std::sync::Arc;

use tercet_net::tls::CertificateIdentity;

use super::caller::{Caller, Transport};
use crate::auth::{CertifiedUser, Identity, PeerOrigin, Proof};
use crate::mqtt::settings::ListenerSettings;

/// What a transport has proven about a client.
#[derive(Clone, Copy, Debug)]
pub enum Proven<'a> {
    /// Nothing.
    Nothing,
    /// It has the pre-shared key of this name, which is its user name.
    Key(&'a Arc<str>),
    /// It has a certificate with these names; `None` if it showed none.
    Certificate(Option<&'a CertificateIdentity>),
}

/// The client at `address` as requests see it.
#[must_use]
pub fn caller(
    settings: &ListenerSettings,
    address: SocketAddr,
    origin: PeerOrigin,
    transport: Transport,
    proven: Proven<'_>,
) -> Caller {
    let user = match proven {
        Proven::Nothing => CertifiedUser::NotUsed,
        Proven::Key(name) => CertifiedUser::Name(Arc::clone(name)),
        Proven::Certificate(names) => CertifiedUser::choose(settings.certificate_user, names),
    };
    let proof = match proven {
        Proven::Key(_) => Proof::PreSharedKey,
        Proven::Nothing | Proven::Certificate(_) => Proof::Certificate,
    };
    let (identity, client_id, admitted) = match user {
        CertifiedUser::Name(name) => (Identity::user(Arc::clone(&name), proof), name, true),
        CertifiedUser::NotUsed => (Identity::anonymous(), Arc::from(""), settings.anonymous.admits(origin)),
        CertifiedUser::Missing => (Identity::anonymous(), Arc::from(""), false),
    };
    Caller { address, is_local: origin.is_local, transport, identity, client_id, admitted }
}
