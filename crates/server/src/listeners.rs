//! Listeners: opening every socket of the configuration before anything is served.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use tercet_net::{ListenError, Listener as Socket, TcpOptions, UnixOptions};

use crate::config::{Bind, Config, Listener, Protocol};
use crate::http::HttpListener;
use crate::layers;
use crate::mqtt::settings::{Layers, ListenerSettings};
use crate::reactor::acceptor::BoundSocket;
use crate::server::StartError;

/// A listener that is open.
#[derive(Clone, Debug)]
pub struct BoundListener {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Where: `ip:port` with the real port, or `unix:/path`.
    pub address: String,
}

/// Settings of each listener, replaced on reload, and the count of its connections.
pub(crate) type SettingsByName = HashMap<String, (Arc<ArcSwap<ListenerSettings>>, Arc<AtomicUsize>)>;

/// Every listener, open but not served yet.
#[derive(Default)]
pub(crate) struct Doors {
    /// What people are told, in the order of the configuration.
    pub listeners: Vec<BoundListener>,
    /// Settings and counts by name.
    pub settings: SettingsByName,
    /// Sockets of the reactors.
    pub streams: Vec<BoundSocket>,
    /// Sockets of the HTTP thread.
    pub http: Vec<HttpListener>,
}

impl Doors {
    /// Binds every listener; the first that fails ends it.
    pub(crate) fn open(config: &Config) -> Result<Self, StartError> {
        let mut doors = Self::default();
        for listener in &config.listeners {
            let socket = bind(listener)?;
            let open = Arc::new(AtomicUsize::new(0));
            let settings =
                ListenerSettings::new(config, listener, layers(listener, None)?, Arc::clone(&open));
            let settings = Arc::new(ArcSwap::from_pointee(settings));
            doors.listeners.push(BoundListener {
                name: listener.name.clone(),
                protocol: listener.protocol,
                tls: listener.tls.is_some(),
                address: socket.address().to_string(),
            });
            doors.settings.insert(listener.name.clone(), (Arc::clone(&settings), open));
            match listener.protocol {
                Protocol::Mqtt | Protocol::Amqp => doors.streams.push(BoundSocket { socket, settings }),
                Protocol::Http | Protocol::Ws => doors.http.push(HttpListener { socket, settings }),
            }
        }
        Ok(doors)
    }

    /// Connections of each listener, by name, in the order of the configuration.
    pub(crate) fn counters(&self) -> Vec<(String, Arc<AtomicUsize>)> {
        let counter = |listener: &BoundListener| {
            let (_, open) = self.settings.get(&listener.name)?;
            Some((listener.name.clone(), Arc::clone(open)))
        };
        self.listeners.iter().filter_map(counter).collect()
    }
}

fn bind(listener: &Listener) -> Result<Socket, ListenError> {
    match &listener.bind {
        Bind::Tcp(address) => Socket::bind_tcp(&TcpOptions::new(*address)),
        Bind::Unix(path) => {
            Socket::bind_unix(&UnixOptions { mode: Some(listener.unix_mode.0), ..UnixOptions::new(path) })
        }
    }
}

/// Loads the layers of a listener, replacing those of a running one in place.
pub(crate) fn layers(listener: &Listener, running: Option<&Layers>) -> Result<Layers, StartError> {
    layers::load(listener, running)
        .map_err(|source| StartError::Tls { listener: listener.name.clone(), source })
}
