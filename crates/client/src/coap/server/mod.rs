//! A CoAP server: routes, handlers, observable resources.
//!
//! ```no_run
//! # async fn example() -> tercet_client::coap::Result<()> {
//! use std::sync::{Arc, Mutex};
//! use tercet_client::coap::server::{Observable, Path, Router, Server, State, get, observe};
//!
//! async fn read(Path(name): Path<String>, State(lamps): State<Arc<Mutex<Vec<String>>>>) -> Option<&'static str> {
//!     lamps.lock().ok()?.contains(&name).then_some("on")
//! }
//!
//! let temperature = Observable::new("21.5");
//! let router = Router::new()
//!     .route("/lamp/{name}", get(read))
//!     .route("/temperature", observe(&temperature).resource_type("temperature-c"))
//!     .with_state(Arc::new(Mutex::new(vec!["kitchen".to_owned()])));
//! let server = Server::bind("coap://127.0.0.1:5683").await?.and("coap+tcp://127.0.0.1:5683").await?;
//! server.serve(router).await
//! # }
//! ```
//!
//! A [`Router`] finds the handlers of a path in a `MethodRouter`; `handler` and `extract` turn async functions into
//! handlers, and `reply` what they give into answers. `service` is the way of a request through all of these, `blocks`
//! the transfer of large bodies, `relation` one observer, `well_known` the list of resources. [`Server`] listens:
//! `datagram` over UDP, with `secure` over DTLS, `stream` over TCP, TLS and WebSocket (whose handshake is `upgrade`).

mod blocks;
mod datagram;
mod extract;
mod handler;
mod listen;
mod method_router;
mod observable;
mod relation;
mod reply;
mod request;
mod router;
mod secure;
mod service;
mod stream;
mod upgrade;
mod well_known;

pub use extract::{Accept, FromParameters, FromRequest, Path, Query, State};
pub use handler::Handler;
pub use listen::{Certificate, Server};
pub use method_router::{MethodRouter, delete, fetch, get, ipatch, observe, patch, post, put};
pub use observable::{Observable, Trigger};
pub use reply::{IntoReply, Reply};
pub use request::{Peer, Request};
pub use router::Router;
