//! The client's side of the opening handshake (RFC 6455 §4.1): a request to send, an answer to judge.

use std::fmt::{self, Write as _};
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::server_handshake::{accept_key, tokens};

/// Longest answer a client reads before it gives up, in bytes.
pub const MAX_RESPONSE: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// An upgrade request and the judgement of its answer.
///
/// Send [`ClientHandshake::request`], collect what comes back, and call [`ClientHandshake::response`] after every
/// read until it gives a result. Bytes behind the response already belong to the WebSocket.
#[derive(Clone)]
pub struct ClientHandshake {
    request: Vec<u8>,
    accept_key: String,
    subprotocol: String,
}

/// The server agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Established {
    /// Length of the response; the bytes behind it are WebSocket frames.
    pub response_length: usize,
    /// Whether the server confirmed the subprotocol. Some old servers leave it out; MQTT says they must not.
    pub subprotocol_confirmed: bool,
}

/// The handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientHandshakeError {
    /// A host, path, subprotocol or header that cannot stand in a request.
    #[error("{0} holds a character that cannot stand in an HTTP request")]
    Unsendable(&'static str),
    /// The system has no randomness for the key.
    #[error("no randomness for the WebSocket key")]
    Randomness(#[source] io::Error),
    /// The answer is not HTTP.
    #[error("the server does not answer in HTTP")]
    NotHttp,
    /// The answer does not end within [`MAX_RESPONSE`] bytes.
    #[error("the answer to the WebSocket request is over {MAX_RESPONSE} bytes")]
    TooLong,
    /// The server answered with another status than 101.
    #[error("the server refused the WebSocket with status {status}{}", reason_suffix(.reason))]
    Refused {
        /// HTTP status.
        status: u16,
        /// The reason phrase; at most 100 characters, control characters removed.
        reason: String,
    },
    /// A header of the answer is missing or wrong.
    #[error("the server's WebSocket answer has a wrong or missing {0} header")]
    Header(&'static str),
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl ClientHandshake {
    /// A request for `path` (with its query, such as `/mqtt`) at `host` (with its port unless it is the default
    /// one), offering one subprotocol and carrying extra headers such as `Authorization`.
    ///
    /// # Errors
    /// When an argument cannot stand in a request, or the system has no randomness.
    pub fn new(
        host: &str,
        path: &str,
        subprotocol: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, ClientHandshakeError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| ClientHandshakeError::Randomness(io::Error::other(error)))?;
        Self::with_nonce(host, path, subprotocol, headers, nonce)
    }

    fn with_nonce(
        host: &str,
        path: &str,
        subprotocol: &str,
        headers: &[(&str, &str)],
        nonce: [u8; 16],
    ) -> Result<Self, ClientHandshakeError> {
        // A space or line break in these would let a caller's input forge requests.
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let checks = [
            (word(host), "the host"),
            (word(path) && path.starts_with('/'), "the path"),
            (word(subprotocol) && !subprotocol.contains(','), "the subprotocol"),
            (headers.iter().all(|(name, _)| word(name) && !name.contains(':')), "a header name"),
            (headers.iter().all(|(_, value)| is_header_value(value)), "a header value"),
        ];
        if let Some((_, culprit)) = checks.into_iter().find(|(fine, _)| !fine) {
            return Err(ClientHandshakeError::Unsendable(culprit));
        }
        let key = STANDARD.encode(nonce);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n"
        );
        for (name, value) in headers {
            // Writing to a string cannot fail.
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");
        Ok(Self {
            request: request.into_bytes(),
            accept_key: accept_key(key.as_bytes()),
            subprotocol: subprotocol.to_owned(),
        })
    }

    /// The request to send.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Judges what has been received so far; `None` while the answer is incomplete.
    ///
    /// # Errors
    /// When the answer is not the agreement that was asked for, or grows over [`MAX_RESPONSE`].
    pub fn response(&self, received: &[u8]) -> Result<Option<Established>, ClientHandshakeError> {
        let bounded = &received[..received.len().min(MAX_RESPONSE)];
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let response_length = match response.parse(bounded) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if received.len() >= MAX_RESPONSE => {
                return Err(ClientHandshakeError::TooLong);
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(ClientHandshakeError::TooLong),
            Err(_) => return Err(ClientHandshakeError::NotHttp),
        };
        match response.code {
            Some(101) => {}
            Some(status) => {
                let reason = response.reason.unwrap_or_default();
                let reason = reason.chars().filter(|c| !c.is_control()).take(100).collect();
                return Err(ClientHandshakeError::Refused { status, reason });
            }
            None => return Err(ClientHandshakeError::NotHttp),
        }
        let subprotocol_confirmed = self.check_headers(response.headers)?;
        Ok(Some(Established { response_length, subprotocol_confirmed }))
    }

    fn check_headers(&self, headers: &[httparse::Header<'_>]) -> Result<bool, ClientHandshakeError> {
        let values = |wanted: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(wanted))
                .map(|header| header.value.trim_ascii())
        };
        let lists = |name, word: &str| {
            values(name).flat_map(tokens).any(|token| token.eq_ignore_ascii_case(word.as_bytes()))
        };
        if !lists("Upgrade", "websocket") {
            return Err(ClientHandshakeError::Header("Upgrade"));
        }
        if !lists("Connection", "upgrade") {
            return Err(ClientHandshakeError::Header("Connection"));
        }
        if !values("Sec-WebSocket-Accept").eq([self.accept_key.as_bytes()]) {
            return Err(ClientHandshakeError::Header("Sec-WebSocket-Accept"));
        }
        // §4.1: an extension or subprotocol that was not asked for fails the connection.
        if values("Sec-WebSocket-Extensions").any(|value| !value.is_empty()) {
            return Err(ClientHandshakeError::Header("Sec-WebSocket-Extensions"));
        }
        let mut chosen = values("Sec-WebSocket-Protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(false),
            (Some(protocol), None) if protocol == self.subprotocol.as_bytes() => Ok(true),
            _ => Err(ClientHandshakeError::Header("Sec-WebSocket-Protocol")),
        }
    }
}

impl fmt::Debug for ClientHandshake {
    /// Leaves out the request: its headers may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake").field("subprotocol", &self.subprotocol).finish_non_exhaustive()
    }
}

fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b' ' || byte == b'\t' || (byte > b' ' && byte != 0x7F))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::{ServerOptions, accept};

    fn sample() -> ClientHandshake {
        let nonce = *b"the sample nonce";
        ClientHandshake::with_nonce("broker.example", "/mqtt", "mqtt", &[("X-Token", "a b")], nonce).unwrap()
    }

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

    #[test]
    fn the_server_grants_what_the_client_asks() {
        let handshake = sample();
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        assert!(request.parse(handshake.request()).unwrap().is_complete());
        assert_eq!(request.path, Some("/mqtt"));
        let accepted = accept(
            request.method.unwrap(),
            request.headers.iter().map(|header| (header.name, header.value)),
            &ServerOptions::mqtt(),
        )
        .unwrap();
        assert_eq!(accepted.accept_key, handshake.accept_key);
        assert!(request.headers.iter().any(|header| header.name == "X-Token" && header.value == b"a b"));
    }

    #[test]
    fn every_prefix_of_an_answer_is_incomplete_and_the_rest_is_left() {
        let handshake = sample();
        for end in 0..GOOD.len() {
            assert!(handshake.response(&GOOD.as_bytes()[..end]).unwrap().is_none(), "{end}");
        }
        let with_frames = [GOOD.as_bytes(), &[0x82, 0x00]].concat();
        let expected = Established { response_length: GOOD.len(), subprotocol_confirmed: true };
        assert_eq!(handshake.response(&with_frames).unwrap(), Some(expected));
    }

    #[test]
    fn wrong_answers_are_named() {
        let cases = [
            ("websocket\r\nConn", "h2c\r\nConn", "Upgrade"),
            ("Connection: Upgrade", "Connection: close", "Connection"),
            ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAALMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Accept"),
            ("Sec-WebSocket-Protocol: mqtt", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol"),
            (
                "Sec-WebSocket-Protocol: mqtt",
                "Sec-WebSocket-Extensions: permessage-deflate",
                "Sec-WebSocket-Extensions",
            ),
        ];
        for (from, to, culprit) in cases {
            let answer = GOOD.replacen(from, to, 1);
            assert_ne!(answer, GOOD);
            match sample().response(answer.as_bytes()) {
                Err(ClientHandshakeError::Header(header)) => assert_eq!(header, culprit),
                other => panic!("{culprit}: {other:?}"),
            }
        }
    }

    #[test]
    fn refusals_tell_the_status() {
        let error = sample().response(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err();
        assert_eq!(error.to_string(), "the server refused the WebSocket with status 404 (Not Found)");
        assert!(matches!(sample().response(b"\x20\x02\x00\x00"), Err(ClientHandshakeError::NotHttp)));
    }

    #[test]
    fn endless_answers_are_cut() {
        let endless = format!("HTTP/1.1 101 OK\r\nX: {}", "x".repeat(MAX_RESPONSE));
        assert!(matches!(sample().response(endless.as_bytes()), Err(ClientHandshakeError::TooLong)));
        let many = format!("HTTP/1.1 101 OK\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert!(matches!(sample().response(many.as_bytes()), Err(ClientHandshakeError::TooLong)));
    }

    #[test]
    fn a_server_that_names_no_subprotocol_is_noticed() {
        let answer = GOOD.replacen("Sec-WebSocket-Protocol: mqtt\r\n", "", 1);
        assert!(!sample().response(answer.as_bytes()).unwrap().unwrap().subprotocol_confirmed);
    }

    #[test]
    fn input_cannot_smuggle_headers() {
        type Headers = &'static [(&'static str, &'static str)];
        let bad: [(&str, &str, &str, Headers); 6] = [
            ("a\r\nX: y", "/", "mqtt", &[]),
            ("a", "/ HTTP/1.1\r\nX: y", "mqtt", &[]),
            ("a", "no-slash", "mqtt", &[]),
            ("a", "/", "mqtt\r\nX: y", &[]),
            ("a", "/", "mqtt", &[("X: y\r\nZ", "v")]),
            ("a", "/", "mqtt", &[("X", "v\r\nZ: w")]),
        ];
        for (host, path, protocol, headers) in bad {
            assert!(
                ClientHandshake::new(host, path, protocol, headers).is_err(),
                "{host} {path} {headers:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = sample().response(&bytes);
            let _ = sample().response(&[&GOOD.as_bytes()[..40], &bytes].concat());
        }
    }
}
