//! Packets that break a rule, with the rule and the reason code that is to be answered.

use tercet_mqtt::ErrorKind as E;
use tercet_mqtt::property::PropertyId as P;
use tercet_mqtt::{ErrorKind, Limits, PacketType as T, Version, decode};

/// The versions a case is tried in.
const ALL: &[Version] = &[Version::V31, Version::V311, Version::V5];
const V3: &[Version] = &[Version::V31, Version::V311];
const SINCE_311: &[Version] = &[Version::V311, Version::V5];
const V311: &[Version] = &[Version::V311];
const V5: &[Version] = &[Version::V5];

type Case = (&'static [Version], &'static str, ErrorKind, u8);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn check(cases: &[Case]) {
    check_within(cases, &Limits::default());
}

fn check_within(cases: &[Case], limits: &Limits) {
    for (versions, hex, kind, reason) in cases {
        let data = bytes(hex);
        for &version in *versions {
            let error = decode(&data, version, limits).expect_err(&format!("{hex} in {version}"));
            assert_eq!(error.kind, *kind, "{hex} in {version}");
            assert_eq!(error.reason as u8, *reason, "{hex} in {version}");
            assert!(error.offset as usize <= data.len(), "{hex} at {}", error.offset);
            assert!(error.section.contains(['§', 'M']), "{}", error.section);
        }
    }
}

/// The same shapes, made valid, so that a table above cannot pass for another reason.
fn accepted(cases: &[(&[Version], &str)]) {
    for (versions, hex) in cases {
        let data = bytes(hex);
        for &version in *versions {
            let packet = decode(&data, version, &Limits::default());
            assert!(
                matches!(packet, Ok(Some((_, len))) if len == data.len()),
                "{hex} in {version}: {packet:?}"
            );
        }
    }
}

fn flags(packet: T, flags: u8) -> ErrorKind {
    E::FixedHeaderFlags { packet, flags }
}

fn code(packet: T, code: u8) -> ErrorKind {
    E::ReasonCodeNotAllowed { packet, code }
}

#[test]
fn fixed_headers() {
    check(&[
        (ALL, "30 FFFFFFFF 01", E::RemainingLength, 0x81),
        (ALL, "10 FFFFFFFF", E::RemainingLength, 0x81),
        (ALL, "C0 80808080 00", E::RemainingLength, 0x81),
        (V5, "C0 8000", E::OverlongInteger, 0x81),
        (V5, "C0 80808000", E::OverlongInteger, 0x81),
        (V5, "40 8200 0001", E::OverlongInteger, 0x81),
        (ALL, "00 00", E::ReservedPacketType(0), 0x81),
        (ALL, "0F 00", E::ReservedPacketType(0), 0x81),
        (V3, "F0 00", E::ReservedPacketType(15), 0x81),
        (ALL, "30 FFFFFF7F", E::PacketTooLarge { size: 268_435_460, limit: 1 << 20 }, 0x95),
        (ALL, "10 FFFFFF7F", E::PacketTooLarge { size: 268_435_460, limit: 1 << 20 }, 0x95),
        (ALL, "C0 FDFF3F", E::PacketTooLarge { size: (1 << 20) + 1, limit: 1 << 20 }, 0x95),
        (SINCE_311, "21 02 0000", flags(T::ConnAck, 1), 0x81),
        (SINCE_311, "42 02 0001", flags(T::PubAck, 2), 0x81),
        (SINCE_311, "58 02 0001", flags(T::PubRec, 8), 0x81),
        (ALL, "60 02 0001", flags(T::PubRel, 0), 0x81),
        (SINCE_311, "6A 02 0001", flags(T::PubRel, 10), 0x81),
        (ALL, "63 02 0001", flags(T::PubRel, 3), 0x81),
        (SINCE_311, "71 02 0001", flags(T::PubComp, 1), 0x81),
        (ALL, "80 06 0001 000161 00", flags(T::Subscribe, 0), 0x81),
        (ALL, "84 06 0001 000161 00", flags(T::Subscribe, 4), 0x81),
        (SINCE_311, "91 03 0001 00", flags(T::SubAck, 1), 0x81),
        (ALL, "A0 05 0001 000161", flags(T::Unsubscribe, 0), 0x81),
        (SINCE_311, "B4 02 0001", flags(T::UnsubAck, 4), 0x81),
        (SINCE_311, "C1 00", flags(T::PingReq, 1), 0x81),
        (SINCE_311, "DF 00", flags(T::PingResp, 15), 0x81),
        (SINCE_311, "E2 00", flags(T::Disconnect, 2), 0x81),
        (V5, "F1 00", flags(T::Auth, 1), 0x81),
        (ALL, "C0 01 00", E::TrailingBytes, 0x81),
        (ALL, "D0 02 0000", E::TrailingBytes, 0x81),
        (V3, "E0 01 00", E::TrailingBytes, 0x81),
    ]);
    accepted(&[
        (V3, "C0 8000"),
        (V3, "40 8200 0001"),
        (&[Version::V31], "6A 02 0001"),
        (&[Version::V31], "8A 06 0001 000161 00"),
        (&[Version::V31], "C8 00"),
    ]);
}

