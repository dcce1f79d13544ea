//! What a receiver is willing to take.

/// Bounds on what a peer can make the receiver do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Greatest length of a token in bytes that a request may have. Above 8, extended tokens (RFC 8974) are read,
    /// also those that are longer than this: their requests have to be answered with 4.00 and the token
    /// ([`too_long`](Self::too_long)), because rejecting them would say that extended tokens are not known (RFC 8974
    /// §2.2.2).
    ///
    /// Tokens of 9 to 12 bytes are read on streams alone, where a CSM has allowed them (RFC 8974 §2.2.1). A datagram
    /// with one is a format error, as RFC 7252 §3 has it: a server cannot know that its peer means RFC 8974, and is
    /// tried for rejecting it. Longer tokens announce themselves by lengths that RFC 7252 never gave a meaning.
    pub token: usize,
    /// Greatest size of the options of a message in bytes.
    pub options: usize,
    /// Greatest size of a message on a stream in bytes, as announced in the Max-Message-Size of one's CSM
    /// (RFC 8323 §5.3.1). A datagram is bounded by the buffer it was received in.
    pub message: usize,
}

impl Limits {
    /// All that the protocol allows.
    pub const fn protocol() -> Self {
        Self { token: usize::MAX, options: usize::MAX, message: usize::MAX }
    }

    /// A request with this token has to be answered with 4.00.
    pub const fn too_long(&self, token: &[u8]) -> bool {
        token.len() > self.token
    }
}

impl Default for Limits {
    /// Tokens of RFC 7252, 8 KiB of options, messages of 1,152 bytes: the Max-Message-Size of one who announces none.
    fn default() -> Self {
        Self { token: 8, options: 8192, message: crate::stream::BASE_MESSAGE_SIZE as usize }
    }
}
