//! What dimpl asks of us in the middle of a datagram, and how the answers get to and from one session.
//!
//! dimpl's configuration is shared by all sessions, and so are the callbacks in it; they have no way to tell for
//! whom they are called. But they are called from within the call that feeds a datagram to a session, on the same
//! thread, so what is particular to that datagram is left for them in a variable of the thread:
//!
//! - **The cookie.** dimpl checks a cookie with a secret of each engine, which therefore has to exist before the
//!   cookie has come back. Ours is checked before there is an engine; to the new engine it is shown as its own:
//!   when dimpl computes the cookie for this client's random, the answer is the cookie the client presents.
//! - **The identity.** dimpl does not say which identity of a pre-shared key a client used; the resolver of keys does.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use dimpl::CryptoError;
use dimpl::PskResolver;
use dimpl::crypto::{CryptoProvider, HashAlgorithm, HmacProvider, aws_lc_rs};

use super::keys::PskKeys;

thread_local! {
    static PRESENTED: Cell<Option<Presented>> = const { Cell::new(None) };
    static RESOLVED: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// A cookie that was found valid, and the random of the hello that brought it.
#[derive(Clone, Copy)]
struct Presented {
    random: [u8; 32],
    cookie: [u8; 32],
}

/// Lets engines on this thread take `cookie` for the one they would have made for `random`, while `run` runs.
pub(super) fn presenting<R>(random: [u8; 32], cookie: [u8; 32], run: impl FnOnce() -> R) -> R {
    PRESENTED.set(Some(Presented { random, cookie }));
    let result = run();
    PRESENTED.set(None);
    result
}

/// The identity whose key was looked up on this thread since this was last asked.
pub(super) fn take_resolved() -> Option<Arc<str>> {
    RESOLVED.take()
}

/// The ciphers of aws-lc, with cookies of ours.
pub(super) fn crypto_provider() -> CryptoProvider {
    static HMAC: CookieHmac = CookieHmac;
    CryptoProvider { hmac_provider: &HMAC, ..aws_lc_rs::default_provider() }
}

#[derive(Debug)]
struct CookieHmac;

impl HmacProvider for CookieHmac {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        if let Some(presented) = PRESENTED.get()
            && data == presented.random
        {
            return Ok(presented.cookie);
        }
        aws_lc_rs::default_provider().hmac_provider.hmac_sha256(key, data)
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        aws_lc_rs::default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}

/// Looks up keys of a server's clients.
pub(super) struct ServerKeys(pub(super) Arc<PskKeys>);

impl PskResolver for ServerKeys {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.0.find(identity)?;
        RESOLVED.set(Some(Arc::clone(name)));
        Some(key.to_vec())
    }
}
