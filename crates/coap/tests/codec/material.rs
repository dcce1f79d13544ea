//! Generated messages.

use proptest::collection::vec;
use proptest::prelude::*;
use tercet_coap::{Code, Kind, Number, OwnedMessage, Token};

/// Codes that a datagram of this kind may have, other than 0.00.
fn code(kind: Kind) -> BoxedStrategy<Code> {
    let response = (0x40..=0xBFu8).prop_map(Code);
    match kind {
        Kind::Confirmable | Kind::NonConfirmable => prop_oneof![(1..=31u8).prop_map(Code), response].boxed(),
        Kind::Acknowledgement | Kind::Reset => response.boxed(),
    }
}

/// Numbers of known options, of unknown ones, and at the edges of the extensions.
fn number() -> impl Strategy<Value = Number> {
    let edges = [0, 12, 13, 14, 268, 269, 270, 281, 282, 65_534, 65_535].map(Number);
    prop_oneof![
        4 => (1..64u16).prop_map(Number),
        2 => prop::sample::select(edges.to_vec()),
        1 => any::<u16>().prop_map(Number),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let edges = prop::sample::select(vec![0usize, 1, 12, 13, 14, 268, 269, 270, 1034]);
    prop_oneof![
        4 => vec(any::<u8>(), 0..9),
        1 => (edges, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// Tokens of up to 8 bytes, or of these lengths.
fn token(lengths: &'static [usize]) -> impl Strategy<Value = Vec<u8>> {
    let edges = prop::sample::select(lengths);
    prop_oneof![
        4 => vec(any::<u8>(), 0..=8),
        1 => (edges, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// Any message of this code, with a token of up to 8 bytes or one of these lengths.
fn message_of(
    code: impl Strategy<Value = Code>,
    lengths: &'static [usize],
) -> impl Strategy<Value = OwnedMessage> {
    (code, token(lengths), vec((number(), value()), 0..8), vec(any::<u8>(), 0..40)).prop_map(
        |(code, token, options, payload)| {
            let mut message = OwnedMessage::new(code);
            message.token = Token::new(&token).unwrap();
            for (number, value) in &options {
                message.add(*number, value);
            }
            message.payload = payload;
            message
        },
    )
}

/// Any datagram that is not Empty.
pub(crate) fn datagram() -> impl Strategy<Value = (Kind, u16, OwnedMessage)> {
    let kind = prop::sample::select(vec![Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement]);
    kind.prop_flat_map(|kind| (Just(kind), any::<u16>(), message_of(code(kind), &[13, 14, 268, 269, 300])))
}

/// Any message that a stream carries and that is not Empty.
pub(crate) fn message() -> impl Strategy<Value = OwnedMessage> {
    let codes = prop_oneof![code(Kind::Confirmable), (0xE0..=0xFFu8).prop_map(Code)];
    message_of(codes, &[9, 12, 13, 268, 269, 300])
}
