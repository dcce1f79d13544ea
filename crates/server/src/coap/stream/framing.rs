//! Messages in a byte stream: behind lengths of their own (RFC 8323 §3.2), or one in each message of a WebSocket (§4.2).

use tercet_coap::stream::{self, Signal};
use tercet_coap::{Code, Limits, Message, Writer};
use tercet_net::websocket::{Codec, FrameHeader, Limits as FrameLimits, MAX_HEADER, Opcode, Outcome, Role};

/// How messages lie in the bytes of a connection.
pub(super) enum Framing {
    /// Behind lengths of their own.
    Lengths,
    /// In messages of a WebSocket.
    WebSocket(Box<WebSocket>),
}

/// A WebSocket below the messages.
pub(super) struct WebSocket {
    codec: Codec,
    /// The message that is arriving, or has arrived.
    message: Vec<u8>,
    /// Whether the message goes on in the next frame.
    unfinished: bool,
}

/// What is at the front of the input.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// A message, and how many bytes it took.
    Message(Message<'a>, usize),
    /// Something of the framing alone, and how many bytes it took.
    Other(usize),
    /// Not all of it is there.
    Incomplete,
    /// The peer has closed the WebSocket.
    Closed,
}

/// What is at the front of the input cannot be read; the words are for the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The message is none: it is answered with an Abort.
    Message(stream::Error),
    /// The WebSocket is violated, and its close frame says so.
    WebSocket,
}

impl Framing {
    pub(super) fn websocket(longest: usize) -> Self {
        let limits = FrameLimits { max_frame: longest as u64 };
        let codec = Codec::new(Role::Server, limits);
        Self::WebSocket(Box::new(WebSocket { codec, message: Vec::new(), unfinished: false }))
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    /// Reads what is at the front of `input`.
    pub(super) fn next<'a>(&'a mut self, input: &'a [u8], limits: &Limits) -> Result<Next<'a>, Unreadable> {
        match self {
            Self::Lengths => match stream::decode(input, limits).map_err(Unreadable::Message)? {
                Some((message, used)) => Ok(Next::Message(message, used)),
                None => Ok(Next::Incomplete),
            },
            Self::WebSocket(websocket) => websocket.next(input, limits),
        }
    }

    /// Appends a message that was written for this framing.
    pub(super) fn put(&mut self, message: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Lengths => out.extend_from_slice(message),
            // A WebSocket that is closing takes nothing more.
            Self::WebSocket(websocket) => drop(websocket.codec.encode(message, out)),
        }
    }

    /// Appends a signal.
    pub(super) fn put_signal(&mut self, signal: &Signal<'_>, token: &[u8], out: &mut Vec<u8>) {
        let mut message = Vec::new();
        match self {
            Self::Lengths => signal.encode_stream(token, &mut message),
            Self::WebSocket(_) => signal.encode_websocket(token, &mut message),
        }
        self.put(&message, out);
    }

    /// Appends a response without options.
    pub(super) fn put_response(&mut self, code: Code, token: &[u8], diagnostic: &str, out: &mut Vec<u8>) {
        let mut message = Vec::new();
        let mut writer = match self {
            Self::Lengths => Writer::stream(&mut message, code, token),
            Self::WebSocket(_) => Writer::websocket(&mut message, code, token),
        };
        writer.payload(diagnostic.as_bytes());
        drop(writer);
        self.put(&message, out);
    }

    /// Appends what the framing itself has to say: pongs and close frames of a WebSocket.
    pub(super) fn put_control(&mut self, out: &mut Vec<u8>) {
        if let Self::WebSocket(websocket) = self {
            // Only clients, which need masks, can fail.
            while websocket.codec.next_control(out).unwrap_or(false) {}
        }
    }
}

