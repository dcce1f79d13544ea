//! One connection over TCP, TLS or WebSocket: messages in and out, signals dealt with (RFC 8323).
//!
//! Both sides of this library use it. Reading and writing go on at the same time, so that two peers with full buffers
//! do not wait for each other.

use std::future::pending;
use std::io;

use tercet_coap::stream::{self, AbortReason, Connection, Received, Signal};
use tercet_coap::{Limits, Token, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::dial::{Dialled, Io};
use super::message::Message;
use super::websocket::Framing;

/// How much is read at once.
const READ: usize = 16 * 1024;

/// A connection.
pub(super) struct StreamPort {
    reader: ReadHalf<Box<dyn Io>>,
    writer: WriteHalf<Box<dyn Io>>,
    websocket: Option<Framing>,
    connection: Connection,
    limits: Limits,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of the output is written.
    written: usize,
}

/// What came from the peer.
pub(super) enum Arrived {
    Request(Token, Message),
    Response(Token, Message),
    /// A Pong, or the peer's CSM: it is there.
    Alive,
    /// Nothing, but all that was queued is written.
    Written,
}

/// Why a connection ended.
pub(super) enum Ending {
    /// It broke, or was closed.
    Io(io::Error),
    /// The peer said Release: no new requests.
    Released,
    /// The peer said Abort, with these words.
    Aborted(String),
    /// The peer broke the protocol; it was told so.
    Protocol(String),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl StreamPort {
    /// Begins with our CSM, which announces that messages of up to `max_message` bytes are taken.
    pub(super) fn new(dialled: Dialled, max_message: u32) -> Self {
        let (reader, writer) = tokio::io::split(dialled.io);
        let message = usize::try_from(max_message).unwrap_or(usize::MAX);
        let mut port = Self {
            reader,
            writer,
            websocket: dialled.websocket,
            connection: Connection::new(),
            limits: Limits { message, ..Limits::default() },
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
        };
        port.signal(&Signal::Csm { max_message_size: max_message, block_wise: true, token: 8 }, &[]);
        port
    }

    /// What the peer's CSM said.
    pub(super) fn peer(&self) -> &Connection {
        &self.connection
    }

    /// Bytes that are not written yet.
    pub(super) fn backlog(&self) -> usize {
        self.output.len() - self.written
    }

    /// Queues a message.
    pub(super) fn send(&mut self, token: &[u8], message: &Message) {
        self.write(|out, websocket| {
            let mut writer = if websocket {
                Writer::websocket(out, message.code, token)
            } else {
                Writer::stream(out, message.code, token)
            };
            writer.options(message.options()).payload(&message.payload);
        });
    }

    /// Queues a Ping.
    pub(super) fn ping(&mut self, token: &[u8]) {
        self.signal(&Signal::Ping { custody: false }, token);
    }

    /// The next thing from the peer, if it is to be read at all, while what is queued is written. May be dropped and
    /// called again.
    pub(super) async fn next(&mut self, reads: bool) -> Result<Arrived, Ending> {
        loop {
            if reads && let Some(arrived) = self.parse()? {
                return Ok(arrived);
            }
            let mut chunk = [0; READ];
            let rest = self.output.get(self.written..).unwrap_or_default();
            tokio::select! {
                read = self.reader.read(&mut chunk), if reads => match read? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    n => self.feed(chunk.get(..n).unwrap_or_default()),
                },
                written = self.writer.write(rest), if !rest.is_empty() => {
                    self.advance(written?);
                    // TLS keeps bytes back until it is flushed.
                    self.writer.flush().await?;
                    if self.output.is_empty() {
                        return Ok(Arrived::Written);
                    }
                }
                // Nothing to do until the caller calls again.
                () = pending(), if !reads && rest.is_empty() => {}
            }
        }
    }

    /// Writes what is queued, says goodbye and closes. An orderly end begins with Release.
    pub(super) async fn close(mut self) {
        self.signal(&Signal::Release { alternative: None, hold_off: None }, &[]);
        if let Some(framing) = &mut self.websocket {
            framing.close(&mut self.output);
        }
        // Whoever is gone already needs no goodbye.
        let _ = self.flush().await;
        let _ = self.writer.shutdown().await;
    }

    /// Writes what is queued, without reading: for last words.
    async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = self.writer.write(rest).await?;
            self.advance(written);
        }
        self.writer.flush().await
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        match &mut self.websocket {
            Some(framing) => framing.feed(bytes),
            None => self.input.extend_from_slice(bytes),
        }
    }

    fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>, bool)) {
        match &mut self.websocket {
            None => encode(&mut self.output, false),
            Some(framing) => {
                let mut message = Vec::new();
                encode(&mut message, true);
                // It fails only when the connection is closing, which reading will tell.
                let _ = framing.frame(&message, &mut self.output);
            }
        }
    }

    fn signal(&mut self, signal: &Signal<'_>, token: &[u8]) {
        self.write(|out, websocket| {
            if websocket {
                signal.encode_websocket(token, out);
            } else {
                signal.encode_stream(token, out);
            }
        });
    }

    /// The next whole message that asks for more than an answer of ours.
    fn parse(&mut self) -> Result<Option<Arrived>, Ending> {
        loop {
            let (whole, length) = match &mut self.websocket {
                Some(framing) => match framing.next(&mut self.output)? {
                    Some(message) => (message, 0),
                    None => return Ok(None),
                },
                None => (std::mem::take(&mut self.input), 0),
            };
            let decoded = if self.websocket.is_some() {
                stream::decode_websocket(&whole, &self.limits).map(|message| Some((message, length)))
            } else {
                stream::decode(&whole, &self.limits)
            };
            let (step, used) = match decoded {
                Ok(Some((message, used))) => (step(&mut self.connection, &message), used),
                Ok(None) => {
                    self.input = whole;
                    return Ok(None);
                }
                Err(error) => (Step::Fail(error.to_string()), 0),
            };
            if self.websocket.is_none() {
                self.input = whole;
                self.input.drain(..used);
            }
            match step {
                Step::Arrived(arrived) => return Ok(Some(arrived)),
                Step::Nothing => {}
                Step::Pong(token, custody) => self.signal(&Signal::Pong { custody }, &token),
                Step::End(ending) => return Err(ending),
                Step::Abort(reason) => {
                    self.signal(&reason.into(), &[]);
                    return Err(Ending::Protocol(reason_text(reason)));
                }
                Step::Fail(text) => {
                    self.signal(&Signal::Abort { bad_csm_option: None, diagnostic: text.as_bytes() }, &[]);
                    return Err(Ending::Protocol(text));
                }
            }
        }
    }
}

