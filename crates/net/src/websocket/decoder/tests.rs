use proptest::prelude::*;

use super::*;

const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// An owned picture of everything a decoder said.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    controls: Vec<String>,
    outcome: Outcome,
}

fn frame(fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut wire = FrameHeader { fin, opcode, mask, length: payload.len() as u64 }.encode().to_vec();
    let start = wire.len();
    wire.extend_from_slice(payload);
    apply_mask(&mut wire[start..], mask.unwrap_or_default());
    wire
}

fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(fin, opcode, Some(KEY), payload)
}

/// Decodes `wire` cut into pieces whose sizes repeat `cuts`.
fn decode_cut(role: Role, limits: Limits, wire: &[u8], cuts: &[usize]) -> Seen {
    let mut decoder = Decoder::new(role, limits);
    let mut seen = Seen { data: Vec::new(), controls: Vec::new(), outcome: Outcome::Open };
    let mut rest = wire;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*cut).clamp(1, rest.len()));
        let mut buffer = piece.to_vec();
        let decoded = decoder.decode(&mut buffer, |control| seen.controls.push(format!("{control:?}")));
        seen.data.extend_from_slice(&buffer[..decoded.len]);
        seen.outcome = decoded.outcome;
        rest = after;
    }
    seen
}

fn decode(role: Role, wire: &[u8]) -> Seen {
    decode_cut(role, Limits { max_frame: 1000 }, wire, &[usize::MAX])
}

