//! The servers under test: one file per peer, each a child process on an ephemeral port.
//!
//! A [`Server`] is ended and its directory removed when it is dropped, so whatever ends a run (an error,
//! Ctrl-C) ends the server too. Peers run in process groups of their own: Ctrl-C reaches only us.

mod external;
mod floor;
mod libcoap;
mod mosquitto;
mod rabbitmq;
mod server;
mod tercet;
mod usage;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use external::{Attached, Command};
pub use floor::Floor;
pub use libcoap::LibCoap;
pub use mosquitto::Mosquitto;
pub use rabbitmq::RabbitMq;
pub use server::{PeerError, Server};
pub use tercet::Tercet;
pub use usage::{Threads, Usage, threads_of};

/// What a scenario's clients speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// MQTT 3.1.1 or 5.0.
    #[default]
    Mqtt,
    /// AMQP 0-9-1.
    Amqp,
    /// CoAP over UDP.
    Coap,
    /// CoAP over DTLS with a pre-shared key.
    Coaps,
}

impl Protocol {
    /// The peer that the bars of this protocol's scenarios are multiples of.
    pub fn reference(self) -> &'static str {
        match self {
            Protocol::Mqtt => "mosquitto",
            Protocol::Amqp => "rabbitmq",
            Protocol::Coap | Protocol::Coaps => "libcoap",
        }
    }

    /// Whether it is spoken in datagrams.
    pub fn is_datagrams(self) -> bool {
        matches!(self, Protocol::Coap | Protocol::Coaps)
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Protocol::Mqtt => "MQTT",
            Protocol::Amqp => "AMQP 0-9-1",
            Protocol::Coap => "CoAP",
            Protocol::Coaps => "CoAP over DTLS",
        }
    }
}

/// What a scenario needs from a server beyond QoS 0 to 2 over exact topics, or GET and PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Connect, ping, publish and subscribe with exact topics; answer a GET or PUT.
    Plain,
    /// Wildcards, or resources that keep what is put there and have observers: a real broker or server.
    Broker,
    /// Sessions or retained messages, which stay behind: a real broker of our own, thrown away afterwards.
    FreshBroker,
    /// The same with its data on disk as its users run it, though the load need not be about them.
    OnDisk,
    /// The same, or a twin of such a broker that shows what this costs.
    Durable,
    /// Data on disk that are there again after a restart.
    Restart,
}

impl Need {
    /// Whether the server's data lie on disk.
    pub fn is_on_disk(self) -> bool {
        matches!(self, Need::OnDisk | Need::Durable | Need::Restart)
    }
}

/// Where a server shall keep its data.
#[derive(Debug, Clone, Copy)]
pub enum Storage<'a> {
    /// In memory.
    Memory,
    /// In a directory of its own below this one.
    Disk(&'a Path),
}

/// What a server promises about the messages that it has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// They are gone with the process.
    Nothing,
    /// They survive a stop on request.
    SurviveStop,
    /// They survive whatever ends the process.
    SurviveKill,
}

/// A kind of server that can be started any number of times.
pub trait Peer {
    /// Short name, as in tables.
    fn name(&self) -> &str;

    /// Version and build, for the record.
    fn version(&self) -> String;

    /// How it is configured, in one line, so that a result can be reproduced.
    fn settings(&self) -> String;

    /// Whether it speaks a protocol.
    fn speaks(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Mqtt
    }

    /// Whether it can take part in a scenario.
    fn offers(&self, need: Need) -> bool {
        matches!(need, Need::Plain | Need::Broker | Need::FreshBroker)
    }

    /// Starts a fresh server that speaks `protocol`, and waits until it accepts connections. A peer that does
    /// not offer [`Need::Durable`] is only asked for memory.
    ///
    /// # Errors
    /// When the program is missing, ends early or does not get ready.
    fn start(&self, protocol: Protocol, storage: Storage<'_>) -> Result<Server, PeerError>;
}
