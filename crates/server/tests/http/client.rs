//! A server on free ports, and a client that writes bytes and reads answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tercet_net::tls::{ClientSettings, Roots, client_config};
use tercet_server::config::setting::Setting;
use tercet_server::config::{Bind, Config, IpNet, Listener, Protocol, Tls};
use tercet_server::{RunningServer, Server};

/// Longest wait for anything; reaching it fails the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A running server with an "http" listener, and more if asked for.
pub(crate) fn start(change: impl FnOnce(&mut Config)) -> RunningServer {
    let mut config = Config::on_free_ports();
    change(&mut config);
    Server::start(config).unwrap()
}

/// A listener on a free port of the loopback address.
pub(crate) fn listener(name: &str, protocol: Protocol) -> Listener {
    let bind = Bind::Tcp("127.0.0.1:0".parse().unwrap());
    Listener { name: name.to_owned(), protocol, bind, ..Listener::default() }
}

/// The HTTP listener of the default configuration, to be changed.
pub(crate) fn http(config: &mut Config) -> &mut Listener {
    config.listeners.iter_mut().find(|listener| listener.protocol == Protocol::Http).unwrap()
}

pub(crate) fn network(text: &str) -> IpNet {
    IpNet::from_text(text).unwrap_or_else(|_| panic!("{text} is a network"))
}

pub(crate) fn address(server: &RunningServer, name: &str) -> String {
    server.listeners().iter().find(|listener| listener.name == name).unwrap().address.clone()
}

pub(crate) fn connect(server: &RunningServer, name: &str) -> TcpStream {
    let stream = TcpStream::connect(address(server, name)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A certificate for "localhost" that is its own authority, and the listener section that uses it.
pub(crate) fn certificate(directory: &Path) -> Tls {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (cert, key_file) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    Tls { cert, key: key_file, ..Tls::default() }
}

pub(crate) fn connect_tls(server: &RunningServer, name: &str, tls: &Tls) -> impl Stream + use<> {
    let settings = ClientSettings { roots: Roots::File(tls.cert.clone()), ..ClientSettings::default() };
    let config = client_config(&settings).unwrap();
    let session =
        rustls::ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
    rustls::StreamOwned::new(session, connect(server, name))
}

/// An answer, its body read as long as its length says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads one answer and nothing behind it.
    pub(crate) fn read(stream: &mut dyn Stream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(
                stream.read(&mut byte).unwrap(),
                1,
                "closed after {:?}",
                String::from_utf8_lossy(&head)
            );
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) fn request(server: &RunningServer, name: &str, request: &str) -> Answer {
    let mut stream = connect(server, name);
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(&mut stream)
}

pub(crate) fn get(server: &RunningServer, path: &str) -> Answer {
    request(server, "http", &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// Waits until a counter has reached what is expected of it.
pub(crate) fn eventually<T: PartialEq + std::fmt::Debug>(expected: T, mut read: impl FnMut() -> T) {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = read();
        if found == expected {
            return;
        }
        assert!(Instant::now() < end, "found {found:?}, expected {expected:?}");
        thread::sleep(Duration::from_millis(2));
    }
}
