//! The HTTP listeners: health, readiness, metrics, the control API and the way to MQTT over WebSocket.
//!
//! They run on one thread with a runtime of its own, so that nothing here ever holds up a reactor, and a scrape
//! gets its answer while the reactors are busy. A WebSocket leaves this room as soon as its handshake is done:
//! its socket is taken out of the HTTP library and handed to a reactor as any other MQTT connection.
//!
//! Invariants: every connection is admitted by its listener and counted out exactly once, here or by the reactor
//! that took it over; what a stranger can make us hold is bounded in bytes and in time.
//!
//! - [`settings`]: what the configuration says about a listener.
//! - [`accept`]: accepting, PROXY header, TLS, then the requests of one connection.
//! - [`stream`]: the byte stream below HTTP, and taking it apart again.
//! - [`routes`]: which request gets which answer.
//! - [`answers`]: what answers look like.
//! - [`api`]: the control API.
//! - [`upgrade`]: from an upgrade request to a connection of a reactor.
//! - [`health`]: whether the server works and whether it wants clients.

pub mod accept;
pub mod answers;
mod api;
pub mod health;
pub mod routes;
pub mod settings;
pub mod stream;
pub mod upgrade;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use tercet_net::Listener;
use tokio::sync::oneshot;

use self::accept::Door;
use self::api::rates::Rates;
use crate::mqtt::settings::ListenerSettings;
use crate::shared::Shared;

/// Threads for what the control API does that takes long.
const WORKERS: usize = 4;

/// A listening socket that speaks HTTP, with its current settings.
pub struct HttpListener {
    /// The socket.
    pub socket: Listener,
    /// Settings for new connections; replaced on reload.
    pub settings: Arc<ArcSwap<ListenerSettings>>,
}

/// What all connections of the HTTP listeners share.
pub(crate) struct HttpContext {
    pub(crate) shared: Arc<Shared>,
    /// Connections of reactors above which WebSockets are refused.
    pub(crate) max_connections: usize,
    /// Rates of queues, for the control API.
    pub(crate) rates: Arc<Rates>,
}

/// The thread of the HTTP listeners. Dropping it closes them and every connection that is still theirs.
pub struct HttpServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Starts serving. `max_connections` bounds the connections of all reactors together.
    ///
    /// # Errors
    /// When the system refuses the thread or its event queue.
    pub fn start(
        listeners: Vec<HttpListener>,
        shared: Arc<Shared>,
        max_connections: usize,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(WORKERS)
            .thread_name("http-worker")
            .enable_all()
            .build()?;
        let context = Arc::new(HttpContext { shared, max_connections, rates: Arc::default() });
        {
            let _entered = runtime.enter();
            runtime.spawn(api::measure_rates(Arc::clone(&context)));
            for HttpListener { socket, settings } in listeners {
                let door = Door::open(socket)?;
                runtime.spawn(accept::accept_all(door, settings, Arc::clone(&context)));
            }
        }
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            // The sender is dropped without a word; either way it is over.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread has nothing to report; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}
