use std::fs;
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::ServerName;
use tempfile::TempDir;

use super::pair::{Pair, pattern, stand_in, tcp_sockets, unix_sockets};
use crate::proxy_protocol::TrustedProxies;
use crate::tls::test_certificates::Authority;
use crate::tls::{
    ClientAuth, ClientCertificate, ClientSettings, IdentityError, MinimumVersion, NameCheck,
    ReloadableServerConfig, Roots, ServerSettings, client_config, server_config,
};
use crate::transport::{Received, Transport};

/// An authority with a certificate for `localhost`.
struct Site {
    /// Removed with everything in it when the test ends.
    _directory: TempDir,
    authority: Authority,
    settings: ServerSettings,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "ca");
        let (certificate, key) = authority.issue("localhost");
        let settings = ServerSettings {
            alpn: vec![b"mqtt".to_vec(), b"x-amqp".to_vec()],
            ..ServerSettings::new(certificate, key)
        };
        Self { _directory: directory, authority, settings }
    }

    fn client_settings(&self) -> ClientSettings {
        ClientSettings { roots: Roots::File(self.authority.file.clone()), ..ClientSettings::default() }
    }

    fn with_certificate(&self, name: &str) -> ClientSettings {
        let (certificate, key) = self.authority.issue(name);
        ClientSettings { certificate: Some(ClientCertificate { certificate, key }), ..self.client_settings() }
    }

    fn pair(&self, client: &ClientSettings, server: &ServerSettings) -> Pair {
        let (client_socket, server_socket) = tcp_sockets();
        Pair::new(
            tls_client(client_socket, client),
            Transport::tls(server_socket, server_config(server).unwrap()).unwrap(),
        )
    }
}

fn tls_client(socket: crate::Socket, settings: &ClientSettings) -> Transport {
    let name = ServerName::try_from("localhost").unwrap();
    Transport::tls_client(socket, client_config(settings).unwrap(), name).unwrap()
}

#[test]
fn bytes_pass_with_any_size_of_scratch() {
    let site = Site::new();
    for scratch in [1, 100, 20_000, 36 * 1024, 64 * 1024, 256 * 1024] {
        let mut pair = site.pair(&site.client_settings(), &site.settings);
        pair.server.scratch = scratch;
        pair.client.scratch = scratch;
        pair.exchange(if scratch < 1000 { 60_000 } else { 1_000_000 });
    }
}

#[test]
fn the_handshake_is_told() {
    let site = Site::new();
    let client = ClientSettings { alpn: vec![b"mqtt".to_vec()], ..site.client_settings() };
    let mut pair = site.pair(&client, &site.settings);
    assert!(pair.server.transport.is_handshaking());
    assert!(pair.server.transport.tls_info().is_none());
    pair.exchange(10);
    assert!(!pair.server.transport.is_handshaking());
    let info = pair.server.transport.tls_info().unwrap();
    assert_eq!(info.version, "TLSv1.3");
    assert!(info.cipher.starts_with("TLS13_"), "{}", info.cipher);
    assert_eq!(info.server_name.as_deref(), Some("localhost"));
    assert_eq!(info.alpn.as_deref(), Some(&b"mqtt"[..]));
    assert_eq!(info.identity, None);
    let seen_by_client = pair.client.transport.tls_info().unwrap().identity.unwrap();
    assert_eq!(seen_by_client.dns, ["localhost"]);
}

#[test]
fn a_sleeping_peer_costs_a_bounded_buffer() {
    let site = Site::new();
    let mut pair = site.pair(&site.client_settings(), &site.settings);
    pair.exchange(10);
    pair.exchange_with_sleeper(40_000_000);
}

