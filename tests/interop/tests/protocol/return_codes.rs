//! 3.x return codes and 5.0 reason codes of CONNACK for the same refusals, and versions switched off.

use tercet_interop::{Broker, Connect, Version, Wire};

fn refusal(broker: &Broker, connect: &Connect) -> u8 {
    Wire::refused(broker, connect).0
}

#[test]
fn anonymous_where_a_password_is_needed() {
    let broker = Broker::configured("[auth]\nanonymous = \"deny\"\n");
    assert_eq!(refusal(&broker, &Connect::v31("c")), 5);
    assert_eq!(refusal(&broker, &Connect::v311("c")), 5);
    assert_eq!(refusal(&broker, &Connect::v5("c")), 0x87);
}

#[test]
fn versions_can_be_switched_off() {
    let broker = Broker::configured("[mqtt]\nversions = [\"3.1.1\"]\n");
    assert_eq!(refusal(&broker, &Connect::v31("c")), 1);
    assert_eq!(refusal(&broker, &Connect::v5("c")), 0x84);
    Wire::connect(&broker, &Connect::v311("c")).disconnect();
}

#[test]
fn empty_client_identifiers_can_be_refused() {
    let broker = Broker::configured("[mqtt]\nallow-empty-client-id = false\n");
    assert_eq!(refusal(&broker, &Connect::v311("")), 2);
    assert_eq!(refusal(&broker, &Connect::v5("")), 0x85);
}

#[test]
fn client_identifiers_over_the_limit() {
    let broker = Broker::configured("[limits]\nmax-client-id-length = 40\n");
    for version in Version::ALL {
        Wire::connect(&broker, &Connect::new(version, &"x".repeat(40))).disconnect();
        let expected = if version == Version::V5 { 0x85 } else { 2 };
        assert_eq!(refusal(&broker, &Connect::new(version, &"x".repeat(41))), expected, "{version:?}");
    }
}

#[test]
fn a_full_broker() {
    let broker = Broker::configured("[limits]\nmax-sessions = 1\n");
    let _first = Wire::connect(&broker, &Connect::v5("first"));
    let code = refusal(&broker, &Connect::v5("second"));
    assert!(matches!(code, 0x97 | 0x89 | 0x88), "{code:#04x}");
    assert_eq!(refusal(&broker, &Connect::v311("second")), 3);
}

/// Control characters reach other clients' terminals and logs; a listener may refuse them.
#[test]
fn strict_utf8_refuses_control_characters_and_non_characters() {
    let broker =
        Broker::configured("[[listener]]\nname = \"strict\"\nbind = \"127.0.0.1:0\"\nstrict-utf8 = true\n");
    for text in ["a\u{1}b", "a\u{7f}b", "a\u{9f}b", "a\u{fffe}b", "a\u{1ffff}b", "a\u{fdd0}b"] {
        let mut strict = Wire::connect_at(broker.address("strict"), &Connect::v5("c"));
        strict.send(&tercet_interop::Publish::new(text, "x").encode(Version::V5));
        strict.expect_disconnect(0x81);
        let mut strict = Wire::connect_at(broker.address("strict"), &Connect::v311("c"));
        strict.send(&tercet_interop::Publish::new(text, "x").encode(Version::V311));
        strict.expect_closed();
        let mut lenient = Wire::connect(&broker, &Connect::v311("c"));
        lenient.subscribe(text, 0);
        lenient.publish(tercet_interop::Publish::new(text, "x"));
        assert_eq!(lenient.take().0, text);
    }
}
