//! What the configuration says about CoAP, compiled for the reactors.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tercet_broker::definitions::Definitions;
use tercet_coap::block::BlockSize;

use super::answer::Places;
use super::counters::Counts;
use super::directory::Directory;
use super::oscore::Contexts;
use super::proxy::Proxy;
use super::resources::SharedResources;
use crate::config::Config;

/// What the CoAP sides of all reactors share.
pub struct CoapShared {
    /// What clients are granted, replaced on reload.
    pub settings: ArcSwap<CoapSettings>,
    /// What was counted.
    pub counts: Counts,
    /// Observers of all reactors.
    pub observers: Arc<Places>,
    /// What the resources of all reactors share.
    pub resources: SharedResources,
    /// The security contexts of OSCORE, replaced on reload.
    pub oscore: ArcSwap<Contexts>,
    /// What devices serve elsewhere.
    pub directory: Directory,
    /// Whom clients may ask through this server.
    pub proxy: Proxy,
}

impl CoapShared {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &Config, definitions: &Arc<Definitions>, oscore: Contexts) -> Self {
        Self {
            settings: ArcSwap::from_pointee(CoapSettings::new(config)),
            counts: Counts::default(),
            resources: SharedResources::open(definitions),
            observers: Arc::new(Places::new(None)),
            oscore: ArcSwap::from_pointee(oscore),
            directory: Directory::default(),
            proxy: Proxy::new(config),
        }
    }
}

/// What CoAP clients are granted.
#[derive(Clone, Debug)]
pub struct CoapSettings {
    /// Largest body put together from blocks, in bytes.
    pub max_body: usize,
    /// Largest block sent and asked for, in bytes: a power of two from 16 to 1024.
    pub block_size: u16,
    /// Bodies under way in blocks.
    pub max_uploads: usize,
    /// Of these, those of one client.
    pub max_uploads_per_peer: usize,
    /// Observers.
    pub max_observers: u32,
    /// Of these, those of one client.
    pub max_observers_per_peer: usize,
    /// Of the notifications to an observer every so many is confirmable.
    pub confirm_every: u16,
    /// Requests that wait for something.
    pub max_waiting: usize,
    /// Bytes per minute beyond one block per request for a client whose address is not verified.
    pub unverified_bytes: u64,
    /// ACK_TIMEOUT of the message layer.
    pub ack_timeout: Duration,
    /// MAX_RETRANSMIT of the message layer.
    pub max_retransmit: u8,
    /// Associations of DTLS that stand at a time.
    pub max_dtls_peers: usize,
    /// After how long without a message an association that observes nothing ends.
    pub dtls_idle: Duration,
    /// Whether discovery by multicast is answered.
    pub discovery: bool,
}

impl CoapSettings {
    /// The largest block.
    #[must_use]
    pub fn largest_block(&self) -> BlockSize {
        BlockSize::within(self.block_size.into())
    }

    /// Compiles the section.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let section = &config.coap;
        Self {
            max_body: section.max_body.as_usize(),
            block_size: section.block_size.get(),
            max_uploads: section.max_uploads.get() as usize,
            max_uploads_per_peer: section.max_uploads_per_peer.get() as usize,
            max_observers: section.max_observers.get().map_or(u32::MAX, |most| most.get()),
            max_observers_per_peer: section
                .max_observers_per_peer
                .get()
                .map_or(usize::MAX, |most| most.get() as usize),
            confirm_every: section.confirm_every.get(),
            max_waiting: section.max_waiting.get() as usize,
            unverified_bytes: section.unverified_bytes.bytes(),
            ack_timeout: section.ack_timeout,
            max_retransmit: section.max_retransmit,
            max_dtls_peers: section.max_dtls_peers.get() as usize,
            dtls_idle: section.dtls_idle_timeout,
            discovery: section.discovery,
        }
    }
}