#[test]
fn client_certificates_are_optional_required_and_checked() {
    let site = Site::new();
    let ca = site.authority.file.clone();
    let optional =
        ServerSettings { client_auth: ClientAuth::Optional { ca: ca.clone() }, ..site.settings.clone() };
    let required = ServerSettings { client_auth: ClientAuth::Required { ca }, ..site.settings.clone() };
    let stranger = {
        let other = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::new(other.path(), "other").issue("device-7");
        let settings = ClientSettings {
            certificate: Some(ClientCertificate { certificate, key }),
            ..site.client_settings()
        };
        (other, settings)
    };
    let device = site.with_certificate("device-7");
    for server in [&optional, &required] {
        let mut pair = site.pair(&device, server);
        pair.exchange(10);
        let identity = pair.server.transport.tls_info().unwrap().identity.unwrap();
        assert_eq!(identity.common_name.as_deref(), Some("device-7"));
        let refused = handshake_error(site.pair(&stranger.1, server));
        assert!(refused.contains("certificate"), "{refused}");
    }
    let mut anonymous = site.pair(&site.client_settings(), &optional);
    anonymous.exchange(10);
    assert_eq!(anonymous.server.transport.tls_info().unwrap().identity, None);
    let refused = handshake_error(site.pair(&site.client_settings(), &required));
    assert!(refused.contains("certificate"), "{refused}");
}

/// Drives a connection that must fail at the server and gives the reason.
fn handshake_error(mut pair: Pair) -> String {
    pair.client.outbox = b"hello".to_vec();
    pair.run_until(|pair| pair.server.ended() && pair.client.ended());
    assert!(pair.server.inbox.is_empty());
    let error = pair.server.error.expect("the server refuses");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    error.to_string()
}

#[test]
fn a_deceptive_certificate_name_is_refused_before_any_byte() {
    let site = Site::new();
    let required = ClientAuth::Required { ca: site.authority.file.clone() };
    let server = ServerSettings { client_auth: required, ..site.settings.clone() };
    let mut pair = site.pair(&site.with_certificate("admin\0 of nothing"), &server);
    pair.client.outbox = b"hello".to_vec();
    pair.run_until(|pair| pair.server.ended());
    let error = pair.server.error.as_ref().unwrap();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<IdentityError>());
    assert!(matches!(inner, Some(IdentityError::ControlCharacter(_))), "{error}");
    assert!(pair.server.inbox.is_empty());
    // And it stays refused.
    assert!(pair.server.transport.receive(&mut [0; 100]).is_err());
    assert!(pair.server.transport.send(&[IoSlice::new(b"x")]).is_err());
}

#[test]
fn servers_are_checked_unless_told_otherwise() {
    let site = Site::new();
    let other = Site::new();
    let mut pair = site.pair(&other.client_settings(), &site.settings);
    pair.run_until(|pair| pair.client.ended() && pair.server.ended());
    assert!(pair.client.error.unwrap().to_string().contains("certificate"));
    let insecure = ClientSettings { roots: Roots::Insecure, ..ClientSettings::default() };
    site.pair(&insecure, &site.settings).exchange(1000);
}

