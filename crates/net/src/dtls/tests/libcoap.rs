//! The tools of libcoap at our side of DTLS, with OpenSSL and with GnuTLS (Debian's libcoap3-bin).

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::network::{Client, Seen, Server};
use crate::dtls::DtlsLimits;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every confirmable request with 2.05 and `payload`.
fn answer(request: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let (&[first, _, high, low], rest) = request.split_first_chunk()?;
    let token = rest.get(..usize::from(first & 15))?;
    let header = [0x60 | first & 15, 0x45, high, low];
    Some([&header[..], token, &[0xff], payload].concat())
}

/// Serves until the command ends; gives what it printed.
fn serve(server: &mut Server, command: impl FnOnce(SocketAddr) -> Command) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut command = command(socket.local_addr().unwrap());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("libcoap3-bin is needed");
    let began = Instant::now();
    let mut buffer = [0; 2048];
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "{command:?} hangs");
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                server.now = Instant::now();
                server.receive(from, &buffer[..length]);
                for (association, request) in std::mem::take(&mut server.seen.received) {
                    let (_, identity) = server.seen.opened.last().unwrap();
                    if let Some(answer) = answer(&request, format!("{identity:?}").as_bytes()) {
                        server.send(association, &answer);
                    }
                }
                send_all(&socket, &mut server.seen);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn send_all(socket: &UdpSocket, seen: &mut Seen) {
    while let Some((to, datagram)) = seen.sent.pop_front() {
        socket.send_to(&datagram, to).unwrap();
    }
}

#[test]
fn their_clients_get_in_with_a_shared_key() {
    for tool in ["coap-client-openssl", "coap-client-gnutls"] {
        let mut server = Server::new(DtlsLimits::default());
        std::fs::write(server.directory.path().join("keys"), "device:736573616d65").unwrap();
        server.config.reload().unwrap();
        for (key, words) in [("sesame", "PreSharedKey(\"device\")"), ("wrong", "")] {
            let output = serve(&mut server, |at| {
                let mut command = Command::new(tool);
                command.args(["-B", "5", "-u", "device", "-k", key, &format!("coaps://{at}/x")]);
                command
            });
            let admitted = output.contains("PreSharedKey");
            assert!(output.contains(words) && admitted == (key == "sesame"), "{tool} {key}: {output}");
        }
    }
}

#[test]
fn their_clients_get_in_with_a_certificate() {
    for tool in ["coap-client-openssl", "coap-client-gnutls"] {
        let mut server = Server::new(DtlsLimits::default());
        let (certificate, key) = server.authority.issue("device-7");
        let authority = server.authority.file.clone();
        let output = serve(&mut server, |at| {
            let mut command = Command::new(tool);
            command.args(["-B", "5", "-C"]).arg(&authority).arg("-c").arg(&certificate);
            command.arg("-j").arg(&key).arg(format!("coaps://localhost:{}/x", at.port()));
            command
        });
        assert!(output.contains("device-7"), "{tool}: {output}");
    }
}

/// A server of theirs, ended with the test.
struct TheirServer(Child);

impl Drop for TheirServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts their server; its DTLS port is the one after the port it is given.
fn start(arguments: &[&std::ffi::OsStr]) -> (TheirServer, SocketAddr) {
    // Two neighbouring ports that are free now.
    let port = loop {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if first < u16::MAX && UdpSocket::bind(("127.0.0.1", first + 1)).is_ok() {
            break first;
        }
    };
    let mut command = Command::new("coap-server-openssl");
    command.args(["-A", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("libcoap3-bin is needed");
    (TheirServer(child), SocketAddr::from(([127, 0, 0, 1], port + 1)))
}

/// Handshakes with a server and asks it for its root resource.
fn ask(to: SocketAddr, config: &crate::dtls::DtlsClientConfig) -> Vec<u8> {
    const GET: [u8; 5] = [0x41, 0x01, 0x12, 0x34, 0x77];
    let began = Instant::now();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut client = Client::new(config, 1, began);
    client.send(&GET, began);
    let mut buffer = [0; 2048];
    while client.received.is_empty() {
        assert!(began.elapsed() < PATIENCE && client.error.is_none(), "{:?}", client.error);
        while let Some(datagram) = client.sent.pop_front() {
            socket.send_to(&datagram, to).unwrap();
        }
        match socket.recv_from(&mut buffer) {
            Ok((length, _)) => {
                client.with(|session, on| session.receive(&buffer[..length], Instant::now(), on))
            }
            // Nothing listens there yet: the hello is repeated.
            Err(_) => client.with(|session, on| session.run_due(Instant::now(), on)),
        }
    }
    client.received.remove(0)
}

#[test]
fn our_client_gets_in_at_their_server() {
    let ours = Server::new(DtlsLimits::default());
    let (certificate, key) = ours.authority.issue("127.0.0.1");
    let shared: [&std::ffi::OsStr; 2] = ["-k".as_ref(), "sesame".as_ref()];
    let (_server, at) = start(&shared);
    let answer = ask(at, &ours.psk("device", b"sesame"));
    assert_eq!(answer[..5], [0x61, 0x45, 0x12, 0x34, 0x77], "{answer:x?}");

    let certified = [
        "-c".as_ref(),
        certificate.as_os_str(),
        "-j".as_ref(),
        key.as_os_str(),
        "-C".as_ref(),
        ours.authority.file.as_os_str(),
    ];
    let (_server, at) = start(&certified);
    let answer = ask(at, &ours.certified(Some(&ours.authority), "127.0.0.1"));
    assert_eq!(answer[..5], [0x61, 0x45, 0x12, 0x34, 0x77], "{answer:x?}");
}
