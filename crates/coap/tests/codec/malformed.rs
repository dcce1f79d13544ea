//! Datagrams that break a rule, with the rule and the reaction; the 23 packets of the matrix among them.

use tercet_coap::FormatError as E;
use tercet_coap::option::Judgement;
use tercet_coap::{Code, Kind, Limits, Number, Reaction, datagram};

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const RESET: Reaction = Reaction::Reset(0x1234);
const SILENCE: Reaction = Reaction::Silence;

fn check(limits: &Limits, cases: &[(&str, E, Reaction)]) {
    for &(hex, what, reaction) in cases {
        let malformed = datagram::decode(&bytes(hex), limits).expect_err(hex);
        assert_eq!((malformed.what, malformed.reaction()), (what, reaction), "{hex}");
    }
}

/// The rest of a datagram behind its first byte and code, under every kind: only a Confirmable one is answered.
fn check_kinds(cases: &[(u8, &str, E)]) {
    for &(token_length, rest, what) in cases {
        for code in ["01", "45"] {
            for kind in [Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset] {
                let first = 0x40 | kind.bits() << 4 | token_length;
                let hex = format!("{first:02X} {code} 1234 {rest}");
                let reaction = if kind == Kind::Confirmable { RESET } else { SILENCE };
                check(&Limits::default(), &[(&hex, what, reaction)]);
            }
        }
    }
}

#[test]
fn headers() {
    check(
        &Limits::default(),
        &[
            ("", E::Truncated, SILENCE),
            ("40", E::Truncated, SILENCE),
            ("40 01", E::Truncated, SILENCE),
            ("40 01 12", E::Truncated, SILENCE),
            // RFC 7252 §3: an unknown version is ignored, whatever else there is.
            ("00 01 1234", E::Version, SILENCE),
            ("80 01 1234", E::Version, SILENCE),
            ("C0 01 1234", E::Version, SILENCE),
            ("8F FF 1234 FF", E::Version, SILENCE),
            // §4.2: reserved classes, and signals over UDP.
            ("40 20 1234", E::ReservedCode, RESET),
            ("50 20 1234", E::ReservedCode, SILENCE),
            ("60 20 1234", E::ReservedCode, SILENCE),
            ("70 20 1234", E::ReservedCode, SILENCE),
            ("40 3F 1234", E::ReservedCode, RESET),
            ("40 C0 1234", E::ReservedCode, RESET),
            ("50 C0 1234", E::ReservedCode, SILENCE),
            ("40 E1 1234", E::ReservedCode, RESET),
            ("50 E2 1234", E::ReservedCode, SILENCE),
            ("60 E3 1234", E::ReservedCode, SILENCE),
            ("40 FF 1234", E::ReservedCode, RESET),
            // §4.2, §4.3: kinds and codes that do not go together.
            ("50 00 1234", E::KindAndCode, SILENCE),
            ("60 01 1234", E::KindAndCode, SILENCE),
            ("60 1F 1234", E::KindAndCode, SILENCE),
            ("70 01 1234", E::KindAndCode, SILENCE),
            ("70 45 1234", E::KindAndCode, SILENCE),
        ],
    );
}

#[test]
fn empty_messages() {
    // RFC 7252 §4.1: nothing follows the Message ID.
    check(
        &Limits::default(),
        &[
            ("41 00 1234 09", E::NotEmpty, RESET),
            ("41 00 1234", E::NotEmpty, RESET),
            ("4F 00 1234", E::NotEmpty, RESET),
            ("40 00 1234 FF", E::NotEmpty, RESET),
            ("40 00 1234 B161", E::NotEmpty, RESET),
            ("40 00 1234 00", E::NotEmpty, RESET),
            ("60 00 1234 00", E::NotEmpty, SILENCE),
            ("61 00 1234 AA", E::NotEmpty, SILENCE),
            ("70 00 1234 FF41", E::NotEmpty, SILENCE),
            ("51 00 1234 AA", E::NotEmpty, SILENCE),
        ],
    );
}

#[test]
fn tokens() {
    check_kinds(&[
        (9, "010203040506070809", E::TokenLength),
        (12, "00000000000000000000000000", E::TokenLength),
        (13, "", E::TokenLength),
        (14, "0000", E::TokenLength),
        (15, "", E::TokenLength),
        (1, "", E::Truncated),
        (8, "01020304050607", E::Truncated),
    ]);
    // 9 to 12 are for streams, 15 stays reserved by RFC 8974, and lengths are checked against what is there
    // (GHSA-p9hp-2jxm-6rqp).
    let extended = Limits { token: 64, ..Limits::default() };
    check(
        &extended,
        &[
            ("4F 01 1234", E::TokenLength, RESET),
            ("49 01 1234 010203040506070809", E::TokenLength, RESET),
            ("5C 01 1234 000000000000000000000000", E::TokenLength, SILENCE),
            ("4D 01 1234", E::Truncated, RESET),
            ("4E 01 1234", E::Truncated, RESET),
            ("4E 01 1234 00", E::Truncated, RESET),
            ("4D 01 1234 00 01020304050607080910 1112", E::Truncated, RESET),
            ("4E 01 1234 FFFF", E::Truncated, RESET),
            ("5E 01 1234 FFFF", E::Truncated, SILENCE),
        ],
    );
}

