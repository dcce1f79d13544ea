//! Message Expiry Interval (§3.3.2.3.3): what waited too long is not sent, and the rest says how long it may yet wait.

use std::thread::sleep;
use std::time::Duration;

use tercet_interop::{Broker, Connect, Properties, Publish, Wire, id};

fn expiring(topic: &str, text: &str, seconds: u32) -> Publish {
    Publish::new(topic, text).qos(1).properties(Properties::new().number(id::MESSAGE_EXPIRY, seconds))
}

#[test]
fn a_queued_message_expires_and_the_others_are_told_what_is_left() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").durable());
    subscriber.subscribe("t", 1);
    subscriber.disconnect();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(expiring("t", "short", 1));
    publisher.publish(expiring("t", "long", 100));
    publisher.publish(Publish::new("t", "eternal").qos(1));
    // Time itself is what is tested here.
    sleep(Duration::from_millis(2100));
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").durable());
    let long = subscriber.take_publish();
    assert_eq!(long.text(), "long");
    let left = long.properties.get_number(id::MESSAGE_EXPIRY).expect("[MQTT-3.3.2-6]");
    assert!((90..=98).contains(&left), "{left} s are left of 100");
    let eternal = subscriber.take_publish();
    assert_eq!(
        (eternal.text().as_str(), eternal.properties.get_number(id::MESSAGE_EXPIRY)),
        ("eternal", None)
    );
}

#[test]
fn a_retained_message_expires() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(expiring("r/short", "short", 1).retain());
    publisher.publish(expiring("r/long", "long", 100).retain());
    sleep(Duration::from_millis(2100));
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("r/+", 1);
    let publish = subscriber.take_publish();
    assert_eq!(publish.text(), "long");
    assert!((90..=98).contains(&publish.properties.get_number(id::MESSAGE_EXPIRY).unwrap()));
    subscriber.ping();
}

#[test]
fn a_message_that_is_passed_on_at_once_keeps_its_interval() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("t", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(expiring("t", "x", 3600));
    let left = subscriber.take_publish().properties.get_number(id::MESSAGE_EXPIRY).unwrap();
    assert!((3599..=3600).contains(&left), "{left}");
}

#[test]
fn a_message_behind_a_full_window_expires() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::RECEIVE_MAXIMUM, 1));
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "first").qos(1));
    publisher.publish(expiring("t", "short", 1));
    publisher.publish(Publish::new("t", "last").qos(1));
    let first = subscriber.receive_publish();
    sleep(Duration::from_millis(2100));
    subscriber.acknowledge(&first);
    assert_eq!(subscriber.take().1, "last");
}
