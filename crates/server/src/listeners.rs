//! Listeners: opening every socket of the configuration before anything is served.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use tercet_net::{ListenError, Listener as Socket, TcpOptions, UnixOptions};

use crate::coap;
use crate::coap::udp::socket::UdpSocket;
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

/// The sockets of a listener that speaks in datagrams.
pub(crate) struct BoundDatagrams {
    /// One for each reactor that serves them.
    pub sockets: Vec<UdpSocket>,
    /// Those of multicast groups, for the first reactor.
    pub groups: Vec<UdpSocket>,
    /// Settings, replaced on reload.
    pub settings: Arc<ArcSwap<ListenerSettings>>,
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
    /// Sockets of datagrams, one for each reactor that serves them.
    pub datagrams: Vec<BoundDatagrams>,
    /// Sockets of the HTTP thread.
    pub http: Vec<HttpListener>,
}

impl Doors {
    /// Binds every listener, those of CoAP over UDP once for each reactor that serves them; the first that fails ends it.
    pub(crate) fn open(config: &Config, coap_reactors: usize) -> Result<Self, StartError> {
        let mut doors = Self::default();
        for listener in &config.listeners {
            let layers = match layers(listener, None) {
                // A certificate that serves the others must not keep them from starting.
                Err(error) if listener.name == "coaps" && config.coap.psk_file.is_none() => {
                    tracing::warn!(%error, "no CoAP over DTLS; to be silent about it set listen.coaps = \"off\"");
                    continue;
                }
                loaded => loaded?,
            };
            let socket = bind(listener, coap_reactors)?;
            let open = Arc::new(AtomicUsize::new(0));
            let settings = ListenerSettings::new(config, listener, layers, Arc::clone(&open));
            let settings = Arc::new(ArcSwap::from_pointee(settings));
            doors.listeners.push(BoundListener {
                name: listener.name.clone(),
                protocol: listener.protocol,
                tls: listener.is_encrypted(),
                address: socket.address(),
            });
            doors.settings.insert(listener.name.clone(), (Arc::clone(&settings), open));
            match (socket, listener.protocol) {
                (Door::Datagrams(sockets), _) => {
                    let address = sockets.first().map(|socket| socket.address);
                    let joins = config.coap.discovery && !listener.is_encrypted();
                    let groups = address.filter(|_| joins).map(coap::udp::socket::join_groups).transpose()?;
                    let groups = groups.unwrap_or_default();
                    doors.datagrams.push(BoundDatagrams { sockets, groups, settings });
                }
                (Door::Stream(socket), Protocol::Http | Protocol::Ws) => {
                    doors.http.push(HttpListener { socket, settings });
                }
                (Door::Stream(socket), _) => doors.streams.push(BoundSocket { socket, settings }),
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

/// What a listener is bound to.
enum Door {
    Stream(Socket),
    Datagrams(Vec<UdpSocket>),
}

impl Door {
    fn address(&self) -> String {
        match self {
            Self::Stream(socket) => socket.address().to_string(),
            Self::Datagrams(sockets) => {
                sockets.first().map(|socket| socket.address.to_string()).unwrap_or_default()
            }
        }
    }
}

fn bind(listener: &Listener, reactors: usize) -> Result<Door, ListenError> {
    match &listener.bind {
        Bind::Tcp(address) if listener.protocol.is_datagrams() => {
            coap::udp::socket::bind(*address, reactors).map(Door::Datagrams)
        }
        Bind::Tcp(address) => Socket::bind_tcp(&TcpOptions::new(*address)).map(Door::Stream),
        Bind::Unix(path) => {
            Socket::bind_unix(&UnixOptions { mode: Some(listener.unix_mode.0), ..UnixOptions::new(path) })
                .map(Door::Stream)
        }
    }
}

/// Loads the layers of a listener, replacing those of a running one in place.
pub(crate) fn layers(listener: &Listener, running: Option<&Layers>) -> Result<Layers, StartError> {
    layers::load(listener, running)
        .map_err(|source| StartError::Tls { listener: listener.name.clone(), source })
}