#[test]
fn the_size_is_judged_from_the_fixed_header_alone() {
    let limits = Limits { max_packet_size: 10, ..Limits::default() };
    for hex in ["30 09", "10 09", "00 7F"] {
        let error = decode(&bytes(hex), Version::V5, &limits).unwrap_err();
        assert!(matches!(error.kind, E::PacketTooLarge { limit: 10, .. }), "{error}");
    }
    assert_eq!(decode(&bytes("30 08"), Version::V5, &limits), Ok(None));
}

#[test]
fn connect() {
    check(&[
        (ALL, "10 0C 0004 4D515458 04 02 003C 0000", E::UnsupportedProtocolName, 0x84),
        (ALL, "10 0C 0004 6D717474 04 02 003C 0000", E::UnsupportedProtocolName, 0x84),
        (ALL, "10 08 0000 04 02 003C 0000", E::UnsupportedProtocolName, 0x84),
        (ALL, "10 0C 0004 4D515454 06 02 003C 0000", E::UnsupportedProtocolLevel(6), 0x84),
        (ALL, "10 0C 0004 4D515454 03 02 003C 0000", E::UnsupportedProtocolLevel(3), 0x84),
        (ALL, "10 0C 0004 4D515454 84 02 003C 0000", E::UnsupportedProtocolLevel(0x84), 0x84),
        (ALL, "10 0E 0006 4D5149736470 04 02 003C 0000", E::UnsupportedProtocolLevel(4), 0x84),
        (ALL, "11 0C 0004 4D515454 04 02 003C 0000", flags(T::Connect, 1), 0x81),
        (ALL, "12 0D 0004 4D515454 05 02 003C 00 0000", flags(T::Connect, 2), 0x81),
        (ALL, "10 0C 0004 4D515454 04 03 003C 0000", E::ReservedConnectFlag, 0x81),
        (ALL, "10 0D 0004 4D515454 05 03 003C 00 0000", E::ReservedConnectFlag, 0x81),
        (ALL, "10 0C 0004 4D515454 04 0A 003C 0000", E::WillFlags, 0x81),
        (ALL, "10 0C 0004 4D515454 04 22 003C 0000", E::WillFlags, 0x81),
        (ALL, "10 0D 0004 4D515454 05 12 003C 00 0000", E::WillFlags, 0x81),
        (ALL, "10 11 0004 4D515454 04 1E 003C 0000 000161 0000", E::WillQos, 0x81),
        (ALL, "10 11 0006 4D5149736470 03 1E 003C 000161 0000", E::WillQos, 0x81),
        (ALL, "10 0F 0004 4D515454 04 42 003C 0000 000170", E::PasswordWithoutUserName, 0x81),
        (ALL, "10 12 0006 4D5149736470 03 42 003C 000161 000170", E::PasswordWithoutUserName, 0x81),
        (ALL, "10 0C 0004 4D515454 04 00 003C 0000", E::EmptyClientId, 0x85),
        (ALL, "10 0E 0006 4D5149736470 03 02 003C 0000", E::EmptyClientId, 0x85),
        (ALL, "10 0A 0004 4D515454 04 02 003C", E::Truncated, 0x81),
        (ALL, "10 0C 0004 4D515454 04 02 003C 0001", E::Truncated, 0x81),
        (ALL, "10 0C 0004 4D515454 04 82 003C 0000", E::Truncated, 0x81),
        (ALL, "10 0F 0004 4D515454 04 C2 003C 0000 000175", E::Truncated, 0x81),
        (ALL, "10 0F 0004 4D515454 04 06 003C 0000 000161", E::Truncated, 0x81),
        (ALL, "10 0D 0004 4D515454 04 02 003C 0000 00", E::TrailingBytes, 0x81),
        (ALL, "10 00", E::Truncated, 0x81),
        (ALL, "10 0E 0004 4D515454 04 02 003C 0002 6100", E::NulCharacter, 0x81),
        (ALL, "10 0F 0004 4D515454 04 02 003C 0003 EDA080", E::InvalidUtf8, 0x81),
        (ALL, "10 0F 0004 4D515454 04 82 003C 0000 0001FF", E::InvalidUtf8, 0x81),
        (ALL, "10 10 0004 4D515454 04 06 003C 0000 0000 0000", E::EmptyTopicName, 0x81),
        (ALL, "10 11 0004 4D515454 04 06 003C 0000 000123 0000", E::WildcardInTopicName, 0x81),
        (ALL, "10 13 0004 4D515454 05 06 003C 00 0000 00 00012B 0000", E::WildcardInTopicName, 0x81),
        (ALL, "10 8D00 0004 4D515454 05 02 003C 00 0000", E::OverlongInteger, 0x81),
    ]);
    accepted(&[
        (ALL, "10 0C 0004 4D515454 04 02 003C 0000"),
        (ALL, "10 8C00 0004 4D515454 04 02 003C 0000"),
        (ALL, "10 0D 0004 4D515454 05 00 003C 00 0000"),
        (ALL, "10 10 0004 4D515454 05 42 003C 00 0000 000170"),
        // What 3.1 leaves unused or says about missing fields.
        (ALL, "1F 0F 0006 4D5149736470 03 03 003C 000161"),
        (ALL, "10 0F 0006 4D5149736470 03 2A 003C 000161"),
        (ALL, "10 0F 0006 4D5149736470 03 C2 003C 000161"),
        (ALL, "10 12 0006 4D5149736470 03 C2 003C 000161 000175"),
        (ALL, "10 27 0006 4D5149736470 03 02 003C 0019 61616161616161616161616161616161616161616161616161"),
    ]);
}

