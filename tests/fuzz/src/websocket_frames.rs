//! A stream of WebSocket frames: the same bytes, control frames and end however the stream is cut.
//!
//! The first byte of the input chooses the side and the longest frame.

use tercet_net::websocket::{Control, Decoder, FrameHeader, Limits, Outcome, Role};

#[derive(Debug, PartialEq)]
enum Seen {
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// Application bytes, control frames and the outcome.
fn decode<'a>(
    role: Role,
    limits: Limits,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Vec<Seen>, Outcome) {
    let mut decoder = Decoder::new(role, limits);
    let (mut bytes, mut controls, mut outcome) = (Vec::new(), Vec::new(), Outcome::Open);
    for piece in pieces {
        let mut buffer = piece.to_vec();
        let decoded = decoder.decode(&mut buffer, |control| {
            controls.push(match control {
                Control::Ping(payload) => Seen::Ping(payload.to_vec()),
                Control::Pong(payload) => Seen::Pong(payload.to_vec()),
                Control::Close(code) => Seen::Close(code.map(|code| code.value())),
            });
        });
        bytes.extend_from_slice(&buffer[..decoded.len]);
        assert!(outcome == Outcome::Open || decoded.len == 0, "nothing follows the end");
        assert!(outcome == Outcome::Open || decoded.outcome == outcome, "the end is the end");
        outcome = decoded.outcome;
    }
    (bytes, controls, outcome)
}

/// The body of the target.
pub fn check(data: &[u8]) {
    if let Ok(Some((header, length))) = FrameHeader::parse(data) {
        assert!(length <= data.len());
        let again = header.encode();
        assert_eq!(FrameHeader::parse(&again), Ok(Some((header, again.len()))));
    }
    let Some((&choice, stream)) = data.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let limits = if choice & 2 == 0 { Limits::default() } else { Limits { max_frame: 16 } };
    let whole = decode(role, limits, std::iter::once(stream));
    assert!(whole.0.len() <= stream.len());
    assert!(whole.1.iter().all(|seen| match seen {
        Seen::Ping(payload) | Seen::Pong(payload) => payload.len() <= 125,
        Seen::Close(_) => whole.2 != Outcome::Open,
    }));
    assert_eq!(decode(role, limits, stream.chunks(1)), whole);
    assert_eq!(decode(role, limits, crate::pieces(stream)), whole);
}