/// What a message asks for, free of the bytes it came in.
enum Step {
    Nothing,
    Arrived(Arrived),
    Pong(Vec<u8>, bool),
    End(Ending),
    Abort(AbortReason),
    Fail(String),
}

fn step(connection: &mut Connection, message: &tercet_coap::Message<'_>) -> Step {
    let was_ready = connection.is_ready();
    match connection.receive(message) {
        Received::Nothing if !was_ready && connection.is_ready() => Step::Arrived(Arrived::Alive),
        Received::Nothing => Step::Nothing,
        Received::Request(message) => owned(&message, Arrived::Request),
        Received::Response(message) => owned(&message, Arrived::Response),
        Received::Ping { token, custody } => Step::Pong(token.to_vec(), custody),
        Received::Pong { .. } => Step::Arrived(Arrived::Alive),
        Received::Release { .. } => Step::End(Ending::Released),
        Received::Aborted { diagnostic, .. } => {
            Step::End(Ending::Aborted(String::from_utf8_lossy(diagnostic).into_owned()))
        }
        Received::Abort(reason) => Step::Abort(reason),
    }
}

fn owned(message: &tercet_coap::Message<'_>, make: impl FnOnce(Token, Message) -> Arrived) -> Step {
    match Token::new(message.token) {
        Ok(token) => Step::Arrived(make(token, Message::from_wire(message))),
        // No message can carry such a token.
        Err(_) => Step::Nothing,
    }
}

fn reason_text(reason: AbortReason) -> String {
    match reason {
        AbortReason::BadCsmOption(number) => format!("critical option {number} in its CSM"),
        AbortReason::Diagnostic(text) => text.to_owned(),
    }
}
