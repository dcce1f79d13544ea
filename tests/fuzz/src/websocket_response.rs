//! A server's answer to the WebSocket handshake of a client: complete at one point only, whatever follows it.
//!
//! In the input, `ACCEPT` stands for the right Sec-WebSocket-Accept.

use tercet_net::websocket::{ClientHandshake, MAX_RESPONSE, accept_key};

/// The body of the target.
pub fn check(data: &[u8]) {
    let handshake = ClientHandshake::new("broker.example", "/mqtt", "mqtt", &[]).unwrap();
    let request = std::str::from_utf8(handshake.request()).unwrap();
    let (_, key) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    let accept = accept_key(key.lines().next().unwrap_or_default().as_bytes());
    let answer = crate::substitute(data, b"ACCEPT", accept.as_bytes());
    match handshake.response(&answer) {
        Ok(Some(established)) => {
            let length = established.response_length;
            assert!(length <= answer.len() && length <= MAX_RESPONSE);
            assert_eq!(handshake.response(&answer[..length]).unwrap(), Some(established));
            for shorter in (0..length).rev().take(100).chain(0..length.min(100)) {
                assert_eq!(handshake.response(&answer[..shorter]).unwrap(), None, "{shorter}");
            }
        }
        Ok(None) => assert!(answer.len() <= MAX_RESPONSE),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
