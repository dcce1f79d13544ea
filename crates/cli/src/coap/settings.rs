//! What a command line means.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use tercet_client::coap::{Code, ContentFormat, Number, Tls, Token, Uri};

use super::format::{bytes, hex, percent_decoded};

/// A command line that clap could not judge; the text says what is wrong.
pub(super) type Usage = String;

/// A run.
pub(super) struct Settings {
    pub(super) connection: Connection,
    pub(super) job: Job,
}

/// How the peer is reached. Unused by `serve`.
#[derive(Default)]
pub(super) struct Connection {
    /// Of the peer: a server or a proxy.
    pub(super) url: String,
    pub(super) timeout: Option<Duration>,
    pub(super) max_message: Option<u32>,
    pub(super) uri_host: bool,
    pub(super) psk: Option<(String, Vec<u8>)>,
    pub(super) tls: Tls,
    /// File of an OSCORE context.
    pub(super) oscore: Option<PathBuf>,
}

/// What is to be done.
pub(super) enum Job {
    Request(Box<Request>),
    Observe(Box<Observe>),
    Discover(Discover),
    Ping(u64),
    Serve(Serve),
}

/// A request and what becomes of its answer.
pub(super) struct Request {
    pub(super) method: Code,
    /// Path and query.
    pub(super) path: String,
    /// What a proxy is asked for.
    pub(super) proxy_uri: Option<String>,
    pub(super) body: Body,
    pub(super) content_format: Option<ContentFormat>,
    pub(super) accept: Option<ContentFormat>,
    pub(super) options: Vec<(Number, Vec<u8>)>,
    pub(super) token: Option<Token>,
    pub(super) block: Option<(Option<u32>, usize)>,
    pub(super) hop_limit: Option<u8>,
    pub(super) confirmable: bool,
    pub(super) no_response: bool,
    pub(super) output: Output,
}

/// Where a body comes from.
pub(super) enum Body {
    None,
    Bytes(Vec<u8>),
    Stdin,
    File(PathBuf),
}

/// How answers are shown.
pub(super) struct Output {
    pub(super) file: Option<PathBuf>,
    pub(super) newline: bool,
    pub(super) verbose: bool,
    pub(super) json: bool,
}

/// An observation.
pub(super) struct Observe {
    pub(super) request: Request,
    pub(super) duration: Option<Duration>,
    pub(super) count: Option<u64>,
}

/// What there is.
pub(super) struct Discover {
    pub(super) uri: Uri,
    pub(super) patience: Duration,
    pub(super) json: bool,
}

/// A server.
pub(super) struct Serve {
    pub(super) directory: Option<PathBuf>,
    pub(super) bind: Vec<String>,
    pub(super) writable: bool,
    /// Certificate and key.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) psk_file: Option<PathBuf>,
    pub(super) oscore: Option<PathBuf>,
}

impl Settings {
    /// Understands what clap matched for a command.
    pub(super) fn understand(command: &str, matches: &ArgMatches) -> Result<Self, Usage> {
        if command == "serve" {
            return Ok(Self { connection: Connection::default(), job: Job::Serve(serve(matches)) });
        }
        let uri = uri(&text(matches, "uri").unwrap_or_default())?;
        let job = match command {
            "observe" => Job::Observe(Box::new(Observe {
                request: request(if on(matches, "fetch") { Code::FETCH } else { Code::GET }, &uri, matches)?,
                duration: value(matches, "duration"),
                count: value(matches, "count"),
            })),
            "discover" => Job::Discover(Discover {
                uri: uri.clone(),
                patience: value(matches, "duration").unwrap_or(Duration::from_secs(6)),
                json: on(matches, "json"),
            }),
            "ping" => Job::Ping(value(matches, "count").unwrap_or(1)),
            _ => Job::Request(Box::new(request(method(command)?, &uri, matches)?)),
        };
        Ok(Self { connection: connection(&uri, matches)?, job })
    }
}

fn method(command: &str) -> Result<Code, Usage> {
    Ok(match command {
        "get" => Code::GET,
        "put" => Code::PUT,
        "post" => Code::POST,
        "delete" => Code::DELETE,
        "fetch" => Code::FETCH,
        "patch" => Code::PATCH,
        "ipatch" => Code::IPATCH,
        other => return Err(format!("unknown command {other}")),
    })
}

