//! WebSocket as CoAP uses it: one message in each WebSocket message, so that boundaries count (RFC 8323 §4.2).
//!
//! The frames are those of `tercet-net`, whose decoder hands out payload without boundaries; here it is fed one whole
//! frame at a time, and the frame's own header says whether it ends a message. A message is bounded by `limit`.

use std::io;

use tercet_net::websocket::{ClientHandshake, CloseCode, Codec, FrameHeader, Limits, Opcode, Outcome, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Path of the endpoint (RFC 8323 §8.3).
pub(super) const PATH: &str = "/.well-known/coap";
/// Name of the subprotocol.
pub(super) const SUBPROTOCOL: &str = "coap";

/// Cuts the received bytes into messages and frames what is sent.
pub(super) struct Framing {
    codec: Codec,
    /// Received bytes whose frame is not complete.
    input: Vec<u8>,
    /// Payload of the unfinished message.
    message: Vec<u8>,
    limit: usize,
}

impl Framing {
    /// Framing right after the handshake; `early` are bytes that came with it.
    pub(super) fn new(role: Role, early: Vec<u8>, limit: usize) -> Self {
        let codec = Codec::new(role, Limits { max_frame: limit as u64 });
        Self { codec, input: early, message: Vec::new(), limit }
    }

    /// Takes received bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole message, `None` when more bytes are needed. Pongs and the answer to a close go to `out`.
    ///
    /// # Errors
    /// The peer broke the protocol, sent more than the limit, or closed (`UnexpectedEof`).
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some((header, header_length)) = FrameHeader::parse(&self.input).map_err(io::Error::other)?
            else {
                return Ok(None);
            };
            let length = usize::try_from(header.length).ok().filter(|length| *length <= self.limit);
            let too_long = || io::Error::new(io::ErrorKind::InvalidData, "the WebSocket message is too long");
            let whole = header_length + length.ok_or_else(too_long)?;
            if self.input.len() < whole {
                return Ok(None);
            }
            let mut frame: Vec<u8> = self.input.drain(..whole).collect();
            let decoded = self.codec.decode(&mut frame);
            while self.codec.next_control(out)? {}
            match decoded.outcome {
                Outcome::Open => {}
                Outcome::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Outcome::Failed(error) => return Err(io::Error::other(error)),
            }
            if !matches!(header.opcode, Opcode::Binary | Opcode::Continuation) {
                continue;
            }
            if self.message.len() + decoded.len > self.limit {
                return Err(too_long());
            }
            self.message.extend_from_slice(frame.get(..decoded.len).unwrap_or_default());
            if header.fin {
                return Ok(Some(std::mem::take(&mut self.message)));
            }
        }
    }

    /// Appends `message` to `out` as one WebSocket message.
    ///
    /// # Errors
    /// The connection is closing.
    pub(super) fn frame(&mut self, message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.codec.encode(message, out)
    }

    /// Appends a close frame to `out`, once.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.codec.close(CloseCode::NORMAL);
        // Without randomness for a mask there is no close frame; the connection ends all the same.
        while self.codec.next_control(out).unwrap_or(false) {}
    }
}

/// The client's handshake: the framing that follows it.
///
/// # Errors
/// A text that says what was wrong.
pub(super) async fn connect<S>(
    stream: &mut S,
    host: &str,
    path: &str,
    limit: usize,
) -> Result<Framing, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = ClientHandshake::new(host, path, SUBPROTOCOL, &[]).map_err(|error| error.to_string())?;
    stream.write_all(handshake.request()).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    let mut received = Vec::new();
    loop {
        if let Some(agreed) = handshake.response(&received).map_err(|error| error.to_string())? {
            let early = received.split_off(agreed.response_length);
            return Ok(Framing::new(Role::Client, early, limit));
        }
        let mut chunk = [0; 2048];
        match stream.read(&mut chunk).await.map_err(|error| error.to_string())? {
            0 => return Err("the server closed the connection during the handshake".into()),
            n => received.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Framing, Framing) {
        (Framing::new(Role::Client, Vec::new(), 1000), Framing::new(Role::Server, Vec::new(), 1000))
    }

    #[test]
    fn boundaries_survive_however_the_bytes_are_cut() {
        let (mut client, mut server) = pair();
        let mut wire = Vec::new();
        for message in [&b"one"[..], b"", b"three"] {
            client.frame(message, &mut wire).unwrap();
        }
        let mut out = Vec::new();
        let mut got = Vec::new();
        for byte in wire {
            server.feed(&[byte]);
            while let Some(message) = server.next(&mut out).unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, [&b"one"[..], b"", b"three"]);
        assert!(out.is_empty());
    }

    #[test]
    fn fragments_are_joined_and_pings_between_them_answered() {
        let (mut client, _) = pair();
        client.feed(&[0x02, 2, b'a', b'b', 0x89, 1, b'?', 0x80, 1, b'c']);
        let mut out = Vec::new();
        assert_eq!(client.next(&mut out).unwrap().unwrap(), b"abc");
        assert_eq!(out[..2], [0x8A, 0x81]);
    }

    #[test]
    fn endless_messages_are_cut() {
        let (mut client, _) = pair();
        client.feed(&[0x02, 0x7E, 0x03, 0xE9]);
        assert!(client.next(&mut Vec::new()).is_err());
        let (mut client, _) = pair();
        for _ in 0..11 {
            client.feed(&[0x00, 100]);
            client.feed(&[b'x'; 100]);
        }
        client.input[0] = 0x02;
        assert_eq!(client.next(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_close_ends_it() {
        let (mut client, mut server) = pair();
        let mut wire = Vec::new();
        client.close(&mut wire);
        server.feed(&wire);
        let mut answer = Vec::new();
        assert_eq!(server.next(&mut answer).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(answer[0], 0x88);
    }
}
