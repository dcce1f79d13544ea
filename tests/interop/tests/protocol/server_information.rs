//! What a 5.0 CONNACK tells, and whether the broker keeps to what the client asked to be told.

use tercet_interop::{Broker, Connect, Properties, Publish, Version, Wire, id};

#[test]
fn an_empty_client_identifier_gets_one_assigned() {
    let broker = Broker::start();
    let (first, _, properties) = Wire::connect_full(&broker, &Connect::v5("").expiry(60));
    let name = properties.get_text(id::ASSIGNED_CLIENT_ID).expect("[MQTT-3.2.2-16]").to_vec();
    assert!(!name.is_empty());
    let (_, _, other) = Wire::connect_full(&broker, &Connect::v5(""));
    assert_ne!(other.get_text(id::ASSIGNED_CLIENT_ID), Some(&name[..]));
    first.disconnect();
    let name = String::from_utf8(name).unwrap();
    let (_, present, properties) = Wire::connect_full(&broker, &Connect::v5(&name).durable());
    assert!(present, "the session can be resumed under the name that was told");
    assert_eq!(properties.get_text(id::ASSIGNED_CLIENT_ID), None);
}

#[test]
fn two_anonymous_3x_clients_do_not_take_over_from_each_other() {
    let broker = Broker::start();
    let mut first = Wire::connect(&broker, &Connect::v311(""));
    let mut second = Wire::connect(&broker, &Connect::v311(""));
    first.ping();
    second.ping();
}

#[test]
fn a_3x_connack_carries_nothing_else() {
    let broker = Broker::start();
    for version in [Version::V31, Version::V311] {
        let mut wire = Wire::open(broker.mqtt(), version);
        wire.send(&Connect::new(version, "c").encode());
        assert_eq!(wire.next_raw().unwrap(), [0x20, 2, 0, 0]);
    }
}

#[test]
fn limits_are_told_and_defaults_left_out() {
    let broker = Broker::start();
    let (_, _, properties) = Wire::connect_full(&broker, &Connect::v5("c"));
    assert_eq!(properties.get_number(id::RECEIVE_MAXIMUM), Some(1024));
    assert_eq!(properties.get_number(id::TOPIC_ALIAS_MAXIMUM), Some(32));
    assert_eq!(properties.get_number(id::MAXIMUM_PACKET_SIZE), Some(1 << 20));
    for id in [id::MAXIMUM_QOS, id::SERVER_KEEP_ALIVE, id::SERVER_REFERENCE, id::AUTH_METHOD] {
        assert!(!properties.0.iter().any(|(seen, _)| *seen == id), "{id:#04x}");
    }
    // Maximum QoS must not be sent as 2 (§3.2.2.3.4).
    for id in
        [id::RETAIN_AVAILABLE, id::WILDCARD_AVAILABLE, id::SUBSCRIPTION_IDS_AVAILABLE, id::SHARED_AVAILABLE]
    {
        assert!(matches!(properties.get_number(id), None | Some(1)), "{id:#04x}");
    }
}

#[test]
fn response_information_is_told_when_asked_for_and_configured() {
    let broker = Broker::configured("[mqtt]\nresponse-information = \"answers/\"\n");
    let ask = |client: &str, value| {
        let (_, _, properties) =
            Wire::connect_full(&broker, &Connect::v5(client).number(id::REQUEST_RESPONSE, value));
        properties.get_text(id::RESPONSE_INFORMATION).map(<[u8]>::to_vec)
    };
    assert_eq!(ask("asks", 1).as_deref(), Some(&b"answers/asks"[..]));
    assert_eq!(ask("does-not", 0), None, "[MQTT-3.1.2-28]");
    let broker = Broker::start();
    let (_, _, properties) = Wire::connect_full(&broker, &Connect::v5("c").number(id::REQUEST_RESPONSE, 1));
    assert_eq!(properties.get_text(id::RESPONSE_INFORMATION), None);
}

/// Request Problem Information 0 [MQTT-3.1.2-29]: reason strings and user properties only on PUBLISH, CONNACK and
/// DISCONNECT.
#[test]
fn problem_information_is_withheld_on_request() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c").number(id::REQUEST_PROBLEM, 0));
    let quiet = |properties: &Properties| {
        assert_eq!(properties.get_text(id::REASON_STRING), None);
        assert!(properties.users().is_empty());
    };
    quiet(&wire.publish_ack(Publish::new("t", "x").qos(1)).unwrap().properties);
    quiet(&wire.publish_ack(Publish::new("$SYS/forged", "x").qos(1)).unwrap().properties);
    wire.send(&tercet_interop::packet::subscribe(Version::V5, 9, &Properties::new(), &[("$share/bad", 0)]));
    match wire.receive() {
        tercet_interop::Packet::Suback(_, _, properties) => quiet(&properties),
        tercet_interop::Packet::Disconnect(..) => {}
        other => panic!("{other:?}"),
    }
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::REQUEST_PROBLEM, 0));
    subscriber.subscribe("u", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("u", "x").properties(Properties::new().user("a", "b")));
    assert_eq!(
        subscriber.take_publish().properties.users(),
        [("a".into(), "b".into())],
        "those travel all the same"
    );
}

#[test]
fn redirect_sends_clients_elsewhere() {
    for (permanent, code) in [(false, 0x9C), (true, 0x9D)] {
        let broker = Broker::configured(&format!(
            "[[listener]]\nname = \"moved\"\nbind = \"127.0.0.1:0\"\n[listener.redirect]\n\
             reference = \"other.example:1883\"\npermanent = {permanent}\n"
        ));
        let address = broker.address("moved");
        let (seen, properties) = Wire::refused_at(address, &Connect::v5("c"));
        assert_eq!(seen, code);
        assert_eq!(properties.get_text(id::SERVER_REFERENCE), Some(&b"other.example:1883"[..]));
        assert_eq!(Wire::refused_at(address, &Connect::v311("c")).0, 3, "3.x: server unavailable");
        Wire::connect(&broker, &Connect::v5("c")).disconnect();
    }
}