#[test]
fn examples_of_the_specification() {
    // RFC 6455 §5.7, with the opcode made binary where it is text there.
    let hello = decode(Role::Client, &[0x82, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(hello.data, b"Hello");
    let masked = decode(Role::Server, &[0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(masked.data, b"Hello");
    let fragmented = decode(Role::Client, &[0x02, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);
    assert_eq!((fragmented.data.as_slice(), fragmented.outcome), (&b"Hello"[..], Outcome::Open));
    let ping = decode(Role::Client, &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(ping.controls, [format!("{:?}", Control::Ping(b"Hello"))]);
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let wire = [
        masked(false, Opcode::Binary, b"one "),
        masked(true, Opcode::Ping, b"?"),
        masked(false, Opcode::Continuation, b""),
        masked(true, Opcode::Pong, b""),
        masked(true, Opcode::Continuation, b"two"),
        masked(true, Opcode::Binary, b" three"),
    ]
    .concat();
    let seen = decode(Role::Server, &wire);
    assert_eq!(seen.data, b"one two three");
    assert_eq!(seen.controls.len(), 2);
    assert_eq!(seen.outcome, Outcome::Open);
}

#[test]
fn what_no_peer_may_send_is_refused_with_its_close_code() {
    let limit = vec![0; 1001];
    let long = ProtocolError::FrameTooLong { length: 1001, limit: 1000 };
    let huge = ProtocolError::FrameTooLong { length: u64::MAX >> 1, limit: 1000 };
    let huge_header =
        FrameHeader { fin: true, opcode: Opcode::Binary, mask: Some(KEY), length: u64::MAX >> 1 };
    let cases: Vec<(Role, Vec<u8>, ProtocolError, u16)> = vec![
        (Role::Server, frame(true, Opcode::Binary, None, b"x"), ProtocolError::Unmasked, 1002),
        (Role::Server, frame(true, Opcode::Ping, None, b""), ProtocolError::Unmasked, 1002),
        (Role::Client, masked(true, Opcode::Binary, b"x"), ProtocolError::Masked, 1002),
        (Role::Server, masked(true, Opcode::Text, b"x"), ProtocolError::TextMessage, 1003),
        (Role::Server, masked(false, Opcode::Text, b""), ProtocolError::TextMessage, 1003),
        (Role::Server, masked(true, Opcode::Continuation, b"x"), ProtocolError::UnexpectedContinuation, 1002),
        (
            Role::Server,
            [masked(true, Opcode::Binary, b"x"), masked(true, Opcode::Continuation, b"x")].concat(),
            ProtocolError::UnexpectedContinuation,
            1002,
        ),
        (
            Role::Server,
            [masked(false, Opcode::Binary, b"x"), masked(true, Opcode::Binary, b"x")].concat(),
            ProtocolError::InterleavedMessage,
            1002,
        ),
        (Role::Server, masked(false, Opcode::Ping, b"x"), ProtocolError::FragmentedControl, 1002),
        (Role::Server, masked(true, Opcode::Ping, &[0; 126]), ProtocolError::ControlTooLong, 1002),
        (Role::Server, masked(true, Opcode::Binary, &limit), long, 1009),
        (Role::Server, huge_header.encode().to_vec(), huge, 1009),
        (Role::Server, masked(true, Opcode::Close, &[3]), ProtocolError::MalformedClose, 1002),
        (Role::Server, masked(true, Opcode::Close, &[0, 0]), ProtocolError::MalformedClose, 1002),
        (
            Role::Server,
            masked(true, Opcode::Close, &999u16.to_be_bytes()),
            ProtocolError::MalformedClose,
            1002,
        ),
        (
            Role::Server,
            masked(true, Opcode::Close, &1005u16.to_be_bytes()),
            ProtocolError::MalformedClose,
            1002,
        ),
        (
            Role::Server,
            masked(true, Opcode::Close, &1006u16.to_be_bytes()),
            ProtocolError::MalformedClose,
            1002,
        ),
        (
            Role::Server,
            masked(true, Opcode::Close, &1015u16.to_be_bytes()),
            ProtocolError::MalformedClose,
            1002,
        ),
        (
            Role::Server,
            masked(true, Opcode::Close, &2999u16.to_be_bytes()),
            ProtocolError::MalformedClose,
            1002,
        ),
        (
            Role::Server,
            masked(true, Opcode::Close, &5000u16.to_be_bytes()),
            ProtocolError::MalformedClose,
            1002,
        ),
        (
            Role::Server,
            masked(true, Opcode::Close, &[0x03, 0xE8, 0xFF]),
            ProtocolError::CloseReasonNotUtf8,
            1007,
        ),
    ];
    for (role, wire, error, code) in cases {
        let seen = decode(role, &wire);
        assert_eq!(seen.outcome, Outcome::Failed(error), "{wire:02X?}");
        assert_eq!(error.close_code().value(), code, "{error}");
    }
}

#[test]
fn data_before_a_violation_is_delivered_and_nothing_after_it() {
    let wire = [
        masked(true, Opcode::Binary, b"good"),
        masked(true, Opcode::Text, b"bad"),
        masked(true, Opcode::Binary, b"late"),
    ]
    .concat();
    let seen = decode(Role::Server, &wire);
    assert_eq!(seen.data, b"good");
    assert_eq!(seen.outcome, Outcome::Failed(ProtocolError::TextMessage));
}

#[test]
fn close_ends_the_stream() {
    let wire = [
        masked(true, Opcode::Binary, b"last"),
        masked(true, Opcode::Close, &[0x03, 0xE9, b'b', b'y', b'e']),
        masked(true, Opcode::Binary, b"late"),
    ]
    .concat();
    let seen = decode(Role::Server, &wire);
    assert_eq!(seen.data, b"last");
    assert_eq!(seen.controls, [format!("{:?}", Control::Close(Some(CloseCode::GOING_AWAY)))]);
    assert_eq!(seen.outcome, Outcome::Closed);
    assert_eq!(decode(Role::Server, &masked(true, Opcode::Close, b"")).outcome, Outcome::Closed);
}

#[test]
fn the_decoder_stays_small() {
    assert!(size_of::<Decoder>() <= 112, "{}", size_of::<Decoder>());
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        8 => Just(Opcode::Binary),
        4 => Just(Opcode::Continuation),
        2 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
        1 => Just(Opcode::Close),
        1 => Just(Opcode::Text),
    ];
    (opcode, any::<bool>(), any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..140)).prop_map(
        |(opcode, fin, key, payload)| frame(fin || opcode.is_control(), opcode, Some(key), &payload),
    )
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_says_the_same(
        frames in proptest::collection::vec(any_frame(), 0..12),
        cuts in proptest::collection::vec(1..40usize, 1..8),
    ) {
        let wire = frames.concat();
        prop_assert_eq!(
            decode_cut(Role::Server, Limits::default(), &wire, &cuts),
            decode_cut(Role::Server, Limits::default(), &wire, &[usize::MAX])
        );
    }

    #[test]
    fn fragmented_payload_arrives_whole(pieces in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..300), 1..6), cuts in proptest::collection::vec(1..50usize, 1..5))
    {
        let last = pieces.len() - 1;
        let wire: Vec<u8> = pieces.iter().enumerate().flat_map(|(at, piece)| {
            let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
            [masked(at == last, opcode, piece), masked(true, Opcode::Ping, b"x")].concat()
        }).collect();
        let seen = decode_cut(Role::Server, Limits::default(), &wire, &cuts);
        prop_assert_eq!(seen.data, pieces.concat());
        prop_assert_eq!(seen.outcome, Outcome::Open);
    }

    #[test]
    fn arbitrary_bytes_never_panic_nor_collect(
        wire in proptest::collection::vec(any::<u8>(), 0..400),
        cuts in proptest::collection::vec(1..40usize, 1..4),
    ) {
        for role in [Role::Server, Role::Client] {
            let seen = decode_cut(role, Limits::default(), &wire, &cuts);
            prop_assert!(seen.data.len() <= wire.len());
        }
    }
}
