//! `[coap]`: what the CoAP face grants its clients.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::limits::{nz16, nz32};
use super::proxied::{ProxiedHost, ProxiedPath};
use super::quantity::Size;
use super::schema::section;
use super::setting::{Auto, Limit};

section! {
    /// CoAP: what clients are granted.
    Coap, "coap" {
        /// Reactors (`server.threads`) that serve CoAP over UDP and DTLS, each with a socket of its own; the kernel spreads the
        /// clients over them. "auto" is half of them: the others are left to the kernel's share of the work and to
        /// connections.
        reactors: Auto<NonZeroUsize> = Auto::Auto => Restart;
        /// Time until a confirmable message is sent again for the first time (ACK_TIMEOUT, RFC 7252 §4.8).
        ack_timeout: Duration = Duration::from_secs(2) => Restart,
            in Duration::from_millis(100)..=Duration::from_secs(60);
        /// How often it is sent again before its receiver counts as gone (MAX_RETRANSMIT).
        max_retransmit: u8 = 4 => Restart, in 1..=10;
        /// Largest body that a client may send in blocks. A larger one is answered with 4.13.
        max_body: Size = Size::from_mib(1) => Restart, in Size::from_bytes(1024)..=Size::from_mib(64);
        /// Largest block that is sent and asked for, in bytes: 16, 32, 64, 128, 256, 512 or 1024.
        block_size: NonZeroU16 = nz16(1024) => NewConnections, in nz16(16)..=nz16(1024);
        /// Bodies that are under way in blocks, all clients of a reactor together. A further one is answered with 5.03.
        max_uploads: NonZeroU32 = nz32(4096) => Restart;
        /// The same for one client. A further one is answered with 4.29.
        max_uploads_per_peer: NonZeroU32 = nz32(16) => Restart;
        /// Observations open at a time, all clients together. A further one is answered without being established.
        max_observers: Limit<NonZeroU32> = Limit::At(nz32(1_000_000)) => NewConnections;
        /// The same for one client.
        max_observers_per_peer: Limit<NonZeroU32> = Limit::At(nz32(1024)) => NewConnections;
        /// Of the notifications to one observer every so many is confirmable, beginning with the first.
        confirm_every: NonZeroU16 = nz16(10) => NewConnections;
        /// Requests that wait for the log or for a password check, all clients of a reactor together. A further one is answered with
        /// 5.03.
        max_waiting: NonZeroU32 = nz32(65_536) => NewConnections;
        /// Bytes per minute that a client whose address is not verified may be sent beyond one block per request; then it
        /// has to repeat an Echo option. Clients on this machine are not limited.
        unverified_bytes: Size = Size::from_kib(64) => NewConnections;
        /// Answer discovery that is sent to the multicast addresses of CoAP.
        discovery: bool = false => Restart;
        /// Clients over DTLS at a time. When there are as many, those that were silent longest make room if they were silent
        /// for a minute; otherwise further ones get no answer.
        max_dtls_peers: NonZeroU32 = nz32(100_000) => Restart;
        /// After how long without a message a client over DTLS is forgotten, unless it observes something.
        dtls_idle_timeout: Duration = Duration::from_secs(3600) => Restart,
            in Duration::from_secs(60)..=Duration::from_secs(604_800);
        /// Hosts that this server asks for its clients as a forward proxy: names, "*.domain", addresses or "*", each for one
        /// port ("host:5683") or for any. What a "*" covers may not be this machine. None: no forward proxy.
        proxy_hosts: Vec<ProxiedHost> = Vec::new() => Restart;
        /// Paths that other servers answer: "path=coap://host:port/prefix". None: no reverse proxy.
        proxy_paths: Vec<ProxiedPath> = Vec::new() => Restart;
        /// Let programs on this machine ask the hosts of the forward proxy by HTTP, at /hc/coap://host/path.
        proxy_http: bool = false => Restart;
        /// Answers of other servers that are kept to be given again. With 0, none are.
        proxy_cache: Size = Size::from_mib(1) => Restart, in Size::from_bytes(0)..=Size::from_mib(1024);
        /// Time that another server has for its answer.
        proxy_timeout: Duration = Duration::from_secs(30) => Restart,
            in Duration::from_millis(100)..=Duration::from_secs(90);
        /// File with pre-shared keys for DTLS: one "identity:hexadecimal key" in each line.
        psk_file: Option<PathBuf> = None => Live;
        /// File with security contexts of OSCORE.
        oscore_file: Option<PathBuf> = None => Live;
    }
}

impl Coap {
    /// How many of so many reactors serve datagrams: at least one.
    #[must_use]
    pub fn reactor_count(&self, all: usize) -> usize {
        let wanted = match self.reactors {
            Auto::Auto => all / 2,
            Auto::Set(reactors) => reactors.get(),
        };
        wanted.clamp(1, all.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_reactors_serve_datagrams_unless_told_otherwise() {
        let auto = Coap::default();
        assert_eq!([1, 2, 3, 4, 16].map(|all| auto.reactor_count(all)), [1, 1, 1, 2, 8]);
        let three = Coap { reactors: Auto::Set(NonZeroUsize::MIN.saturating_add(2)), ..Coap::default() };
        assert_eq!([1, 2, 3, 4].map(|all| three.reactor_count(all)), [1, 2, 3, 3]);
    }
}