#[test]
fn connect_errors_tell_the_version_to_answer_in() {
    let cases = [
        ("10 0C 0004 4D515454 04 03 003C 0000", Some(Version::V311)),
        ("10 0D 0004 4D515454 05 03 003C 00 0000", Some(Version::V5)),
        ("10 0E 0006 4D5149736470 03 02 003C 0000", Some(Version::V31)),
        ("10 0C 0004 4D515454 06 02 003C 0000", Some(Version::V5)),
        ("10 0C 0004 4D515454 01 02 003C 0000", Some(Version::V311)),
        ("10 0C 0004 4D515454 84 02 003C 0000", Some(Version::V311)),
        ("10 0C 0004 4D515458 04 02 003C 0000", None),
        ("C0 01 00", None),
    ];
    for (hex, version) in cases {
        assert_eq!(
            decode(&bytes(hex), Version::V5, &Limits::default()).unwrap_err().connect,
            version,
            "{hex}"
        );
    }
}

#[test]
fn connect_properties() {
    // CONNECT with a property section of N bytes and an empty client identifier.
    let connect = |properties: &str| {
        let section = bytes(properties);
        let mut packet = bytes("10 00 0004 4D515454 05 02 003C");
        packet.push(section.len() as u8);
        packet.extend(&section);
        packet.extend([0, 0]);
        packet[1] = packet.len() as u8 - 2;
        packet
    };
    let cases = [
        ("00 00", E::UnknownProperty(0), 0x81),
        ("7F 00", E::UnknownProperty(0x7F), 0x81),
        ("FF01 00", E::UnknownProperty(0xFF), 0x81),
        ("9100 00000001", E::OverlongInteger, 0x81),
        ("FFFFFFFF 7F", E::InvalidInteger, 0x81),
        ("01 01", E::PropertyNotAllowed(P::PayloadFormatIndicator), 0x81),
        ("23 0001", E::PropertyNotAllowed(P::TopicAlias), 0x81),
        ("24 01", E::PropertyNotAllowed(P::MaximumQos), 0x81),
        ("18 00000001", E::PropertyNotAllowed(P::WillDelayInterval), 0x81),
        ("11 00000001 11 00000001", E::DuplicateProperty(P::SessionExpiryInterval), 0x82),
        ("21 0001 21 0001", E::DuplicateProperty(P::ReceiveMaximum), 0x82),
        ("27 00000001 27 00000001", E::DuplicateProperty(P::MaximumPacketSize), 0x82),
        ("22 0001 22 0001", E::DuplicateProperty(P::TopicAliasMaximum), 0x82),
        ("19 00 19 00", E::DuplicateProperty(P::RequestResponseInformation), 0x82),
        ("17 00 17 01", E::DuplicateProperty(P::RequestProblemInformation), 0x82),
        ("15 000161 15 000161", E::DuplicateProperty(P::AuthenticationMethod), 0x82),
        ("15 000161 16 0000 16 0000", E::DuplicateProperty(P::AuthenticationData), 0x82),
        ("21 0000", E::PropertyValue(P::ReceiveMaximum), 0x82),
        ("27 00000000", E::PropertyValue(P::MaximumPacketSize), 0x82),
        ("19 02", E::PropertyValue(P::RequestResponseInformation), 0x82),
        ("17 FF", E::PropertyValue(P::RequestProblemInformation), 0x82),
        ("16 0000", E::AuthDataWithoutMethod, 0x82),
        ("11 000000", E::Truncated, 0x81),
        ("21 00", E::Truncated, 0x81),
        ("19", E::Truncated, 0x81),
        ("15 0002 61", E::Truncated, 0x81),
        ("26 0001 61", E::Truncated, 0x81),
        ("26 0001 61 0002 62", E::Truncated, 0x81),
        ("26 0001 FF 0000", E::InvalidUtf8, 0x81),
        ("26 0000 0001 00", E::NulCharacter, 0x81),
        ("15 0001 80", E::InvalidUtf8, 0x81),
    ];
    for (properties, kind, reason) in cases {
        let error = decode(&connect(properties), Version::V5, &Limits::default()).expect_err(properties);
        assert_eq!((error.kind, error.reason as u8), (kind, reason), "{properties}");
    }
    for properties in [
        "",
        "11 FFFFFFFF 21 FFFF 27 00000001 22 FFFF 19 01 17 00 15 0000 16 0000",
        "26 0000 0000 26 0000 0000",
    ] {
        assert!(decode(&connect(properties), Version::V5, &Limits::default()).is_ok(), "{properties}");
    }
    // A property length beyond the packet.
    check(&[(ALL, "10 0D 0004 4D515454 05 02 003C 7F 0000", E::Truncated, 0x81)]);
}

