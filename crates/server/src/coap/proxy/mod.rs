//! Proxies (RFC 7252 §5.7, RFC 8075): requests that other servers answer. Off unless the configuration names the hosts.
//!
//! A forward proxy asks whom the request names, a reverse proxy whom the configuration names for its path, and HTTP
//! clients find both below `/hc/`. All of them go the same way: to a [`target`] that the [`policy`] allows, from the
//! [`cache`] if that has a fresh answer, else [`upstream`]. Reactors never wait: each exchange with another server has a
//! thread and a socket of its own, both bounded in number and time.
//!
//! Blocks, Observe and No-Response end here: bodies are put together on both sides, and a proxied resource cannot be
//! observed. Servers are asked over UDP alone.

mod cache;
pub mod http;
mod policy;
mod resources;
mod target;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::cache::Cache;
use self::policy::Policy;
pub use self::resources::serve;
use super::answer::{Lease, Places};
use crate::config::Config;

/// The proxies of a server.
#[derive(Debug)]
pub struct Proxy {
    policy: Policy,
    cache: Mutex<Cache>,
    /// Places for exchanges with other servers.
    exchanges: Arc<Places>,
    timeout: Duration,
    max_body: usize,
    http: bool,
}

/// Most exchanges with other servers at a time.
const MOST_EXCHANGES: u32 = 64;

impl Proxy {
    /// The proxies that the configuration asks for.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let section = &config.coap;
        Proxy {
            policy: Policy::new(&section.proxy_hosts, &section.proxy_paths),
            cache: Mutex::new(Cache::new(section.proxy_cache.as_usize())),
            exchanges: Arc::new(Places::new(Some(MOST_EXCHANGES))),
            timeout: section.proxy_timeout,
            max_body: section.max_body.as_usize(),
            http: section.proxy_http,
        }
    }

    /// Whether requests that name another server are taken.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.policy.forwards()
    }

    /// Whether any request may be for another server.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.policy.is_on()
    }

    /// Whether HTTP clients may use it.
    #[must_use]
    pub fn serves_http(&self) -> bool {
        self.http && self.forwards()
    }

    /// A place for an exchange, unless all are taken.
    fn place(&self) -> Option<Lease> {
        Lease::take(&self.exchanges)
    }
}
