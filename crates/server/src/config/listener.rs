//! `[[listener]]`: one socket, what it speaks, who may use it and within which limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use super::address::{Bind, IpNet};
use super::choice::{
    Anonymous, CertificateUser, ClientAuth, Protocol, ProxyProtocol, ReceiveMaximumPolicy, TlsVersion,
};
use super::quantity::Size;
use super::schema::section;
use super::setting::{Fault, Limit, Setting, quote};

section! {
    /// A listener of your own; write the table as often as needed.
    Listener, "listener" {
        /// Name in logs, metrics and the ports file; unique. Default: the protocol and the number of the
        /// table, such as "mqtt-1".
        name: String = String::new() => Restart;
        /// What it speaks.
        protocol: Protocol = Protocol::Mqtt => Restart;
        /// Where it binds. Required.
        bind: Bind = Bind::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1883)) => Restart;
        /// Permissions of a Unix socket, in octal.
        unix_mode: FileMode = FileMode(0o660) => Restart;
        /// Who may connect without credentials. Default: as `auth.anonymous`.
        anonymous: Option<Anonymous> = None => NewConnections;
        /// Connections open at a time; further ones are closed at once.
        max_connections: Limit<NonZeroU32> = Limit::Off => NewConnections;
        /// Time a client has for its complete CONNECT, or until its AMQP connection is open, TLS and WebSocket
        /// handshakes included.
        connect_timeout: Duration = Duration::from_secs(10) => NewConnections,
            in Duration::from_millis(100)..=Duration::from_secs(600);
        /// Largest packet accepted and announced. Default: as `limits.max-packet-size`.
        max_packet_size: Option<Size> = None => NewConnections;
        /// QoS 1 and 2 publishes a client may have unacknowledged at a time (Receive Maximum).
        receive_maximum: NonZeroU16 = NonZeroU16::MIN.saturating_add(1023) => NewConnections;
        /// What happens to an MQTT 5 client that goes beyond it. MQTT 3 clients always wait.
        receive_maximum_policy: ReceiveMaximumPolicy = ReceiveMaximumPolicy::Enforce => NewConnections;
        /// Topic aliases a client may use (Topic Alias Maximum); 0 allows none.
        topic_alias_maximum: u16 = 32 => NewConnections;
        /// Longest keep alive granted (Server Keep Alive); clients that ask for more or for none get
        /// this. At most 65535 s. MQTT 3 clients are not told, but held to it.
        max_keep_alive: Limit<Duration> = Limit::Off => NewConnections;
        /// Refuse topics and strings with control characters or non-characters.
        strict_utf8: bool = false => NewConnections;
        /// PROXY protocol header that a load balancer puts before each connection.
        proxy_protocol: ProxyProtocol = ProxyProtocol::Off => NewConnections;
        /// Peers whose PROXY header is believed; connections from others are refused. Required with
        /// `proxy-protocol`.
        proxy_trusted: Vec<IpNet> = Vec::new() => NewConnections;
        /// File with pre-shared keys for DTLS, for "coap" listeners: one "identity:hexadecimal key" in each line.
        psk_file: Option<PathBuf> = None => Live;
        /// Path of MQTT over WebSocket on "http" and "ws" listeners; that of AMQP is `amqp.websocket-path`;
        /// CoAP is always at "/.well-known/coap".
        websocket_path: String = "/mqtt".to_owned() => NewConnections;
        /// Values of the Origin header accepted on WebSockets; empty accepts all.
        websocket_origins: Vec<String> = Vec::new() => NewConnections;
    }
    tables {
        /// `[listener.tls]`: present when the listener speaks TLS.
        tls: Tls;
        /// `[listener.redirect]`: present when clients are sent to another server.
        redirect: Redirect;
    }
}

section! {
    /// Certificate of a listener: under `[[listener]]` as `[listener.tls]`, or once as `[tls]` for the
    /// default TLS listeners. Files are read again on reload; open connections are not disturbed.
    Tls, "tls" {
        /// PEM file with the certificate chain, leaf first. Required.
        cert: PathBuf = PathBuf::new() => Live;
        /// PEM file with the private key. Required.
        key: PathBuf = PathBuf::new() => Live;
        /// PEM file with the authorities whose client certificates are accepted.
        client_ca: Option<PathBuf> = None => Live;
        /// Whether clients show a certificate. Other values than "off" need `client-ca`.
        client_auth: ClientAuth = ClientAuth::Off => Live;
        /// Part of the client certificate that becomes the username, in place of username and password.
        /// Needs `client-auth = "required"`.
        use_identity_as_username: CertificateUser = CertificateUser::Off => Live;
        /// Application protocols offered. A client that offers none of them is refused; one that offers
        /// no list is accepted. Empty: "mqtt" on MQTT listeners, "amqp" on AMQP
        /// listeners, "coap" on CoAP listeners, "http/1.1" on the others.
        alpn: Vec<String> = Vec::new() => Live;
        /// Oldest TLS version accepted.
        min_version: TlsVersion = TlsVersion::V1_2 => Live;
    }
}

section! {
    /// Sends every MQTT 5 client of a listener to another server (reason code 0x9C or 0x9D); MQTT 3
    /// clients are refused with return code 3.
    Redirect, "listener.redirect" {
        /// Server Reference told to the client, such as "other.example:1883". Required.
        reference: String = String::new() => NewConnections;
        /// 0x9D (Server moved) instead of 0x9C (Use another server).
        permanent: bool = false => NewConnections;
    }
}

/// Permission bits of a file, written in octal (`"0660"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Setting for FileMode {
    fn kind() -> String {
        "permissions in octal such as \"0660\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
        mode.map(Self).ok_or_else(|| Fault::new(format!("expected {}, found {}", Self::kind(), quote(text))))
    }

    fn to_toml(&self) -> Option<String> {
        Some(format!("\"{:04o}\"", self.0))
    }
}

impl Listener {
    /// Whether what is spoken is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some() || (self.protocol.is_datagrams() && self.psk_file.is_some())
    }
}