#[test]
fn options_and_payload() {
    check_kinds(&[
        (0, "FF", E::EmptyPayload),
        (0, "B161 FF", E::EmptyPayload),
        (2, "AABB FF", E::EmptyPayload),
        (0, "F0", E::OptionDelta),
        (0, "F1 00", E::OptionDelta),
        (0, "FE", E::OptionDelta),
        (0, "0F", E::OptionLength),
        (0, "EF 0000", E::OptionLength),
        (0, "B1", E::OptionTruncated),
        (0, "B4 616263", E::OptionTruncated),
        (0, "D0", E::OptionTruncated),
        (0, "E0", E::OptionTruncated),
        (0, "E0 00", E::OptionTruncated),
        (0, "0D", E::OptionTruncated),
        (0, "0E 00", E::OptionTruncated),
        (0, "DD 00", E::OptionTruncated),
        (0, "EE 0000 00", E::OptionTruncated),
        // microcoap #48: a length that would wrap around in 16 bits.
        (0, "BE FEF3 61", E::OptionTruncated),
        (0, "BE FFFF", E::OptionTruncated),
        // CVE-2020-12887: a number that would wrap around.
        (0, "E0 FFFF", E::OptionNumber),
        (0, "E0 FEF2 10", E::OptionNumber),
        (0, "E0 8000 E0 8000", E::OptionNumber),
        // Crashers of others.
        (0, "5B5B", E::OptionTruncated),
    ]);
    let narrow = Limits { options: 3, ..Limits::default() };
    check(
        &narrow,
        &[
            ("40 01 1234 B1 61 01 62", E::OptionsTooLong, RESET),
            ("50 01 1234 B1 61 01 62 FF 00", E::OptionsTooLong, SILENCE),
        ],
    );
    assert!(datagram::decode(&bytes("40 01 1234 B1 61 00 FF 00"), &narrow).is_ok());
}

#[test]
fn what_crashed_others() {
    // libcoap #199, #214, #970: what matters is that there is a verdict.
    for hex in
        ["5a0a5b5b", "405b5b5b5b5b5b5b", "54014d32c98669bf410d756173796e6343623d3011e4711943558ec1d014"]
    {
        match datagram::decode(&bytes(hex), &Limits::default()) {
            Ok(decoded) => assert!(decoded.message.code.is_request() || decoded.message.code.is_response()),
            Err(malformed) => assert!(!malformed.to_string().is_empty()),
        }
    }
}

#[test]
fn what_is_odd_but_well_formed() {
    let judgement = |hex: &str| {
        let data = bytes(hex);
        let decoded = datagram::decode(&data, &Limits::default()).expect(hex);
        decoded.message.options.judge()
    };
    let fine = [
        // Pings and empty answers.
        "40 00 1234",
        "60 00 1234",
        "70 00 1234",
        // Unknown methods and responses of class 3 are for others to answer.
        "40 1F 1234",
        "40 60 1234",
        // An unknown elective option; Observe of four bytes counts as one.
        "40 01 1234 E0 2603",
        "40 01 1234 64 00000001",
        // Uri-Path "..", empty segments, the marker within a payload.
        "40 01 1234 B2 2E2E",
        "40 01 1234 B0 00 00",
        "40 02 1234 FF FF",
        // Leading zeros.
        "40 02 1234 C2 0032",
        // Option number 0 and 65535-1.
        "40 01 1234 00",
        "40 01 1234 E0 FEF1",
    ];
    for hex in fine {
        assert_eq!(judgement(hex), Judgement::Acceptable, "{hex}");
    }
    let bad = [
        ("40 01 000B E0 2602", 9999),
        ("50 01 000B E0 2602", 9999),
        ("40 01 1234 71 50 01 50", 7),
        ("40 01 1234 30", 3),
        ("40 01 1234 B1 FF", 11),
        ("40 01 1234 51 00", 5),
        ("40 01 1234 D3 04 000000", 17),
        ("40 01 1234 10 D8 09 0000000000000000", 0x17),
        ("40 01 1234 E0 FEF2", 65_535),
    ];
    for (hex, number) in bad {
        assert_eq!(judgement(hex), Judgement::BadOption(Number(number)), "{hex}");
    }
}

#[test]
fn the_text_of_the_specification() {
    // RFC 7252 Appendix A, figure 16 and the response.
    let request = bytes("40 01 7D34 BB 74656D7065726174757265");
    let decoded = datagram::decode(&request, &Limits::default()).unwrap();
    assert_eq!((decoded.kind, decoded.id, decoded.message.code), (Kind::Confirmable, 0x7D34, Code::GET));
    assert_eq!(decoded.message.path().collect::<Vec<_>>(), [b"temperature"]);
    let response = bytes("60 45 7D34 FF 32322E332043");
    let decoded = datagram::decode(&response, &Limits::default()).unwrap();
    assert_eq!((decoded.kind, decoded.message.payload), (Kind::Acknowledgement, &b"22.3 C"[..]));
}

#[test]
fn extended_tokens() {
    // RFC 8974 §2.1: 13 and one byte, 14 and two; a longer one than is taken is not malformed.
    let limits = Limits { token: 20, ..Limits::default() };
    for (head, len) in [("4D 01 1234 00", 13), ("4D 01 1234 FF", 268), ("4E 01 1234 0000", 269)] {
        let data = [bytes(head), vec![7; len]].concat();
        let decoded = datagram::decode(&data, &limits).unwrap();
        assert_eq!(decoded.message.token, vec![7; len]);
        assert_eq!(limits.too_long(decoded.message.token), len > 20);
    }
}