#[test]
fn will_properties() {
    let will = |properties: &str| {
        let section = bytes(properties);
        let mut packet = bytes("10 00 0004 4D515454 05 06 003C 00 0000");
        packet.push(section.len() as u8);
        packet.extend(&section);
        packet.extend(bytes("000174 0001FF"));
        packet[1] = packet.len() as u8 - 2;
        packet
    };
    let cases = [
        ("18 00000001 18 00000001", E::DuplicateProperty(P::WillDelayInterval), 0x82),
        ("01 02", E::PropertyValue(P::PayloadFormatIndicator), 0x82),
        ("08 0001 2B", E::WildcardInTopicName, 0x81),
        ("08 0000", E::EmptyTopicName, 0x81),
        ("11 00000001", E::PropertyNotAllowed(P::SessionExpiryInterval), 0x81),
        ("23 0001", E::PropertyNotAllowed(P::TopicAlias), 0x81),
        ("0B 01", E::PropertyNotAllowed(P::SubscriptionIdentifier), 0x81),
        ("09 0000 09 0000", E::DuplicateProperty(P::CorrelationData), 0x82),
        ("03 0001 C0", E::InvalidUtf8, 0x81),
    ];
    for (properties, kind, reason) in cases {
        let error = decode(&will(properties), Version::V5, &Limits::default()).expect_err(properties);
        assert_eq!(
            (error.kind, error.reason as u8, error.connect),
            (kind, reason, Some(Version::V5)),
            "{properties}"
        );
    }
    assert!(decode(&will("18 0000000A 01 01"), Version::V5, &Limits::default()).is_ok());
    let limits = Limits { check_payload_format: true, ..Limits::default() };
    assert_eq!(decode(&will("01 01"), Version::V5, &limits).unwrap_err().kind, E::PayloadFormat);
    assert!(decode(&will("01 00"), Version::V5, &limits).is_ok());
}