/// A URI; one without a scheme is `coap://`.
fn uri(text: &str) -> Result<Uri, Usage> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("coap://{text}") };
    whole.parse().map_err(|error| format!("\"{text}\" is no address: {error}"))
}

fn connection(uri: &Uri, matches: &ArgMatches) -> Result<Connection, Usage> {
    let psk = match (text(matches, "user"), text(matches, "key")) {
        (user, Some(key)) => Some((user.unwrap_or_default(), bytes(&key)?)),
        (Some(_), None) => return Err("-u names a pre-shared key; give it with -k".into()),
        (None, None) => None,
    };
    let tls = Tls {
        ca_file: text(matches, "cafile").map(Into::into),
        cert: text(matches, "certificate").map(Into::into),
        key: text(matches, "key-file").map(Into::into),
        insecure: on(matches, "insecure"),
        ..Tls::default()
    };
    Ok(Connection {
        url: text(matches, "proxy").unwrap_or_else(|| uri.to_string()),
        timeout: value(matches, "wait"),
        max_message: value(matches, "max-message"),
        uri_host: !on(matches, "no-uri-host"),
        psk,
        tls,
        oscore: value(matches, "oscore"),
    })
}

fn request(method: Code, uri: &Uri, matches: &ArgMatches) -> Result<Request, Usage> {
    let shown = uri.to_string();
    let path = shown.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
    let mut options: Vec<(Number, Vec<u8>)> = values(matches, "option");
    for tag in values::<String>(matches, "etag") {
        options.push((Number::ETAG, hex(&tag)?));
    }
    for tag in values::<String>(matches, "if-match") {
        options.push((Number::IF_MATCH, hex(&tag)?));
    }
    if on(matches, "if-none-match") {
        options.push((Number::IF_NONE_MATCH, Vec::new()));
    }
    Ok(Request {
        method,
        path: path.unwrap_or("/").to_owned(),
        proxy_uri: text(matches, "proxy").map(|_| shown.clone()),
        body: body(matches)?,
        content_format: value(matches, "content-format"),
        accept: value(matches, "accept"),
        options,
        token: value(matches, "token"),
        block: value(matches, "block"),
        hop_limit: value(matches, "hop-limit"),
        confirmable: !on(matches, "non"),
        no_response: on(matches, "no-response"),
        output: Output {
            file: value::<PathBuf>(matches, "output").filter(|path| path.as_os_str() != "-"),
            newline: on(matches, "newline"),
            verbose: on(matches, "verbose"),
            json: on(matches, "json"),
        },
    })
}

fn body(matches: &ArgMatches) -> Result<Body, Usage> {
    if let Some(body) = text(matches, "body") {
        return Ok(Body::Bytes(body.into_bytes()));
    }
    if let Some(text) = text(matches, "text") {
        return Ok(Body::Bytes(percent_decoded(&text)?));
    }
    Ok(match value::<PathBuf>(matches, "file") {
        None => Body::None,
        Some(path) if path.as_os_str() == "-" => Body::Stdin,
        Some(path) => Body::File(path),
    })
}

fn serve(matches: &ArgMatches) -> Serve {
    let certificate = text(matches, "certificate").zip(text(matches, "key-file"));
    let mut bind: Vec<String> = values(matches, "bind");
    if bind.is_empty() {
        bind.push("coap://127.0.0.1:5683".into());
    }
    Serve {
        directory: value(matches, "directory"),
        bind,
        writable: on(matches, "writable"),
        certificate: certificate.map(|(certificate, key)| (certificate.into(), key.into())),
        psk_file: value(matches, "psk-file"),
        oscore: value(matches, "oscore"),
    }
}

fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Option<T> {
    matches.try_get_one::<T>(id).ok().flatten().cloned()
}

fn values<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<T> {
    matches.try_get_many::<T>(id).ok().flatten().map(|all| all.cloned().collect()).unwrap_or_default()
}

fn text(matches: &ArgMatches, id: &str) -> Option<String> {
    value(matches, id)
}

fn on(matches: &ArgMatches, id: &str) -> bool {
    value(matches, id).unwrap_or(false)
}
