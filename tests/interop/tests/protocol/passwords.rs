//! Password files: our argon2id, Mosquitto's `$6$` and `$7$` made by its own tool, and files that must be refused.

use std::fs;
use std::path::Path;
use std::process::Command;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params};
use tercet_interop::broker::{binary, new_directory};
use tercet_interop::{Broker, Connect, Version, Wire, packet};

const CONFIG: &str = "[auth]\nanonymous = \"deny\"\npassword-file = \"{dir}/passwords\"\n";

/// A cheap hash: tests log in often.
pub(crate) fn argon2id(password: &str) -> String {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
    let salt = SaltString::encode_b64(b"sixteen byte salt").unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

fn start(passwords: &str) -> Broker {
    let directory = new_directory();
    fs::write(directory.path().join("passwords"), passwords).unwrap();
    Broker::in_directory(directory, CONFIG)
}

fn check_users(broker: &Broker, users: &[(&str, &str)]) {
    for version in Version::ALL {
        let (bad, anonymous) = if version == Version::V5 { (0x86, 0x87) } else { (4, 5) };
        for (user, password) in users {
            Wire::connect(broker, &Connect::new(version, "c").login(user, password)).disconnect();
            let wrong = Connect::new(version, "c").login(user, "wrong");
            assert_eq!(Wire::refused(broker, &wrong).0, bad, "{user} {version:?}");
        }
        assert_eq!(Wire::refused(broker, &Connect::new(version, "c").login("nobody", "x")).0, bad);
        let code = Wire::refused(broker, &Connect::new(version, "c")).0;
        assert!(code == anonymous || code == bad, "{code:#04x}");
        if version != Version::V31 {
            let no_password = Connect::new(version, "c").username(users[0].0);
            let code = Wire::refused(broker, &no_password).0;
            assert!(code == anonymous || code == bad, "{code:#04x}");
        }
    }
}

#[test]
fn argon2id_lines() {
    let broker = start(&format!("# people\nalice:{}\n\nbob:{}\n", argon2id("secret"), argon2id("пароль")));
    check_users(&broker, &[("alice", "secret"), ("bob", "пароль")]);
}

#[test]
fn lines_made_by_mosquitto_passwd() {
    let directory = new_directory();
    let file = directory.path().join("passwords");
    mosquitto_passwd(&["-c", "-b"], &file, "seven", "pass7");
    let seven = fs::read_to_string(&file).unwrap();
    assert!(seven.contains("$7$"), "{seven}");
    mosquitto_passwd(&["-c", "-H", "sha512", "-b"], &file, "six", "pass6");
    let six = fs::read_to_string(&file).unwrap();
    assert!(six.contains("$6$"), "{six}");
    let broker = start(&format!("{seven}{six}"));
    check_users(&broker, &[("seven", "pass7"), ("six", "pass6")]);
}

fn mosquitto_passwd(options: &[&str], file: &Path, user: &str, password: &str) {
    let status = Command::new("mosquitto_passwd").args(options).arg(file).args([user, password]).output();
    let output = status.expect("mosquitto_passwd is installed");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_password_is_bytes() {
    let broker = start(&format!("alice:{}\n", argon2id("a\u{1}b")));
    Wire::connect(&broker, &Connect::v5("c").login("alice", "a\u{1}b")).disconnect();
}

/// CVE-2018-12551 and its kind: a broken file lets nobody in; the broker does not start with it.
#[test]
fn a_broken_file_is_refused_with_its_line() {
    let directory = new_directory();
    fs::write(directory.path().join("passwords"), format!("alice:{}\nmallory\n", argon2id("x"))).unwrap();
    let config = directory.path().join("tercet.toml");
    fs::write(&config, CONFIG.replace("{dir}", directory.path().to_str().unwrap())).unwrap();
    let output = Command::new(binary())
        .args([
            "serve",
            "--memory",
            "--mqtt",
            "127.0.0.1:0",
            "--amqp",
            "off",
            "--coap",
            "off",
            "--http",
            "off",
            "--config",
        ])
        .arg(&config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("passwords") && text.contains('2'), "{text}");
}

#[test]
fn an_empty_file_lets_nobody_in() {
    let broker = start("");
    assert_eq!(Wire::refused(&broker, &Connect::v5("c")).0, 0x87);
    assert_eq!(Wire::refused(&broker, &Connect::v5("c").login("a", "")).0, 0x86);
}

#[test]
fn a_reload_changes_who_may_connect() {
    let broker = start(&format!("alice:{}\n", argon2id("old")));
    let mut alice = Wire::connect(&broker, &Connect::v5("a").login("alice", "old"));
    fs::write(broker.path("passwords"), format!("alice:{}\nbob:{}\n", argon2id("new"), argon2id("b")))
        .unwrap();
    broker.signal("HUP");
    broker.await_line("reload");
    Wire::connect(&broker, &Connect::v5("b").login("bob", "b")).disconnect();
    Wire::connect(&broker, &Connect::v5("c").login("alice", "new")).disconnect();
    assert_eq!(Wire::refused(&broker, &Connect::v5("c").login("alice", "old")).0, 0x86);
    alice.ping();
}

/// A storm of logins is answered from a success cache, not by hashing each time, and wrong ones do not slow it.
#[test]
fn many_logins_at_once() {
    let broker = start(&format!("alice:{}\n", argon2id("secret")));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let broker = &broker;
            scope.spawn(move || {
                for n in 0..25 {
                    let connect = Connect::v311(&format!("c{worker}-{n}")).login("alice", "secret");
                    Wire::connect(broker, &connect).disconnect();
                }
            });
        }
    });
}

/// Nothing that follows a CONNECT is done before its password was checked.
#[test]
fn packets_behind_a_refused_connect_are_not_handled() {
    let broker = start(&format!("alice:{}\n", argon2id("secret")));
    let mut watcher = Wire::connect(&broker, &Connect::v5("w").login("alice", "secret"));
    watcher.subscribe("t", 0);
    let mut wire = Wire::open(broker.mqtt(), Version::V5);
    let mut bytes = Connect::v5("c").login("alice", "wrong").encode();
    bytes.extend(packet::Publish::new("t", "smuggled").encode(Version::V5));
    wire.send(&bytes);
    assert!(matches!(wire.receive(), packet::Packet::Connack { code: 0x86, .. }));
    wire.expect_closed();
    watcher.publish(packet::Publish::new("t", "end"));
    assert_eq!(watcher.take().1, "end");
}

/// Passwords never reach the log.
#[test]
fn the_log_keeps_quiet_about_passwords() {
    let broker = start(&format!("alice:{}\n", argon2id("correct-horse")));
    Wire::connect(&broker, &Connect::v5("c").login("alice", "correct-horse")).disconnect();
    assert_eq!(Wire::refused(&broker, &Connect::v5("c").login("alice", "battery-staple")).0, 0x86);
    let log = broker.log();
    assert!(!log.contains("correct-horse") && !log.contains("battery-staple"), "{log}");
}