#[test]
fn connack() {
    check(&[
        (SINCE_311, "20 02 0200", E::ConnAckFlags, 0x81),
        (V5, "20 03 8000 00", E::ConnAckFlags, 0x81),
        (V3, "20 02 0006", code(T::ConnAck, 6), 0x82),
        (V5, "20 03 0001 00", code(T::ConnAck, 1), 0x82),
        (V5, "20 03 0093 00", code(T::ConnAck, 0x93), 0x82),
        (V5, "20 03 00FF 00", code(T::ConnAck, 0xFF), 0x82),
        (V311, "20 02 0105", E::SessionPresentWithError, 0x82),
        (V5, "20 03 0187 00", E::SessionPresentWithError, 0x82),
        (ALL, "20 01 00", E::Truncated, 0x81),
        (V5, "20 02 0000", E::Truncated, 0x81),
        (V3, "20 03 0000 00", E::TrailingBytes, 0x81),
        (V5, "20 04 0000 00 00", E::TrailingBytes, 0x81),
        (V5, "20 05 0000 02 2402", E::PropertyValue(P::MaximumQos), 0x82),
        (V5, "20 05 0000 02 2502", E::PropertyValue(P::RetainAvailable), 0x82),
        (V5, "20 05 0000 02 28FF", E::PropertyValue(P::WildcardSubscriptionAvailable), 0x82),
        (V5, "20 06 0000 03 210000", E::PropertyValue(P::ReceiveMaximum), 0x82),
        (V5, "20 09 0000 06 13000A 13000A", E::DuplicateProperty(P::ServerKeepAlive), 0x82),
        (V5, "20 05 0000 02 1701", E::PropertyNotAllowed(P::RequestProblemInformation), 0x81),
    ]);
    accepted(&[(ALL, "20 03 0000 00")].map(|(_, hex)| (V5, hex)));
    accepted(&[
        (&[Version::V31], "20 02 FF00"),
        (V311, "20 02 0100"),
        (V3, "20 02 0005"),
        (V5, "20 03 0087 00"),
    ]);
}

#[test]
fn publish() {
    check(&[
        (ALL, "36 07 000161 0001 6868", E::PublishQos, 0x81),
        (ALL, "3F 07 000161 0001 6868", E::PublishQos, 0x81),
        (SINCE_311, "38 04 000161 00", E::DupWithoutQos, 0x81),
        (ALL, "32 05 000161 0000", E::PacketIdZero, 0x82),
        (V5, "34 06 000161 0000 00", E::PacketIdZero, 0x82),
        (ALL, "32 03 000161", E::Truncated, 0x81),
        (ALL, "32 04 000161 00", E::Truncated, 0x81),
        (ALL, "30 00", E::Truncated, 0x81),
        (ALL, "30 01 00", E::Truncated, 0x81),
        (ALL, "30 03 0002 61", E::Truncated, 0x81),
        (V5, "30 03 000161", E::Truncated, 0x81),
        (V3, "30 02 0000", E::EmptyTopicName, 0x81),
        (V5, "30 03 0000 00", E::NoTopic, 0x82),
        (ALL, "30 04 00012B 00", E::WildcardInTopicName, 0x81),
        (ALL, "30 06 0003 612F23 00", E::WildcardInTopicName, 0x81),
        (ALL, "30 05 0002 6100 00", E::NulCharacter, 0x81),
        (ALL, "30 06 0003 EDA080 00", E::InvalidUtf8, 0x81),
        (ALL, "30 05 0002 C328 00", E::InvalidUtf8, 0x81),
        (V5, "30 07 000161 03 230000", E::TopicAliasZero, 0x94),
        (V5, "30 0A 000161 06 230001 230001", E::DuplicateProperty(P::TopicAlias), 0x82),
        (V5, "30 06 000161 02 0102", E::PropertyValue(P::PayloadFormatIndicator), 0x82),
        (V5, "30 08 000161 04 0100 0100", E::DuplicateProperty(P::PayloadFormatIndicator), 0x82),
        (V5, "30 0E 000161 0A 0200000001 0200000001", E::DuplicateProperty(P::MessageExpiryInterval), 0x82),
        (V5, "30 06 000161 02 0B00", E::PropertyValue(P::SubscriptionIdentifier), 0x82),
        (V5, "30 09 000161 05 0BFFFFFFFF", E::InvalidInteger, 0x81),
        (V5, "30 07 000161 03 0B8100", E::OverlongInteger, 0x81),
        (V5, "30 08 000161 04 08000123", E::WildcardInTopicName, 0x81),
        (V5, "30 07 000161 03 080000", E::EmptyTopicName, 0x81),
        (V5, "30 07 000161 03 1F0000", E::PropertyNotAllowed(P::ReasonString), 0x81),
        (V5, "30 09 000161 05 1100000001", E::PropertyNotAllowed(P::SessionExpiryInterval), 0x81),
        (V5, "30 04 000161 7F", E::Truncated, 0x81),
        (V5, "30 05 000161 8000", E::OverlongInteger, 0x81),
        (V5, "30 07 000161 FFFFFFFF", E::InvalidInteger, 0x81),
        (V5, "30 06 000161 02 2600", E::Truncated, 0x81),
    ]);
    accepted(&[
        (ALL, "30 04 000161 00"),
        (&[Version::V31], "38 04 000161 00"),
        (ALL, "3D 06 000161 FFFF 00"),
        (V5, "30 06 0000 03 230001"),
        (V5, "30 0A 000161 05 0B01 0BFF01 00"),
    ]);
}

