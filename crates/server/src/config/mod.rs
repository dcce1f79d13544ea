//! Configuration: what can be set, where a value came from, and every mistake at once.
//!
//! One declarative schema (the `section!` tables in [`server`], [`listen`], [`listener`], [`limits`],
//! [`mqtt`], [`amqp`], [`coap`], [`auth`] and [`log`]) is the only place that knows a key. Parsing, defaults, environment
//! names, the file of `tercet config init`, `tercet config show` and `docs/configuration.md` are all
//! generated from it.
//!
//! Precedence: flag, then environment (`TERCET_SECTION__KEY`), then TOML file, then default. Loading
//! never stops at the first mistake: [`load()`] reports all of them, each with its place.
//!
//! A loaded [`Config`] is consistent: every cross-field rule of [`check`] holds, and
//! [`Config::listeners`] already contains the default listeners with bind address and port offset
//! applied.

pub mod address;
pub mod amqp;
pub mod auth;
pub mod check;
pub mod choice;
pub mod coap;
pub mod document;
pub mod limits;
pub mod listen;
pub mod listener;
pub mod load;
pub mod log;
mod memory;
pub mod mqtt;
pub mod problem;
mod proxied;
pub mod quantity;
pub mod reload;
pub mod schema;
pub mod server;
pub mod setting;
pub mod show;
mod suggest;
pub mod tables;

pub use address::{Bind, IpNet, ListenAddress};
pub use amqp::Amqp;
pub use auth::Auth;
pub use choice::{
    Anonymous, CertificateUser, ClientAuth, Durability, Level, LogFormat, MaxQos, MqttVersion, Overflow,
    Protocol, ProxyProtocol, ReceiveMaximumPolicy, SharedStrategy, SlowSubscriber, TlsVersion, TopicForm,
};
pub use coap::Coap;
pub use limits::Limits;
pub use listen::Listen;
pub use listener::{Listener, Redirect, Tls};
pub use load::{File, Flag, Loaded, Sources, load};
pub use log::{Log, ModuleLevels};
pub use mqtt::Mqtt;
pub use problem::{ConfigErrors, Origin, Origins, Problem};
pub use proxied::{HostPattern, ProxiedHost, ProxiedPath};
pub use quantity::Size;
pub use reload::Reloaded;
pub use server::Server;
pub use setting::{Auto, Limit, Setting};

/// A complete, consistent configuration. [`Config::default`] is what `tercet serve` runs with when
/// nothing is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`: the process as a whole.
    pub server: Server,
    /// `[listen]`: addresses of the default listeners. Already resolved into [`Config::listeners`];
    /// the server reads only those.
    pub listen: Listen,
    /// `[tls]`: certificate of the default TLS listeners; `None` leaves them closed.
    pub tls: Option<Tls>,
    /// Every listener to open: the default ones and each `[[listener]]`.
    pub listeners: Vec<Listener>,
    /// `[limits]`: bounds on what clients can make the broker hold or do.
    pub limits: Limits,
    /// `[mqtt]`: protocol features offered.
    pub mqtt: Mqtt,
    /// `[amqp]`: what AMQP clients are told and granted.
    pub amqp: Amqp,
    /// `[coap]`: what CoAP clients are granted.
    pub coap: Coap,
    /// `[auth]`: who may connect and do what.
    pub auth: Auth,
    /// `[log]`: what is logged and how.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            server: Server::default(),
            listen: Listen::default(),
            tls: None,
            listeners: Vec::new(),
            limits: Limits::default(),
            mqtt: Mqtt::default(),
            amqp: Amqp::default(),
            coap: Coap::default(),
            auth: Auth::default(),
            log: Log::default(),
        };
        config.listeners = config.listen.default_listeners(None, None);
        config
    }
}

impl Config {
    /// The defaults with every listener on a free port of 127.0.0.1 and nothing kept on disk: what a
    /// test or an embedded broker wants.
    pub fn on_free_ports() -> Self {
        let mut config = Self::default();
        config.server.durability = Durability::Memory;
        let any = ListenAddress::At { ip: None, port: 0 };
        config.listen.mqtt = any;
        config.listen.http = any;
        config.listen.amqp = any;
        config.listen.coap = any;
        config.listeners = config.listen.default_listeners(None, None);
        config
    }

    /// Largest packet accepted on `listener`: its own value or that of `[limits]`.
    pub fn max_packet_size(&self, listener: &Listener) -> Size {
        listener.max_packet_size.unwrap_or(self.limits.max_packet_size)
    }

    /// Who may connect to `listener` without credentials: its own rule or that of `[auth]`. A listener that
    /// other machines reach is never opened by [`Anonymous::Loopback`]: there it means [`Anonymous::Deny`].
    pub fn anonymous(&self, listener: &Listener) -> Anonymous {
        match listener.anonymous.unwrap_or(self.auth.anonymous) {
            Anonymous::Loopback if !listener.bind.is_local() => Anonymous::Deny,
            rule => rule,
        }
    }

    /// The listeners made by `[[listener]]` tables, in their order; the default ones come before them.
    pub fn own_listeners(&self) -> &[Listener] {
        let defaults = self.listen.default_listeners(self.tls.as_ref(), self.coap.psk_file.as_ref()).len();
        self.listeners.get(defaults..).unwrap_or_default()
    }
}