#[test]
fn a_directory_of_authorities_and_any_name_are_ways_to_trust() {
    let (site, stranger) = (Site::new(), Site::new());
    let home = site.authority.file.parent().unwrap().to_owned();
    let away = stranger.authority.file.parent().unwrap().to_owned();
    fs::write(home.join("README"), "no certificate").unwrap();
    let (certificate, key) = site.authority.issue("another.example");
    let misnamed = ServerSettings::new(certificate, key);
    let both = |file: &PathBuf, directory: &PathBuf| Roots::FileAndDirectory {
        file: file.clone(),
        directory: directory.clone(),
    };
    for (roots, server, strict, lenient) in [
        (Roots::Directory(home.clone()), &site.settings, true, true),
        (both(&stranger.authority.file, &home), &site.settings, true, true),
        (both(&site.authority.file, &away), &site.settings, true, true),
        (Roots::Directory(home), &misnamed, false, true),
        (Roots::Directory(away), &site.settings, false, false),
        (Roots::File(stranger.authority.file.clone()), &misnamed, false, false),
    ] {
        for (name_check, trusted) in [(NameCheck::Required, strict), (NameCheck::AnyName, lenient)] {
            let settings = ClientSettings { roots: roots.clone(), name_check, ..ClientSettings::default() };
            let mut pair = site.pair(&settings, server);
            if trusted {
                pair.exchange(10);
            } else {
                pair.run_until(|pair| pair.client.ended() && pair.server.ended());
                let error = pair.client.error.unwrap().to_string();
                assert!(error.contains("certificate"), "{settings:?}: {error}");
            }
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let roots = Roots::Directory(empty.path().to_owned());
    let error = client_config(&ClientSettings { roots, ..ClientSettings::default() }).unwrap_err();
    assert!(error.reason.contains("no certificate") && error.hint.is_some(), "{error}");
}

#[test]
fn versions_and_protocols_without_a_match_are_refused() {
    let site = Site::new();
    let unknown = ClientSettings { alpn: vec![b"chat".to_vec()], ..site.client_settings() };
    let refused = handshake_error(site.pair(&unknown, &site.settings));
    assert!(refused.contains("protocol"), "{refused}");

    let modern = ServerSettings { minimum_version: MinimumVersion::Tls13, ..site.settings.clone() };
    let (client_socket, server_socket) = tcp_sockets();
    let old_only = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let pair = Pair::new(
        Transport::tls_client(client_socket, Arc::new(old_only), name).unwrap(),
        Transport::tls(server_socket, server_config(&modern).unwrap()).unwrap(),
    );
    let refused = handshake_error(pair);
    assert!(refused.contains("version") || refused.contains("Tls12"), "{refused}");
}

#[test]
fn certificates_are_exchanged_without_dropping_connections() {
    let site = Site::new();
    let config = ReloadableServerConfig::load(site.settings.clone()).unwrap();
    let connect = || {
        let (client_socket, server_socket) = tcp_sockets();
        let client = tls_client(client_socket, &site.client_settings());
        let mut pair = Pair::new(client, Transport::tls(server_socket, config.current()).unwrap());
        pair.exchange(1000);
        pair
    };
    let subject = |pair: &Pair| pair.client.transport.tls_info().unwrap().identity.unwrap().subject;
    let mut before = connect();
    // A certificate of the same authority under another subject, moved over the old files.
    let (certificate, key) = site.authority.issue("renewed");
    let renewed: Vec<(PathBuf, &PathBuf)> =
        vec![(certificate, &site.settings.certificate), (key, &site.settings.key)];
    for (from, to) in renewed {
        fs::rename(from, to).unwrap();
    }
    config.reload().unwrap();
    before.exchange(1000);
    assert_eq!(subject(&before), "CN=localhost");
    let (client_socket, server_socket) = tcp_sockets();
    let name = ServerName::try_from("renewed").unwrap();
    let client =
        Transport::tls_client(client_socket, client_config(&site.client_settings()).unwrap(), name).unwrap();
    let mut after = Pair::new(client, Transport::tls(server_socket, config.current()).unwrap());
    after.exchange(1000);
    assert_eq!(subject(&after), "CN=renewed");
}

#[test]
fn sessions_are_resumed_with_their_identity_but_not_across_a_reload() {
    let site = Site::new();
    let required = ClientAuth::Required { ca: site.authority.file.clone() };
    let config =
        ReloadableServerConfig::load(ServerSettings { client_auth: required, ..site.settings.clone() })
            .unwrap();
    let client = client_config(&site.with_certificate("device-7")).unwrap();
    let handshake_kind = || {
        let (client_socket, server_socket) = tcp_sockets();
        let name = ServerName::try_from("localhost").unwrap();
        let mut pair = Pair::new(
            Transport::tls_client(client_socket, Arc::clone(&client), name).unwrap(),
            Transport::tls(server_socket, config.current()).unwrap(),
        );
        pair.exchange(10);
        let identity = pair.server.transport.tls_info().unwrap().identity.unwrap();
        assert_eq!(identity.common_name.as_deref(), Some("device-7"));
        let tls = pair.server.transport.layers.as_ref().unwrap().tls.as_ref().unwrap();
        tls.connection.handshake_kind().unwrap()
    };
    assert_eq!(handshake_kind(), rustls::HandshakeKind::Full);
    assert_eq!(handshake_kind(), rustls::HandshakeKind::Resumed);
    config.reload().unwrap();
    assert_eq!(handshake_kind(), rustls::HandshakeKind::Full);
}

#[test]
fn what_is_not_tls_is_answered_with_an_alert() {
    let site = Site::new();
    let (client, server) = tcp_sockets();
    let server = Transport::tls(server, server_config(&site.settings).unwrap()).unwrap();
    let mut pair = Pair::new(Transport::plain(client), server);
    pair.client.outbox = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id".to_vec();
    pair.run_until(|pair| pair.server.ended() && !pair.client.inbox.is_empty());
    let error = pair.server.error.unwrap();
    assert!(error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()), "{error}");
    // Record type 21 is an alert.
    assert_eq!(pair.client.inbox[0], 21);
}

#[test]
fn goodbyes_are_exchanged_and_abrupt_ends_noticed() {
    let site = Site::new();
    let mut pair = site.pair(&site.client_settings(), &site.settings);
    pair.exchange(100_000);
    pair.client.outbox = pattern(50_000, 1);
    pair.run_until(|pair| pair.client.outbox.is_empty());
    pair.client.transport.close_notify();
    assert!(pair.client.transport.wants_write());
    pair.run_until(|pair| pair.server.closed);
    assert_eq!(pair.server.inbox, pattern(50_000, 1));
    assert_eq!(
        pair.client.transport.send(&[IoSlice::new(b"x")]).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );

    // Without a goodbye, in the middle of the stream and of the handshake.
    let mut pair = site.pair(&site.client_settings(), &site.settings);
    pair.exchange(10);
    assert!(pair.hang_up(stand_in()).ended());
    let pair = site.pair(&site.client_settings(), &site.settings);
    assert!(pair.hang_up(stand_in()).ended());
}

#[test]
fn a_connection_is_adopted_with_what_it_holds() {
    let site = Site::new();
    let (client, server) = unix_sockets();
    let mut client = tls_client(client, &site.client_settings());
    let mut connection = ServerConnection::new(server_config(&site.settings).unwrap()).unwrap();
    // The handshake, the request and the first bytes behind it pass before the transport exists.
    let crate::socket::StdSocket::Unix(mut stream) = server.into_std() else { panic!("a Unix socket") };
    client.send(&[IoSlice::new(b"request and more")]).unwrap();
    let mut scratch = [0; 1000];
    while connection.is_handshaking() {
        client.flush().unwrap();
        let _ = client.receive(&mut scratch).unwrap();
        let _ = connection.read_tls(&mut stream);
        connection.process_new_packets().unwrap();
        while connection.wants_write() {
            connection.write_tls(&mut stream).unwrap();
        }
    }
    client.flush().unwrap();
    let _ = connection.read_tls(&mut stream);
    connection.process_new_packets().unwrap();
    let mut request = [0; 8];
    io::Read::read_exact(&mut connection.reader(), &mut request).unwrap();
    connection.writer().write_all(b"response").unwrap();

    let mut server =
        Transport::from_tls_connection(crate::Socket::from_std_unix(stream).unwrap(), connection);
    assert_eq!(server.receive(&mut scratch).unwrap(), Received::More(8));
    assert_eq!(&scratch[..8], b"and more");
    assert!(server.wants_write());
    let mut pair = Pair::new(client, server);
    pair.run_until(|pair| pair.client.inbox == b"response");
    pair.client.inbox.clear();
    pair.exchange(100_000);
}

#[test]
fn tls_follows_behind_a_proxy_header() {
    let site = Site::new();
    let (client, server) = unix_sockets();
    let mut raw = Transport::plain(client);
    raw.send(&[IoSlice::new(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8883\r\n")]).unwrap();
    let client = tls_client(raw.socket, &site.client_settings());
    let server = Transport::plain(server)
        .expect_proxy(&TrustedProxies::default())
        .unwrap()
        .with_tls(server_config(&site.settings).unwrap())
        .unwrap();
    let mut pair = Pair::new(client, server);
    pair.exchange(100_000);
    assert_eq!(pair.server.transport.peer().to_string(), "192.0.2.7:50000 via unix");
}