#[test]
fn acknowledgements() {
    for (first, packet) in [(0x40, T::PubAck), (0x50, T::PubRec), (0x62, T::PubRel), (0x70, T::PubComp)] {
        let with = |hex: &str| [vec![first, bytes(hex).len() as u8], bytes(hex)].concat();
        let cases: [(&[Version], &str, ErrorKind, u8); 12] = [
            (ALL, "", E::Truncated, 0x81),
            (ALL, "00", E::Truncated, 0x81),
            (ALL, "0000", E::PacketIdZero, 0x82),
            (V3, "0001 00", E::TrailingBytes, 0x81),
            (V5, "0001 01", code(packet, 1), 0x82),
            (V5, "0001 8D", code(packet, 0x8D), 0x82),
            (V5, "0001 00 01", E::Truncated, 0x81),
            (V5, "0001 00 00 00", E::TrailingBytes, 0x81),
            (V5, "0001 00 03 1F0000 1F", E::TrailingBytes, 0x81),
            (V5, "0001 00 06 1F0000 1F0000", E::DuplicateProperty(P::ReasonString), 0x82),
            (V5, "0001 00 03 230001", E::PropertyNotAllowed(P::TopicAlias), 0x81),
            (V5, "0001 00 02 4500", E::UnknownProperty(0x45), 0x81),
        ];
        for (versions, hex, kind, reason) in cases {
            for &version in versions {
                let error = decode(&with(hex), version, &Limits::default()).expect_err(hex);
                assert_eq!((error.kind, error.reason as u8), (kind, reason), "{packet} {hex} {version}");
            }
        }
        for hex in ["0001", "0001 00", "0001 00 00", "0001 00 05 2600000000"] {
            assert!(decode(&with(hex), Version::V5, &Limits::default()).is_ok(), "{packet} {hex}");
        }
    }
    check(&[
        (V5, "62 03 0001 10", code(T::PubRel, 0x10), 0x82),
        (V5, "40 03 0001 92", code(T::PubAck, 0x92), 0x82),
    ]);
}

