//! Both directions of a WebSocket connection: decoding, framing, and the answers the protocol asks for.
//!
//! Invariants: at most one pong and one close frame wait to be sent, whatever the peer does; after our close frame
//! is taken nothing else is framed.

use std::fmt;
use std::io;

use super::decoder::{Control, Decoded, Decoder, Outcome};
use super::error::CloseCode;
use super::frame::{FrameHeader, HeaderBytes, Opcode};
use super::mask::{MaskKeys, apply_mask};
use super::{Limits, Role};

/// One WebSocket connection after its handshake.
///
/// Feed what arrives to [`Codec::decode`], then send what [`Codec::next_control`] gives. Application bytes go out
/// through [`Codec::encode`], or, without a copy, behind a [`Codec::binary_header`] (servers only).
pub struct Codec {
    decoder: Decoder,
    replies: Replies,
    /// Keys for what we send; clients only.
    keys: Option<Box<MaskKeys>>,
}

#[derive(Default)]
struct Replies {
    /// Payload of the pong to send. A newer ping replaces an older one that was not answered yet (§5.5.3).
    pong: Option<Box<[u8]>>,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    /// A close frame waits to be sent, with this code or an empty body.
    Queued(Option<CloseCode>),
    Sent,
}

impl Codec {
    /// A codec for our `role`, starting right after the HTTP handshake.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        let keys = (role == Role::Client).then(|| Box::new(MaskKeys::new()));
        Self { decoder: Decoder::new(role, limits), replies: Replies::default(), keys }
    }

    /// Decodes all of `buffer` in place and queues the answers that pings, a close frame or a violation ask for.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Decoded {
        let replies = &mut self.replies;
        let decoded = self.decoder.decode(buffer, |control| match control {
            Control::Ping(payload) => replies.pong = Some(payload.into()),
            Control::Pong(_) => {}
            // §5.5.1: answer with a close frame, typically echoing the code.
            Control::Close(code) => replies.close(code),
        });
        if let Outcome::Failed(error) = decoded.outcome {
            self.replies.close(Some(error.close_code()));
        }
        decoded
    }

    /// Queues a close frame, unless one was queued before. Nothing can be framed after it.
    pub fn close(&mut self, code: CloseCode) {
        self.replies.close(Some(code));
    }

    /// True once a close frame was queued or sent: no more application bytes may follow.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.replies.closing != Closing::No
    }

    /// True when [`Codec::next_control`] has a frame to send.
    #[must_use]
    pub fn has_control(&self) -> bool {
        match self.replies.closing {
            Closing::No => self.replies.pong.is_some(),
            Closing::Queued(_) => true,
            Closing::Sent => false,
        }
    }

    /// Appends the next control frame to `out`; false when there is none. It must go out between two whole frames,
    /// never inside one.
    ///
    /// # Errors
    /// Only for a client, when the system has no randomness for a mask key.
    pub fn next_control(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        match self.replies.closing {
            Closing::Sent => Ok(false),
            Closing::Queued(code) => {
                let body = code.map(|code| code.value().to_be_bytes());
                self.frame(Opcode::Close, body.as_ref().map(|body| &body[..]).into_iter(), out)?;
                self.replies = Replies { pong: None, closing: Closing::Sent };
                Ok(true)
            }
            Closing::No => {
                let Some(payload) = self.replies.pong.take() else { return Ok(false) };
                self.frame(Opcode::Pong, std::iter::once(&payload[..]), out)?;
                Ok(true)
            }
        }
    }

    /// The header of an unmasked binary message of `length` bytes, for a vectored write of header and payload;
    /// `None` for a client, whose payload has to be masked ([`Codec::encode`]).
    #[must_use]
    pub fn binary_header(&self, length: u64) -> Option<HeaderBytes> {
        let header = FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, length };
        self.keys.is_none().then(|| header.encode())
    }

    /// Appends `payload` to `out` as one binary message, masked if we are a client.
    ///
    /// # Errors
    /// `BrokenPipe` once the connection is closing; for a client also when the system has no randomness.
    pub fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.encode_parts(std::iter::once(payload), out)
    }

    /// Like [`Codec::encode`], for a payload in several parts.
    ///
    /// # Errors
    /// As for [`Codec::encode`].
    pub fn encode_parts<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.is_closing() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.frame(Opcode::Binary, parts, out)
    }

    fn frame<'a>(
        &mut self,
        opcode: Opcode,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mask = self.keys.as_mut().map(|keys| keys.draw()).transpose()?;
        let length = parts.clone().map(|part| part.len() as u64).sum();
        let header = FrameHeader { fin: true, opcode, mask, length };
        out.extend_from_slice(&header.encode());
        let start = out.len();
        for part in parts {
            out.extend_from_slice(part);
        }
        if let (Some(key), Some(payload)) = (mask, out.get_mut(start..)) {
            apply_mask(payload, key);
        }
        Ok(())
    }
}

