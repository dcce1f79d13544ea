//! Which requests belong to one body: those of equal method and cache key (RFC 7959 §2.5, RFC 9175 §3.3).

use crate::{Message, Number, keyed_hash::KeyedHash};

/// Names requests by 64 bits of a keyed hash, so that a peer can neither guess nor provoke the name of another's.
#[derive(Debug)]
pub struct Fingerprints {
    key: [u64; 2],
}

impl Fingerprints {
    /// Fingerprints under `key`, which has to be unpredictable.
    pub const fn new(key: [u64; 2]) -> Self {
        Self { key }
    }

    /// The name of the body that `request` is about: equal for all its blocks, different for another Request-Tag, method,
    /// URI, or any other option of the cache key.
    pub fn of(&self, request: &Message<'_>) -> u64 {
        let mut hash = KeyedHash::new(self.key);
        hash.write(&[request.code.0]);
        for (number, value) in request.options.iter().filter(|&(number, _)| tells_bodies_apart(number)) {
            hash.write(&number.0.to_be_bytes());
            hash.write_u64(value.len() as u64);
            hash.write(value);
        }
        hash.finish()
    }
}

/// The option is the same in all blocks of a body. Those that are about single blocks, and those that are not part of the
/// cache key (RFC 7252 §5.4.6), need not be.
fn tells_bodies_apart(number: Number) -> bool {
    const OF_A_BLOCK: [Number; 5] =
        [Number::BLOCK1, Number::BLOCK2, Number::Q_BLOCK1, Number::Q_BLOCK2, Number::OBSERVE];
    number.0 & 0x1E != 0x1C && !OF_A_BLOCK.contains(&number)
}

#[cfg(test)]
mod tests {
    use crate::{Code, OptionBuf};

    use super::*;

    fn of(code: Code, options: &[(Number, &[u8])]) -> u64 {
        let mut buffer = OptionBuf::new();
        for &(number, value) in options {
            buffer.add(number, value);
        }
        Fingerprints::new([1, 2]).of(&Message { options: buffer.as_options(), ..Message::new(code) })
    }

    #[test]
    fn rule39_what_does_not_tell_bodies_apart() {
        let path: (Number, &[u8]) = (Number::URI_PATH, b"a");
        let base = of(Code::PUT, &[path, (Number::BLOCK1, b"\x08")]);
        for (number, value) in [
            (Number::BLOCK1, b"\x10"),
            (Number::BLOCK2, b"\x02"),
            (Number::SIZE1, b"\x20"),
            (Number::ECHO, b"e"),
            (Number::OBSERVE, b""),
        ] as [(Number, &[u8]); 5]
        {
            assert_eq!(of(Code::PUT, &[path, (number, value)]), base, "{number}");
        }
    }

    #[test]
    fn rule39_what_tells_bodies_apart() {
        let path: (Number, &[u8]) = (Number::URI_PATH, b"a");
        let base = of(Code::PUT, &[path]);
        assert_ne!(of(Code::POST, &[path]), base);
        assert_ne!(of(Code::PUT, &[(Number::URI_PATH, b"b")]), base);
        for (number, value) in [
            (Number::URI_PATH, b""),
            (Number::URI_QUERY, b"q"),
            (Number::REQUEST_TAG, b""),
            (Number::REQUEST_TAG, b"1"),
            (Number::CONTENT_FORMAT, b"2"),
        ] as [(Number, &[u8]); 5]
        {
            assert_ne!(of(Code::PUT, &[path, (number, value)]), base, "{number}");
        }
    }
}
