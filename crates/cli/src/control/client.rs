//! One request of HTTP/1.1 and its answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::StreamOwned;
use serde_json::Value;
use tercet_net::tls::{ClientSettings, NameCheck, Roots, client_config};

use super::connection::{Connection, Tls};
use crate::exit::{Exit, Failure};
use crate::pubsub::base64;

/// Longest answer in bytes.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// How long connecting and each read may take. Purging or moving millions of messages takes a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Sends a request and gives the JSON of its answer; `null` for an answer without a body.
pub(super) fn send(
    connection: &Connection,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let mut stream = connect(connection)?;
    let answer = exchange(&mut *stream, &request(connection, method, path, body));
    let answer = answer.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::failed("the broker did not answer in time").exit_with(Exit::TimedOut)
        }
        _ => Failure::failed(format!("the connection to {} broke: {error}", place(connection)))
            .exit_with(Exit::Unreachable),
    })?;
    let (status, content) = parse(&answer).ok_or_else(|| {
        Failure::failed(format!("{} does not answer as the control API does", place(connection)))
            .hint("name the HTTP port of the broker with -p PORT")
            .exit_with(Exit::Unreachable)
    })?;
    let value =
        if content.is_empty() { Value::Null } else { serde_json::from_slice(content).unwrap_or_default() };
    if (200..300).contains(&status) { Ok(value) } else { Err(refusal(status, &value)) }
}

fn place(connection: &Connection) -> String {
    let scheme = if connection.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", authority(connection))
}

fn authority(connection: &Connection) -> String {
    let Connection { host, port, .. } = connection;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn connect(connection: &Connection) -> Result<Box<dyn Stream>, Failure> {
    let unreachable = |error: io::Error| {
        Failure::failed(format!("cannot reach {}: {error}", place(connection)))
            .hint("is the broker running there? its start-up lines name the HTTP address")
            .exit_with(Exit::Unreachable)
    };
    let tcp = open(connection).map_err(unreachable)?;
    let Some(tls) = &connection.tls else { return Ok(Box::new(tcp)) };
    let broken = |why: String| Failure::failed(format!("TLS: {why}")).exit_with(Exit::Unreachable);
    let config = client_config(&settings(tls)).map_err(|error| broken(error.to_string()))?;
    let name = connection.host.clone().try_into().map_err(|_| broken("the host is no name".to_owned()))?;
    let session = rustls::ClientConnection::new(config, name).map_err(|error| broken(error.to_string()))?;
    Ok(Box::new(StreamOwned::new(session, tcp)))
}

fn settings(tls: &Tls) -> ClientSettings {
    ClientSettings {
        roots: tls.authorities.clone().map_or(Roots::System, Roots::File),
        name_check: if tls.any_name { NameCheck::AnyName } else { NameCheck::Required },
        alpn: vec![b"http/1.1".to_vec()],
        ..ClientSettings::default()
    }
}

fn open(connection: &Connection) -> io::Result<TcpStream> {
    use std::net::ToSocketAddrs as _;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (connection.host.as_str(), connection.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(CONNECT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn request(connection: &Connection, method: &str, path: &str, body: Option<&Value>) -> Vec<u8> {
    let credentials = base64(format!("{}:{}", connection.user, connection.password).as_bytes());
    let body = body.map(Value::to_string).unwrap_or_default();
    format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {credentials}\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        authority(connection),
        body.len()
    )
    .into_bytes()
}

/// The whole answer: the broker closes behind it.
fn exchange(stream: &mut dyn Stream, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        // A TLS connection that ends without saying so: the length of the body tells whether something is missing.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// Status and body of an answer; `None` if it is not HTTP, or not whole.
fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some((status, body.get(..length.unwrap_or(0))?))
}

/// What the broker says went wrong, with its hint and the exit code that fits.
fn refusal(status: u16, value: &Value) -> Failure {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let what = text("text").or(text("error")).unwrap_or("the broker refused");
    let exit = match status {
        401 | 403 | 429 => Exit::Refused,
        400 => Exit::Usage,
        _ => Exit::Failed,
    };
    let failure = Failure::failed(what).exit_with(exit);
    match text("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let cases: [(&str, Option<(u16, &str)>); 7] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Some((200, "{}"))),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, ""))),
            ("HTTP/1.0 404 Not Found\r\ncontent-length:3\r\n\r\nabcd", Some((404, "abc"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None),
            ("AMQP\0\0\x09\x01\r\n\r\n", None),
            ("", None),
        ];
        for (answer, expected) in cases {
            let expected = expected.map(|(status, body)| (status, body.as_bytes()));
            assert_eq!(parse(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[test]
    fn refusals_have_the_words_and_exit_codes_of_their_kind() {
        let value = serde_json::json!({"code": "x", "text": "no", "hint": "do"});
        for (status, exit) in [
            (401, Exit::Refused),
            (403, Exit::Refused),
            (400, Exit::Usage),
            (404, Exit::Failed),
            (503, Exit::Failed),
        ] {
            let failure = refusal(status, &value);
            assert_eq!(
                (failure.exit(), failure.to_string().as_str()),
                (exit, "error: no\nhint: do"),
                "{status}"
            );
        }
    }
}
