//! The eight bytes that begin a connection (§4.2.2).

/// The protocol header that a client of AMQP 0-9-1 sends, and a server that wants it answers with.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// What the first bytes from a client ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// More bytes are needed.
    Incomplete,
    /// AMQP 0-9-1, or 0-9, which is served alike: eight bytes are used, connection.start follows.
    Accepted,
    /// Another version of AMQP: to be answered with [`PROTOCOL_HEADER`], then closed.
    OtherVersion,
    /// A TLS handshake on a plain port: to be closed.
    Tls,
    /// HTTP on a port of AMQP: to be closed.
    Http,
    /// Something else: to be answered with [`PROTOCOL_HEADER`], then closed.
    Unknown,
}

impl Opening {
    /// Looks at the first bytes of a connection. What cannot become a protocol header is known as early as possible.
    pub fn parse(bytes: &[u8]) -> Self {
        const TLS: &[u8] = &[0x16, 0x03];
        const METHODS: [&[u8]; 6] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT "];
        match bytes.first_chunk::<8>() {
            Some(b"AMQP\x00\x00\x09\x01" | b"AMQP\x01\x01\x00\x09") => return Self::Accepted,
            Some(&[b'A', b'M', b'Q', b'P', ..]) => return Self::OtherVersion,
            _ => {}
        }
        if bytes.starts_with(TLS) {
            Self::Tls
        } else if METHODS.iter().any(|method| bytes.starts_with(method)) {
            Self::Http
        } else if bytes.len() < 8 && begins(b"AMQP", bytes)
            || begins(TLS, bytes)
            || METHODS.iter().any(|method| begins(method, bytes))
        {
            Self::Incomplete
        } else {
            Self::Unknown
        }
    }
}

/// `bytes` may become something that starts with `word`, or is that already.
fn begins(word: &[u8], bytes: &[u8]) -> bool {
    word.iter().zip(bytes).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_are_told_apart() {
        for (bytes, opening) in [
            (&b""[..], Opening::Incomplete),
            (b"AMQP\0\0\x09", Opening::Incomplete),
            (b"AMQP\0\0\x09\x01more", Opening::Accepted),
            (b"AMQP\x01\x01\0\x09", Opening::Accepted),
            (b"AMQP\0\0\x0A\x00", Opening::OtherVersion),
            (b"AMQP\x03\x01\0\0", Opening::OtherVersion),
            (b"AMQX", Opening::Unknown),
            (b"\x16", Opening::Incomplete),
            (b"\x16\x03\x01", Opening::Tls),
            (b"GE", Opening::Incomplete),
            (b"GET / HTTP/1.1", Opening::Http),
            (b"P", Opening::Incomplete),
            (b"\x10\x0C\0\x04MQTT", Opening::Unknown),
        ] {
            assert_eq!(Opening::parse(bytes), opening, "{bytes:?}");
        }
    }
}
