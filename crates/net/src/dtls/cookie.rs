//! Cookies of the HelloVerifyRequest (RFC 6347 §4.2.1): proof that a client receives what is sent to its address.

use aws_lc_rs::{constant_time, hmac, rand};

use super::error::DtlsError;
use super::hello::ClientHello;
use super::record::{write_clear, write_handshake};

/// Length of a cookie: the time it was made, and the beginning of a hash.
const LENGTH: usize = 32;
/// Seconds a cookie is good for. A client that is retransmitting sends its second hello within a minute.
const LIFETIME: u32 = 90;
/// DTLS 1.0: the version a HelloVerifyRequest says, whatever is spoken (RFC 6347 §4.2.1).
const VERSION: [u8; 2] = [0xfe, 0xff];

/// Makes and checks cookies with a secret of its own.
pub(super) struct CookieMint(hmac::Key);

impl CookieMint {
    /// Fails if the system has no randomness to give.
    pub(super) fn new() -> Result<Self, DtlsError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        key.map(Self).map_err(|_| DtlsError::Engine)
    }

    /// The cookie for this hello from this address, made at `seconds` of any clock.
    pub(super) fn mint(&self, address: &[u8], hello: &ClientHello<'_>, seconds: u32) -> [u8; LENGTH] {
        let stamp = seconds.to_be_bytes();
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&stamp);
        context.update(&[address.len() as u8]);
        context.update(address);
        for part in hello.parameters() {
            context.update(&(part.len() as u32).to_be_bytes());
            context.update(part);
        }
        let mut cookie = [0; LENGTH];
        for (to, from) in cookie.iter_mut().zip(stamp.iter().chain(context.sign().as_ref())) {
            *to = *from;
        }
        cookie
    }

    /// Whether the hello brings back a cookie that it was given not long ago.
    pub(super) fn is_valid(&self, address: &[u8], hello: &ClientHello<'_>, seconds: u32) -> bool {
        let Some((stamp, _)) = hello.cookie.split_first_chunk::<4>() else { return false };
        let made = u32::from_be_bytes(*stamp);
        seconds.checked_sub(made).is_some_and(|age| age <= LIFETIME)
            && constant_time::verify_slices_are_equal(&self.mint(address, hello, made), hello.cookie).is_ok()
    }
}

/// The HelloVerifyRequest that answers a hello. Its record has the number of the hello's record, so that nothing
/// has to be remembered to number the next.
pub(super) fn hello_verify_request(hello: &ClientHello<'_>, cookie: &[u8; LENGTH]) -> Vec<u8> {
    const HELLO_VERIFY_REQUEST: u8 = 3;
    let mut message = Vec::with_capacity(64);
    let parts: [&[u8]; 3] = [&VERSION, &[LENGTH as u8], cookie];
    write_handshake(&mut message, HELLO_VERIFY_REQUEST, hello.message_sequence, &parts);
    let mut record = Vec::with_capacity(80);
    write_clear(&mut record, 22, u16::from_be_bytes(VERSION), hello.record_sequence, &message);
    record
}
