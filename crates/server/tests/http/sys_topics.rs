//! The `$SYS` topics of a running server.

use std::io::{Read, Write};
use std::time::Duration;

use tercet_server::RunningServer;
use tercet_server::config::{Config, Limit};

use crate::client::{connect, eventually, start};

fn value(server: &RunningServer, name: &str) -> Option<String> {
    let message = server.shared().vhost.retained().get(&format!("$SYS/broker/{name}"))?;
    Some(String::from_utf8(message.payload.to_vec()).unwrap())
}

fn often(config: &mut Config) {
    config.server.sys_interval = Limit::At(Duration::from_millis(10));
}

#[test]
fn values_follow_a_client_and_nobody_else_may_publish_them() {
    let server = start(often);
    eventually(Some("0".to_owned()), || value(&server, "clients/connected"));
    let mut client = connect(&server, "mqtt");
    // MQTT 5, so that a refusal is told.
    client.write_all(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a").unwrap();
    let mut connack = [0; 2];
    client.read_exact(&mut connack).unwrap();
    client.read_exact(&mut vec![0; usize::from(connack[1])]).unwrap();
    eventually(Some("1".to_owned()), || value(&server, "clients/connected"));
    eventually(Some("1".to_owned()), || value(&server, "clients/total"));
    eventually(Some("1".to_owned()), || value(&server, "clients/maximum"));
    eventually(Some("1".to_owned()), || value(&server, "messages/received"));

    // PUBLISH "1" to $SYS/x at QoS 1, retained: PUBACK with 0x87 (Not authorized).
    client.write_all(b"\x33\x0c\x00\x06$SYS/x\x00\x07\x001").unwrap();
    let mut puback = [0; 6];
    client.read_exact(&mut puback[..5]).unwrap();
    assert_eq!((puback[0], puback[4]), (0x40, 0x87), "{puback:x?}");
    assert!(server.shared().vhost.retained().get("$SYS/x").is_none());

    drop(client);
    eventually(Some("0".to_owned()), || value(&server, "clients/connected"));
    assert_eq!(value(&server, "clients/maximum").as_deref(), Some("1"));
}

#[test]
fn a_reload_turns_them_off_and_on() {
    let server = start(often);
    eventually(true, || value(&server, "version").is_some());
    let mut config = Config::on_free_ports();
    config.server.sys_interval = Limit::Off;
    server.reload(config).unwrap();
    eventually(0, || server.shared().vhost.retained().len());
    let mut config = Config::on_free_ports();
    often(&mut config);
    server.reload(config).unwrap();
    eventually(true, || value(&server, "version").is_some());
}