#[test]
fn subscribe() {
    check(&[
        (V3, "82 02 0001", E::NoFilters(T::Subscribe), 0x82),
        (V5, "82 03 0001 00", E::NoFilters(T::Subscribe), 0x82),
        (ALL, "82 01 00", E::Truncated, 0x81),
        (V3, "82 06 0000 000161 00", E::PacketIdZero, 0x82),
        (V5, "82 07 0000 00 000161 00", E::PacketIdZero, 0x82),
        (V3, "82 05 0001 000161", E::Truncated, 0x81),
        (V5, "82 06 0001 00 000161", E::Truncated, 0x81),
        (V5, "82 05 0001 00 0000", E::EmptyTopicFilter, 0x81),
        (V3, "82 05 0001 0000 00", E::EmptyTopicFilter, 0x81),
        (V3, "82 06 0001 000161 03", E::SubscriptionQos, 0x82),
        (V5, "82 07 0001 00 000161 03", E::SubscriptionQos, 0x82),
        (V3, "82 06 0001 000161 04", E::SubscriptionOptions, 0x81),
        (V3, "82 06 0001 000161 81", E::SubscriptionOptions, 0x81),
        (V5, "82 07 0001 00 000161 40", E::SubscriptionOptions, 0x81),
        (V5, "82 07 0001 00 000161 80", E::SubscriptionOptions, 0x81),
        (V5, "82 07 0001 00 000161 30", E::RetainHandling, 0x82),
        (V5, "82 10 0001 00 000A 2473686172652F672F61 04", E::NoLocalOnShared, 0x82),
        (V5, "82 0E 0001 00 0008 24717565 75652F61 04", E::NoLocalOnShared, 0x82),
        (V3, "82 0D 0001 0008 2473686172652F67 00", E::InvalidShare, 0x81),
        (V3, "82 0E 0001 0009 2473686172652F672F 00", E::InvalidShare, 0x81),
        (V3, "82 0E 0001 0009 2473686172652F2F61 00", E::InvalidShare, 0x81),
        (V3, "82 0F 0001 000A 2473686172652F2B2F61 00", E::InvalidShare, 0x81),
        (V3, "82 07 0001 0002 6123 00", E::MisplacedWildcard, 0x81),
        (V3, "82 08 0001 0003 232F61 00", E::MisplacedWildcard, 0x81),
        (V5, "82 08 0001 00 0002 2B61 00", E::MisplacedWildcard, 0x81),
        (V3, "82 0A 0001 000161 00 0001FF 00", E::InvalidUtf8, 0x81),
        (V3, "82 06 0001 000100 00", E::NulCharacter, 0x81),
        (V3, "82 08 0001 000161 00 0001", E::Truncated, 0x81),
        (V5, "82 09 0001 02 0B00 000161 00", E::PropertyValue(P::SubscriptionIdentifier), 0x82),
        (V5, "82 0B 0001 04 0B01 0B02 000161 00", E::DuplicateProperty(P::SubscriptionIdentifier), 0x82),
        (V5, "82 0A 0001 03 1F0000 000161 00", E::PropertyNotAllowed(P::ReasonString), 0x81),
        (V5, "82 07 0001 7F 000161 00", E::Truncated, 0x81),
    ]);
    accepted(&[
        (V3, "82 06 0001 000161 02"),
        (V5, "82 07 0001 00 000161 2E"),
        (V5, "82 09 0001 02 0B7F 000161 01"),
    ]);
}

#[test]
fn suback_unsubscribe_unsuback() {
    check(&[
        (V3, "90 02 0001", E::NoReasonCodes(T::SubAck), 0x82),
        (V5, "90 03 0001 00", E::NoReasonCodes(T::SubAck), 0x82),
        (V3, "90 03 0001 03", code(T::SubAck, 3), 0x82),
        (V3, "90 04 0001 00 87", code(T::SubAck, 0x87), 0x82),
        (V5, "90 04 0001 00 03", code(T::SubAck, 3), 0x82),
        (V5, "90 05 0001 00 00 11", code(T::SubAck, 0x11), 0x82),
        (V3, "90 03 0000 00", E::PacketIdZero, 0x82),
        (V3, "A2 02 0001", E::NoFilters(T::Unsubscribe), 0x82),
        (V5, "A2 03 0001 00", E::NoFilters(T::Unsubscribe), 0x82),
        (V3, "A2 05 0000 000161", E::PacketIdZero, 0x82),
        (V3, "A2 04 0001 0000", E::EmptyTopicFilter, 0x81),
        (V3, "A2 06 0001 0002 6123", E::MisplacedWildcard, 0x81),
        (V3, "A2 04 0001 0001", E::Truncated, 0x81),
        (V5, "A2 08 0001 02 0B01 000161", E::PropertyNotAllowed(P::SubscriptionIdentifier), 0x81),
        (V3, "B0 02 0000", E::PacketIdZero, 0x82),
        (V3, "B0 03 0001 00", E::TrailingBytes, 0x81),
        (V5, "B0 02 0001", E::Truncated, 0x81),
        (V5, "B0 03 0001 00", E::NoReasonCodes(T::UnsubAck), 0x82),
        (V5, "B0 04 0001 00 01", code(T::UnsubAck, 1), 0x82),
    ]);
    accepted(&[
        (V3, "90 04 0001 02 80"),
        (V5, "90 04 0001 00 97"),
        (V5, "B0 04 0001 00 11"),
        (V3, "B0 02 0001"),
    ]);
}

