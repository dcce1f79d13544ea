//! A message as the layers of this client and server hand it to each other: without token and transport.

use bytes::Bytes;
use tercet_coap::option::{Number, OptionBuf, Options};
use tercet_coap::{Code, ContentFormat};

/// Code, options and payload. The payload is a whole body where block-wise transfer is done below, one block above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) code: Code,
    pub(super) options: OptionBuf,
    pub(super) payload: Bytes,
}

impl Message {
    pub(super) fn new(code: Code) -> Self {
        Self { code, options: OptionBuf::new(), payload: Bytes::new() }
    }

    /// An answer for people to read (RFC 7252 §5.5.2).
    pub(super) fn diagnostic(code: Code, text: impl Into<String>) -> Self {
        Self { payload: Bytes::from(text.into()), ..Self::new(code) }
    }

    pub(super) fn options(&self) -> Options<'_> {
        self.options.as_options()
    }

    /// Seconds that the message may be used (RFC 7252 §5.6.1).
    pub(super) fn max_age(&self) -> u32 {
        self.options().uint(Number::MAX_AGE).unwrap_or(60)
    }

    /// The format that Content-Format or Accept names.
    pub(super) fn content_format(&self, option: Number) -> Option<ContentFormat> {
        u16::try_from(self.options().uint(option)?).ok().map(ContentFormat)
    }

    pub(super) fn etag(&self) -> Option<&[u8]> {
        self.options().get(Number::ETAG)
    }

    /// The message as the wire has it, without a token.
    pub(super) fn as_wire(&self) -> tercet_coap::Message<'_> {
        tercet_coap::Message { code: self.code, token: &[], options: self.options(), payload: &self.payload }
    }

    /// A copy of what was received, without its token.
    pub(super) fn from_wire(message: &tercet_coap::Message<'_>) -> Self {
        Self {
            code: message.code,
            options: OptionBuf::from_options(message.options),
            payload: Bytes::copy_from_slice(message.payload),
        }
    }

    /// The same without its token.
    pub(super) fn from_owned(message: tercet_coap::OwnedMessage) -> Self {
        Self { code: message.code, options: message.options, payload: Bytes::from(message.payload) }
    }
}