impl WebSocket {
    fn next<'a>(&'a mut self, input: &'a [u8], limits: &Limits) -> Result<Next<'a>, Unreadable> {
        if !self.unfinished {
            self.message.clear();
        }
        let header = match FrameHeader::parse(input) {
            Ok(Some(header)) => Some(header),
            Ok(None) => None,
            // The codec comes to the same result, and has the close code for it.
            Err(_) => return self.fail(input),
        };
        let Some((header, start)) = header else { return Ok(Next::Incomplete) };
        let room = limits.message.saturating_sub(self.message.len()) as u64;
        if !header.opcode.is_control() && header.length > room {
            return Err(Unreadable::Message(stream::Error::TooLarge));
        }
        let end = start + usize::try_from(header.length).unwrap_or(usize::MAX);
        let Some(frame) = input.get(..end) else {
            return match header.mask {
                Some(_) => Ok(Next::Incomplete),
                None => self.fail(input),
            };
        };
        // Frame by frame, so that the codec does not run messages together.
        let before = self.message.len();
        self.message.extend_from_slice(frame);
        let decoded = self.codec.decode(self.message.split_at_mut(before).1);
        self.message.truncate(before + decoded.len);
        match decoded.outcome {
            Outcome::Closed => return Ok(Next::Closed),
            Outcome::Failed(_) => return Err(Unreadable::WebSocket),
            Outcome::Open => {}
        }
        if matches!(header.opcode, Opcode::Ping | Opcode::Pong) {
            return Ok(Next::Other(end));
        }
        self.unfinished = !header.fin;
        if self.unfinished {
            return Ok(Next::Other(end));
        }
        let message = stream::decode_websocket(&self.message, limits).map_err(Unreadable::Message)?;
        Ok(Next::Message(message, end))
    }

    fn fail<'a>(&mut self, input: &[u8]) -> Result<Next<'a>, Unreadable> {
        let mut header = input.get(..input.len().min(MAX_HEADER)).unwrap_or_default().to_vec();
        let _ = self.codec.decode(&mut header);
        Err(Unreadable::WebSocket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn websocket() -> Framing {
        Framing::websocket(1152)
    }

    /// What a client sends: masked with zeros.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() < 126);
        [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn each_message_of_a_websocket_is_one_of_coap() {
        let mut framing = websocket();
        let get = [0x01, 0x01, 0x77, 0xb1, b'a'];
        let input = [frame(0x82, &get), frame(0x82, &get)].concat();
        for part in [&input[..], &input[input.len() / 2..]] {
            let Next::Message(message, used) = framing.next(part, &Limits::default()).unwrap() else {
                panic!()
            };
            assert_eq!((message.code, message.token, used), (Code::GET, &b"w"[..], input.len() / 2));
        }
    }

    #[test]
    fn a_message_in_pieces_with_a_ping_between_is_put_together() {
        let mut framing = websocket();
        let mut input = [frame(0x02, &[0x00, 0x01]), frame(0x89, b"hi"), frame(0x80, &[0xb1, b'a'])].concat();
        for _ in 0..2 {
            let Next::Other(used) = framing.next(&input, &Limits::default()).unwrap() else { panic!() };
            input.drain(..used);
        }
        let Next::Message(message, _) = framing.next(&input, &Limits::default()).unwrap() else { panic!() };
        assert_eq!(message.options.iter().count(), 1);
        let mut out = Vec::new();
        framing.put_control(&mut out);
        assert_eq!(out, [0x8a, 2, b'h', b'i']);
    }

    #[test]
    fn what_cannot_be_read_is_refused_before_it_is_all_there() {
        let too_long = [0x82, 0xfe, 0x10, 0x00, 0, 0, 0, 0];
        let cases: [(&[u8], bool); 4] = [
            (&too_long, false),
            // Not masked.
            (&[0x82, 0x02, 0x00, 0x01], true),
            // Text.
            (&[0x81, 0x80, 0, 0, 0, 0], true),
            // A length where there has to be none (RFC 8323 §4.2).
            (&[0x82, 0x82, 0, 0, 0, 0, 0x10, 0x01], false),
        ];
        for (input, is_violation) in cases {
            let mut framing = websocket();
            let error = framing.next(input, &Limits::default()).unwrap_err();
            assert_eq!(error == Unreadable::WebSocket, is_violation, "{input:x?}: {error:?}");
            let mut out = Vec::new();
            framing.put_control(&mut out);
            assert_eq!(!out.is_empty(), is_violation, "{input:x?}");
        }
    }
}
