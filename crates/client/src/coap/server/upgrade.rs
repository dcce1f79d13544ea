//! The server's side of the WebSocket handshake: just so much HTTP as that takes.

use tercet_net::websocket::{self, OriginPolicy, Role, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::dial::Io;
use super::super::websocket::{Framing, PATH, SUBPROTOCOL};

/// Longest request.
const MAX_REQUEST: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// Reads the request and agrees; `None` after a refusal, or when the connection broke.
pub(super) async fn accept(io: &mut Box<dyn Io>, limit: usize) -> Option<Framing> {
    let mut received = Vec::new();
    let (answer, agreed) = loop {
        let mut chunk = [0; 1024];
        match io.read(&mut chunk).await.ok()? {
            0 => return None,
            n => received.extend_from_slice(chunk.get(..n)?),
        }
        match judge(&received) {
            Some(judged) => break judged,
            None if received.len() >= MAX_REQUEST => return None,
            None => {}
        }
    };
    io.write_all(answer.as_bytes()).await.ok()?;
    io.flush().await.ok()?;
    let early = received.split_off(agreed?);
    Some(Framing::new(Role::Server, early, limit))
}

/// The answer to a request, and the length of the request if it is agreed to; `None` while it is incomplete.
fn judge(received: &[u8]) -> Option<(String, Option<usize>)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some((status(400, "Bad Request", None), None)),
    };
    if request.path.and_then(|path| path.split('?').next()) != Some(PATH) {
        return Some((status(404, "Not Found", None), None));
    }
    let options = ServerOptions {
        subprotocols: vec![SUBPROTOCOL.to_owned()],
        require_subprotocol: true,
        origins: OriginPolicy::default(),
    };
    let headers = request.headers.iter().map(|header| (header.name, header.value));
    match websocket::accept(request.method.unwrap_or_default(), headers, &options) {
        Ok(accepted) => {
            let mut answer = String::from("HTTP/1.1 101 Switching Protocols\r\n");
            for (name, value) in accepted.headers() {
                answer.extend([name, ": ", value, "\r\n"]);
            }
            answer.push_str("\r\n");
            Some((answer, Some(length)))
        }
        Err(refusal) => Some((status(refusal.status(), "Refused", refusal.header()), None)),
    }
}

fn status(code: u16, reason: &str, header: Option<(&str, &str)>) -> String {
    let extra = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 {code} {reason}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n")
}
