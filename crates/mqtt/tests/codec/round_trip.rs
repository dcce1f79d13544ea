//! Every packet of every version survives encoding and decoding, whole and in pieces.

use crate::fuzz_bodies;
use crate::material::{VERSIONS, Views, material};
use proptest::prelude::*;
use tercet_mqtt::{Limits, Packet, decode, encode, encoded_len, frame_length};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_in_every_version(material in material()) {
        for version in VERSIONS {
            let views = Views::new(&material, version);
            for packet in views.packets() {
                let mut bytes = Vec::new();
                encode(&packet, version, &mut bytes).unwrap();
                prop_assert_eq!(bytes.len(), encoded_len(&packet, version));
                let (decoded, used) = decode(&bytes, version, &Limits::default()).unwrap().unwrap();
                prop_assert_eq!(decoded, packet, "{}", version);
                prop_assert_eq!(used, bytes.len());
                fuzz_bodies::check_decode(&bytes);
            }
        }
    }

    #[test]
    fn a_stream_byte_by_byte_equals_all_at_once(material in material()) {
        let limits = Limits::default();
        for version in VERSIONS {
            let views = Views::new(&material, version);
            let packets = views.packets();
            let mut stream = Vec::new();
            packets.iter().for_each(|packet| encode(packet, version, &mut stream).unwrap());
            let (mut start, mut decoded) = (0, 0);
            for end in 1..=stream.len() {
                let part = &stream[start..end];
                if let Some((packet, used)) = decode(part, version, &limits).unwrap() {
                    prop_assert_eq!(used, part.len(), "complete with its last byte, not later");
                    prop_assert_eq!(packet, packets[decoded]);
                    (start, decoded) = (end, decoded + 1);
                } else if let Some(total) = frame_length(part, &limits).unwrap() {
                    prop_assert!(total > part.len());
                }
            }
            prop_assert_eq!(decoded, packets.len());
        }
    }

    #[test]
    fn bytes_after_a_packet_are_left_alone(material in material(), tail in proptest::collection::vec(any::<u8>(), 0..9)) {
        for version in VERSIONS {
            let views = Views::new(&material, version);
            for packet in views.packets() {
                let mut bytes = Vec::new();
                encode(&packet, version, &mut bytes).unwrap();
                let len = bytes.len();
                bytes.extend_from_slice(&tail);
                prop_assert_eq!(decode(&bytes, version, &Limits::default()), Ok(Some((packet, len))));
            }
        }
    }
}

#[test]
fn a_packet_is_no_larger_than_it_must_be() {
    // A decoded packet is moved about; this notices when it grows.
    assert!(size_of::<Packet<'_>>() <= 480, "{}", size_of::<Packet<'_>>());
    assert!(size_of::<tercet_mqtt::Publish<'_>>() <= 192, "{}", size_of::<tercet_mqtt::Publish<'_>>());
    assert!(size_of::<tercet_mqtt::DecodeError>() <= 40, "{}", size_of::<tercet_mqtt::DecodeError>());
}
