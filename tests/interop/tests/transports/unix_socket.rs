//! Unix sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use tercet_interop::{Broker, Connect, Publish, Version, Wire};

const CONFIG: &str = r#"
[[listener]]
name = "unix"
bind = "unix:{dir}/mqtt.sock"
unix-mode = "0600"
"#;

#[test]
fn mqtt_works_over_a_unix_socket() {
    let broker = Broker::configured(CONFIG);
    let path = broker.path("mqtt.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut tcp = Wire::connect(&broker, &Connect::v5("tcp"));
    tcp.subscribe("t", 1);
    for version in Version::ALL {
        let stream = UnixStream::connect(&path).unwrap();
        let (mut wire, ..) = Wire::over(stream, version).handshake(&Connect::new(version, "unix"));
        wire.publish(Publish::new("t", "x").qos(2));
        assert_eq!(tcp.take().1, "x");
        wire.disconnect();
    }
}

#[test]
fn a_socket_left_by_a_broker_that_died_is_replaced() {
    let directory = tercet_interop::broker::new_directory();
    let path = directory.path().join("mqtt.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _broker = Broker::in_directory(directory.clone(), CONFIG);
    let stream = UnixStream::connect(&path).unwrap();
    let (mut wire, ..) = Wire::over(stream, Version::V5).handshake(&Connect::v5("c"));
    wire.ping();
}
