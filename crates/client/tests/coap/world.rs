//! A server with something of everything, in this process.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tercet_client::coap::server::{
    Certificate, IntoReply, Observable, Path, Query, Reply, Request, Router, Server, State, get, observe,
    post, put,
};
use tercet_client::coap::{Client, Code, ContentFormat, Number, Tls};

/// What the handlers share, and what tests look at.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<Mutex<BTreeMap<String, Bytes>>>,
    pub(crate) temperature: Observable,
    /// How often a POST was carried out.
    pub(crate) posts: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::default(),
            temperature: Observable::new((ContentFormat::TEXT, "20")),
            posts: Arc::default(),
        }
    }

    /// A body that is no multiple of any block size and in which no two blocks are alike.
    pub(crate) fn body(length: usize) -> Bytes {
        (0..length).map(|at| (at % 251 + at / 1024) as u8).collect::<Vec<_>>().into()
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/hello", get(async || "hello").resource_type("greeting").title("A greeting"))
            .route("/store/{name}", get(read).put(write).delete(remove))
            .route("/big/{length}", get(big))
            .route("/echo", post(echo).fetch(echo).patch(echo).ipatch(echo))
            .route("/count", post(count))
            .route("/slow", get(slow))
            .route("/json", put(async || ()).consumes([ContentFormat::JSON]).get(json))
            .route("/query", get(query))
            .route("/temperature", observe(&self.temperature).resource_type("temperature"))
            .route("/refused", get(refused))
            .route("/busy", get(busy))
            .route("/fresh", get(fresh))
            .with_state(self.clone())
    }

    /// Serves until the runtime of the test ends: the address.
    pub(crate) async fn serve(&self, url: &str) -> String {
        self.start(Server::bind(url).await.unwrap())
    }

    /// As [`serve`](Self::serve), with a certificate for `localhost` in this directory.
    pub(crate) async fn serve_secured(&self, url: &str, directory: &FilePath) -> String {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = Certificate {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
            client_ca: None,
        };
        std::fs::write(&certificate.certificate, made.cert.pem()).unwrap();
        std::fs::write(&certificate.key, made.signing_key.serialize_pem()).unwrap();
        let url = self.start(Server::bind(url).await.unwrap().certificate(certificate));
        url.replace("127.0.0.1", "localhost")
    }

    fn start(&self, server: Server) -> String {
        let url = server.urls().remove(0);
        let router = self.router();
        tokio::spawn(async move { server.serve(router).await.unwrap() });
        url
    }
}

/// A client that trusts the certificate of [`World::serve_secured`].
pub(crate) async fn secured_client(url: &str, directory: &FilePath) -> Client {
    let tls = Tls { ca_file: Some(directory.join("certificate.pem")), ..Tls::default() };
    Client::builder(url).unwrap().tls(tls).connect().await.unwrap()
}

async fn read(Path(name): Path<String>, State(world): State<World>) -> Option<Bytes> {
    world.store.lock().unwrap().get(&name).cloned()
}

async fn write(Path(name): Path<String>, State(world): State<World>, body: Bytes) -> Code {
    match world.store.lock().unwrap().insert(name, body) {
        None => Code::CREATED,
        Some(_) => Code::CHANGED,
    }
}

async fn remove(Path(name): Path<String>, State(world): State<World>) {
    world.store.lock().unwrap().remove(&name);
}

async fn big(Path(length): Path<usize>) -> Bytes {
    World::body(length)
}

async fn echo(request: Request) -> Reply {
    let format = request.content_format().unwrap_or(ContentFormat::OCTET_STREAM);
    (format, request.payload().clone()).into_reply().code(Code::CONTENT)
}

async fn count(State(world): State<World>, body: Bytes) -> Reply {
    let number = world.posts.fetch_add(1, Ordering::SeqCst);
    Reply::new().code(Code::CREATED).location(&format!("/count/{number}/{}", body.len()))
}

async fn slow() -> &'static str {
    // Longer than an answer may take to travel in the acknowledgement.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    "at last"
}

async fn json() -> (ContentFormat, &'static str) {
    (ContentFormat::JSON, "{\"a\":1}")
}

async fn query(query: Query) -> String {
    format!("{}|{}", query.get("a").unwrap_or("-"), query.get("b").unwrap_or("-"))
}

async fn refused() -> (Code, &'static str) {
    (Code::FORBIDDEN, "not you")
}

async fn busy() -> Reply {
    Reply::error(Code::TOO_MANY_REQUESTS, "slow down").max_age(7)
}

/// As one that wants to know that who asks can be reached (RFC 9175 §2).
async fn fresh(request: Request) -> Reply {
    match request.options().get(Number::ECHO) {
        Some(b"prove it") => "fresh".into_reply(),
        _ => Reply::new().code(Code::UNAUTHORIZED).option(Number::ECHO, "prove it"),
    }
}