impl Replies {
    fn close(&mut self, code: Option<CloseCode>) {
        if self.closing == Closing::No {
            self.closing = Closing::Queued(code);
        }
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("decoder", &self.decoder)
            .field("closing", &self.replies.closing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::ProtocolError;

    fn pair() -> (Codec, Codec) {
        (Codec::new(Role::Client, Limits::default()), Codec::new(Role::Server, Limits::default()))
    }

    fn controls(codec: &mut Codec) -> Vec<u8> {
        let mut out = Vec::new();
        while codec.next_control(&mut out).unwrap() {}
        out
    }

    #[test]
    fn only_the_newest_ping_is_answered() {
        let (_, mut server) = pair();
        let mut wire = Vec::new();
        for at in 0..1000u16 {
            wire.extend_from_slice(&[0x89, 0x82, 0, 0, 0, 0]);
            wire.extend_from_slice(&at.to_be_bytes());
        }
        assert_eq!(server.decode(&mut wire).outcome, Outcome::Open);
        assert!(server.has_control());
        assert_eq!(controls(&mut server), [0x8A, 0x02, 0x03, 0xE7]);
        assert!(!server.has_control());
    }

    #[test]
    fn a_close_is_echoed_once_and_ends_both_directions() {
        let (mut client, mut server) = pair();
        client.close(CloseCode::GOING_AWAY);
        client.close(CloseCode::NORMAL);
        let mut wire = controls(&mut client);
        assert!(client.encode(b"late", &mut Vec::new()).is_err());
        assert_eq!(server.decode(&mut wire).outcome, Outcome::Closed);
        let mut echo = controls(&mut server);
        assert_eq!(echo, [0x88, 0x02, 0x03, 0xE9]);
        assert_eq!(client.decode(&mut echo).outcome, Outcome::Closed);
        assert!(controls(&mut client).is_empty());
        assert!(server.encode(b"late", &mut Vec::new()).is_err());
    }

    #[test]
    fn a_close_without_code_is_answered_without_code() {
        let (_, mut server) = pair();
        assert_eq!(server.decode(&mut [0x88, 0x80, 1, 2, 3, 4]).outcome, Outcome::Closed);
        assert_eq!(controls(&mut server), [0x88, 0x00]);
    }

    #[test]
    fn a_violation_is_answered_with_its_code() {
        let (_, mut server) = pair();
        let decoded = server.decode(&mut [0x81, 0x81, 0, 0, 0, 0, b'x']);
        assert_eq!(decoded.outcome, Outcome::Failed(ProtocolError::TextMessage));
        assert_eq!(controls(&mut server), [0x88, 0x02, 0x03, 0xEB]);
    }

    #[test]
    fn servers_frame_without_copying_and_clients_cannot() {
        let (client, server) = pair();
        assert_eq!(&server.binary_header(5).unwrap()[..], [0x82, 5]);
        assert!(client.binary_header(5).is_none());
    }

    proptest! {
        #[test]
        fn what_one_end_encodes_the_other_decodes(payloads: Vec<Vec<u8>>, from_client: bool) {
            let (client, server) = pair();
            let (mut sender, mut receiver) = if from_client { (client, server) } else { (server, client) };
            let mut wire = Vec::new();
            for payload in &payloads {
                sender.encode(payload, &mut wire).unwrap();
            }
            let decoded = receiver.decode(&mut wire);
            prop_assert_eq!(decoded.outcome, Outcome::Open);
            prop_assert_eq!(&wire[..decoded.len], payloads.concat());
        }
    }
}
