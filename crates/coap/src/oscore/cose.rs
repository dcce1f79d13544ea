//! What of COSE is hashed and authenticated but never sent (RFC 8613 §3.2.1, §5.4).

use alloc::vec::Vec;
use core::convert::Infallible;

use minicbor::Encoder;

/// AES-CCM-16-64-128 in the registry of COSE.
const ALGORITHM: u8 = 10;

type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// Encodes with what cannot fail, because vectors grow.
fn encode(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut out = Vec::new();
    let written = write(&mut Encoder::new(&mut out));
    debug_assert!(written.is_ok());
    out
}

/// The info from which a key or the Common IV is expanded.
pub(super) fn key_info(id: &[u8], id_context: Option<&[u8]>, kind: &str, len: usize) -> Vec<u8> {
    encode(|encoder| {
        encoder.array(5)?.bytes(id)?;
        match id_context {
            Some(context) => encoder.bytes(context)?,
            None => encoder.null()?,
        };
        encoder.u8(ALGORITHM)?.str(kind)?.u64(len as u64)?;
        Ok(())
    })
}

/// The additional data that binds a message, request or response, to the request.
pub(super) fn aad(request_kid: &[u8], request_partial_iv: &[u8]) -> Vec<u8> {
    let external = encode(|encoder| {
        // The version, the algorithms, the request, and Class I options, of which there are none.
        encoder.array(5)?.u8(1)?.array(1)?.u8(ALGORITHM)?;
        encoder.bytes(request_kid)?.bytes(request_partial_iv)?.bytes(&[])?;
        Ok(())
    });
    encode(|encoder| {
        encoder.array(3)?.str("Encrypt0")?.bytes(&[])?.bytes(&external)?;
        Ok(())
    })
}
