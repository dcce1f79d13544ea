//! Who gets in, who does not, and what each side learns.

use std::fs;
use std::time::Duration;

use super::network::{Client, Server, connect, exchange};
use crate::dtls::{DtlsError, DtlsIdentity, DtlsLimits, DtlsServerConfig, DtlsServerSettings};
use crate::tls::test_certificates::Authority;

fn server() -> Server {
    Server::new(DtlsLimits::default())
}

#[test]
fn a_shared_key_proves_both_sides_and_messages_pass_both_ways() {
    let mut server = server();
    let config = server.device();
    let mut client = connect(&mut server, &config, 1);
    assert!(client.is_connected(), "{:?}", client.error);
    let (association, identity) = server.seen.opened.pop().unwrap();
    assert_eq!(identity, DtlsIdentity::PreSharedKey("device".into()));

    client.send(b"question", server.now);
    exchange(&mut server, &mut client, |_| false);
    assert_eq!(server.seen.received, [(association, b"question".to_vec())]);
    server.send(association, b"answer");
    exchange(&mut server, &mut client, |_| false);
    assert_eq!(client.received, [b"answer"]);
}

#[test]
fn certificates_prove_both_sides() {
    let mut server = server();
    let config = server.certified(Some(&server.authority), "localhost");
    let client = connect(&mut server, &config, 1);
    assert!(client.is_connected(), "{:?}", client.error);
    let (_, identity) = server.seen.opened.pop().unwrap();
    let DtlsIdentity::Certificate(names) = identity else { panic!("{identity:?}") };
    assert_eq!(names.common_name.as_deref(), Some("device-7"));
}

#[test]
fn who_is_not_proven_gets_no_association() {
    let mut server = server();
    let stranger = Authority::new(server.directory.path(), "stranger");
    let cases = [
        ("a wrong key", server.psk("device", &[1; 16])),
        ("a key of another", server.psk("other", &[2])),
        ("an unknown identity", server.psk("nobody", &[1; 16])),
        ("no certificate", server.certified(None, "localhost")),
        ("a strange authority", server.certified(Some(&stranger), "localhost")),
        ("another server expected", server.certified(Some(&server.authority), "elsewhere")),
    ];
    for (case, config) in cases {
        let client = connect(&mut server, &config, 1);
        assert!(!client.is_connected(), "{case}");
        assert!(client.error.is_some(), "{case}: the client was told nothing");
        assert!(server.seen.opened.is_empty(), "{case}");
        server.wait(Duration::from_secs(60));
        assert_eq!((server.acceptor.peers(), server.acceptor.handshakes()), (0, 0), "{case}");
    }
}

#[test]
fn a_client_without_certificate_says_that_one_is_wanted() {
    let mut server = server();
    let config = server.certified(None, "localhost");
    let client = connect(&mut server, &config, 1);
    assert_eq!(client.error, Some(DtlsError::CertificateWanted));
}

#[test]
fn whatever_single_datagram_is_lost_the_handshake_ends_well() {
    for certified in [false, true] {
        for lost in 1..=8 {
            let mut server = server();
            let config = match certified {
                false => server.device(),
                true => server.certified(Some(&server.authority), "localhost"),
            };
            let mut client = Client::new(&config, 1, server.now);
            exchange(&mut server, &mut client, |number| number == lost);
            for _ in 0..20 {
                server.wait(Duration::from_millis(500));
                let now = server.now;
                client.with(|session, on| session.run_due(now, on));
                exchange(&mut server, &mut client, |_| false);
            }
            assert!(client.is_connected(), "datagram {lost}: {:?}", client.error);
            assert_eq!(server.seen.opened.len(), 1, "datagram {lost}");
        }
    }
}

#[test]
fn a_client_that_hears_nothing_gives_up() {
    let server = server();
    let mut client = Client::new(&server.device(), 1, server.now);
    for second in 1..=120 {
        client.with(|session, on| session.run_due(server.now + Duration::from_secs(second), on));
    }
    assert_eq!(client.error, Some(DtlsError::TimedOut));
}

#[test]
fn keys_are_read_again_and_keys_that_cannot_be_read_change_nothing() {
    let mut server = server();
    let file = server.directory.path().join("keys");
    fs::write(&file, "device:0\n").unwrap();
    assert!(server.config.reload().unwrap_err().to_string().contains("line 1"));
    let config = server.device();
    assert!(connect(&mut server, &config, 1).is_connected());

    fs::write(&file, "new:0a0b\n").unwrap();
    server.config.reload().unwrap();
    assert!(!connect(&mut server, &config, 2).is_connected());
    let config = server.psk("new", &[0x0a, 0x0b]);
    assert!(connect(&mut server, &config, 3).is_connected());
}

#[test]
fn files_that_dtls_cannot_use_are_named() {
    let server = server();
    let (certificate, _) = server.authority.issue("a");
    let keys = server.directory.path().join("keys");
    let wrong_key =
        DtlsServerSettings { certificate: Some((certificate, keys.clone())), ..Default::default() };
    let no_keys = DtlsServerSettings { psk_file: Some(keys.join("missing")), ..Default::default() };
    for (settings, words) in [(wrong_key, "private key"), (no_keys, "pre-shared keys")] {
        let error = DtlsServerConfig::load(&settings).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    }
}
