//! `serve`: files for reading, or resources in memory.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tercet_client::coap::server::{
    Certificate, IntoReply, Observable, Reply, Request, Router, Server, State, Trigger, get, observe,
};
use tercet_client::coap::{Code, ContentFormat, Error, Oscore};

use super::exit::Outcome;
use super::settings::Serve;
use crate::output::talk;

/// Resources in memory: no more than these.
const RESOURCES: usize = 10_000;

pub(super) async fn run(job: &Serve) -> Outcome {
    match serve(job).await {
        Ok(()) => Outcome::Done,
        Err(error) => error.into(),
    }
}

async fn serve(job: &Serve) -> Result<(), Error> {
    let mut addresses = job.bind.iter();
    let first = addresses.next().map_or("coap://127.0.0.1:5683", String::as_str);
    let mut server = Server::bind(first).await?;
    for address in addresses {
        server = server.and(address).await?;
    }
    if let Some((certificate, key)) = &job.certificate {
        let (certificate, key) = (certificate.clone(), key.clone());
        server = server.certificate(Certificate { certificate, key, client_ca: None });
    }
    if let Some(file) = &job.psk_file {
        server = server.psk_file(file);
    }
    if let Some(file) = &job.oscore {
        server = server.oscore(Oscore::load(file)?);
    }
    for url in server.urls() {
        talk(&format!("serving at {url}/"));
    }
    let router = match &job.directory {
        Some(directory) => files(directory),
        None => memory(job.writable),
    };
    server.serve(router).await
}

/// The files below a directory, without those whose name begins with a dot.
fn files(directory: &Path) -> Router {
    let root = directory.to_owned();
    let read = async |State(root): State<PathBuf>, request: Request| match file(&root, request.path()) {
        Some(path) => match tokio::task::spawn_blocking(move || std::fs::read(path)).await {
            Ok(Ok(bytes)) => (format_of(request.path()), bytes).into_reply(),
            _ => Code::NOT_FOUND.into_reply(),
        },
        None => Code::NOT_FOUND.into_reply(),
    };
    Router::new().route("/{*path}", get(read)).with_state(root)
}

/// The file that a path means; segments cannot lead out of the directory.
fn file(root: &Path, path: &[String]) -> Option<PathBuf> {
    let mut file = root.to_owned();
    for segment in path {
        let mut parts = Path::new(segment).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(name)), None) if !segment.starts_with('.') => file.push(name),
            _ => return None,
        }
    }
    Some(file)
}

fn format_of(path: &[String]) -> ContentFormat {
    let extension = path.last().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    match extension {
        Some("txt" | "md" | "log" | "toml") => ContentFormat::TEXT,
        Some("json") => ContentFormat::JSON,
        Some("cbor") => ContentFormat::CBOR,
        Some("xml") => ContentFormat::XML,
        _ => ContentFormat::OCTET_STREAM,
    }
}

/// Resources that clients create.
#[derive(Clone, Default)]
struct Memory {
    resources: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// Of all resources: an observer of one is told of it again when another changes.
    changes: Trigger,
}

fn memory(writable: bool) -> Router {
    let read = async |State(memory): State<Memory>, request: Request| memory.read(&request);
    let write = async |State(memory): State<Memory>, request: Request| memory.write(&request);
    let remove = async |State(memory): State<Memory>, request: Request| memory.remove(&request);
    let hello = Observable::new("tercet coap serve");
    let router = Router::new().route("/", observe(&hello));
    let mut methods = get(read);
    if writable {
        methods = methods.put(write).post(write).delete(remove);
    }
    let memory = Memory::default();
    router.route("/{*path}", methods.observed(&memory.changes)).with_state(memory)
}

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> T {
        work(&mut self.resources.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, request: &Request) -> Option<Bytes> {
        self.with(|resources| resources.get(&request.path().join("/")).cloned())
    }

    fn write(&self, request: &Request) -> Reply {
        let name = request.path().join("/");
        let before = self.with(|resources| {
            if resources.len() >= RESOURCES && !resources.contains_key(&name) {
                return Err(Reply::error(Code::SERVICE_UNAVAILABLE, "there are too many resources"));
            }
            Ok(resources.insert(name, request.payload().clone()))
        });
        self.changes.notify();
        match before {
            Ok(None) => Code::CREATED.into_reply(),
            Ok(Some(_)) => Code::CHANGED.into_reply(),
            Err(refusal) => refusal,
        }
    }

    fn remove(&self, request: &Request) {
        self.with(|resources| _ = resources.remove(&request.path().join("/")));
        self.changes.notify();
    }
}