#[test]
fn disconnect_and_auth() {
    check(&[
        (V5, "E0 01 01", code(T::Disconnect, 1), 0x82),
        (V5, "E0 01 84", code(T::Disconnect, 0x84), 0x82),
        (V5, "E0 02 00 01", E::Truncated, 0x81),
        (V5, "E0 03 00 00 00", E::TrailingBytes, 0x81),
        (V5, "E0 0C 00 0A 1100000001 1100000001", E::DuplicateProperty(P::SessionExpiryInterval), 0x82),
        (V5, "E0 05 00 03 210001", E::PropertyNotAllowed(P::ReceiveMaximum), 0x81),
        (V5, "F0 01 00", E::Truncated, 0x81),
        (V5, "F0 02 18 00", E::NoAuthMethod, 0x82),
        (V5, "F0 05 18 03 160000", E::NoAuthMethod, 0x82),
        (V5, "F0 06 01 04 15000161", code(T::Auth, 1), 0x82),
        (V5, "F0 06 87 04 15000161", code(T::Auth, 0x87), 0x82),
        (V5, "F0 0A 18 08 15000161 15000161", E::DuplicateProperty(P::AuthenticationMethod), 0x82),
    ]);
    accepted(&[
        (V5, "E0 01 04"),
        (V5, "E0 02 00 00"),
        (ALL, "E0 00"),
        (V5, "F0 00"),
        (V5, "F0 06 18 04 15000161"),
        (V5, "E0 01 8C"),
    ]);
}

#[test]
fn limits() {
    let limits = Limits {
        strict_utf8: true,
        max_topic_levels: 3,
        max_topic_length: 8,
        max_user_properties: 1,
        max_client_id: 2,
        check_payload_format: true,
        ..Limits::default()
    };
    check_within(
        &[
            (ALL, "30 06 0003 2F2F2F 00", E::TopicNameTooDeep, 0x90),
            (ALL, "30 0C 0009 616161616161616161 00", E::TopicNameTooLong, 0x90),
            (V3, "82 08 0001 0003 2F2F2F 00", E::TopicFilterTooDeep, 0x8F),
            (V3, "82 0E 0001 0009 616161616161616161 00", E::TopicFilterTooLong, 0x8F),
            (V3, "82 12 0001 000D 2473686172652F672F612F2F2F 00", E::TopicFilterTooDeep, 0x8F),
            (V3, "82 06 0001 000101 00", E::DiscouragedCharacter('\u{1}'), 0x81),
            (ALL, "30 04 00017F 00", E::DiscouragedCharacter('\u{7F}'), 0x81),
            (ALL, "30 06 0003 EFBFBF 00", E::DiscouragedCharacter('\u{FFFF}'), 0x81),
            (ALL, "10 0F 0004 4D515454 04 02 003C 0003 616161", E::ClientIdTooLong, 0x85),
            (V5, "30 0E 000161 0A 2600000000 2600000000", E::TooManyUserProperties, 0x97),
            (V5, "30 07 000161 02 0101 FF", E::PayloadFormat, 0x99),
        ],
        &limits,
    );
    let many = "/".repeat(65_400);
    let publish = [&bytes("30 FAFE03 FF78")[..], many.as_bytes()].concat();
    assert!(decode(&publish, Version::V311, &Limits::default()).is_err());
    let deep = Limits { max_topic_length: u16::MAX, ..Limits::default() };
    assert_eq!(decode(&publish, Version::V311, &deep).unwrap_err().kind, E::TopicNameTooDeep);
    assert!(decode(&publish, Version::V311, &Limits::protocol()).unwrap().is_some());
}

/// Inputs that brought other implementations down.
#[test]
fn hostile_inputs() {
    // CONNECT followed by CONNACK: the CONNACK is a packet like any other; who may send it is the caller's business.
    let data = bytes("101000044D5154540502003C03210014000029020001E000");
    let (_, len) = decode(&data, Version::V5, &Limits::default()).unwrap().unwrap();
    assert!(decode(&data[len..], Version::V5, &Limits::default()).is_err());
    // SUBSCRIBE of MQTT 5.0 with an empty filter and no options.
    check(&[(V5, "82 05 0001 00 0000", E::EmptyTopicFilter, 0x81)]);
    // SUBACK without codes.
    check(&[(V3, "90 02 0001", E::NoReasonCodes(T::SubAck), 0x82)]);
    // Thousands of User Properties.
    let section: Vec<u8> = [0x26, 0, 0, 0, 0].repeat(5000);
    let mut packet = bytes("30 AEC301 000161 A8C301");
    packet.extend(&section);
    assert_eq!(decode(&packet, Version::V5, &Limits::default()).unwrap_err().kind, E::TooManyUserProperties);
    packet.truncate(40);
    assert_eq!(decode(&packet, Version::V5, &Limits::default()), Ok(None));
}
