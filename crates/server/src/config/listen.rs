//! `[listen]`: addresses of the default listeners, one per protocol.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::address::{Bind, ListenAddress};
use super::choice::Protocol;
use super::listener::{Listener, Tls};
use super::schema::section;

const fn port(port: u16) -> ListenAddress {
    ListenAddress::At { ip: None, port }
}

section! {
    /// Addresses of the default listeners. Each is "ip:port", ":port" on the `bind` address, or "off";
    /// port 0 picks a free port. A default listener that is not set here gives way as soon as a
    /// `[[listener]]` on TCP exists for its protocol.
    Listen, "listen" {
        /// Interface of every address that names none. Clients on other machines reach the broker only
        /// through a non-loopback address: 0.0.0.0 for every IPv4 interface, :: for IPv6 too.
        bind: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST) => Restart;
        /// Added to every port that is not 0, `[[listener]]` included, to run several brokers side by side.
        port_offset: u16 = 0 => Restart;
        /// MQTT over TCP.
        mqtt: ListenAddress = port(1883) => Restart;
        /// MQTT over TLS. Opened only when `[tls]` has a certificate.
        mqtts: ListenAddress = port(8883) => Restart;
        /// HTTP: `/healthz`, `/readyz`, `/metrics`, MQTT over WebSocket at `/mqtt`, AMQP at `/amqp`.
        http: ListenAddress = port(15672) => Restart;
        /// The same over TLS. Opened only when `[tls]` has a certificate.
        https: ListenAddress = port(15671) => Restart;
        /// AMQP 0-9-1 over TCP.
        amqp: ListenAddress = port(5672) => Restart;
        /// AMQP 0-9-1 over TLS. Opened only when `[tls]` has a certificate.
        amqps: ListenAddress = port(5671) => Restart;
        /// CoAP over UDP.
        coap: ListenAddress = port(5683) => Restart;
        /// CoAP over TCP. Default: as `coap`.
        coap_tcp: Option<ListenAddress> = None => Restart;
        /// CoAP over DTLS. Opened only when `[tls]` has a certificate or `coap.psk-file` is set. Default: port 5684, but a
        /// free one if `coap` has port 0, and off if `coap` is off.
        coaps: Option<ListenAddress> = None => Restart;
        /// CoAP over TLS. Opened only when `[tls]` has a certificate. Default: as `coaps`.
        coaps_tcp: Option<ListenAddress> = None => Restart;
    }
}

impl Listen {
    /// The default listeners, without port offset; those with TLS only when `tls` is given, and the one with DTLS
    /// also when there are pre-shared keys.
    pub fn default_listeners(&self, tls: Option<&Tls>, psk_file: Option<&PathBuf>) -> Vec<Listener> {
        let plain = [
            ("mqtt", Protocol::Mqtt, self.mqtt),
            ("amqp", Protocol::Amqp, self.amqp),
            ("coap", Protocol::Coap, self.coap),
            ("coap-tcp", Protocol::CoapTcp, self.coap_tcp.unwrap_or(self.coap)),
            ("http", Protocol::Http, self.http),
        ];
        let secure = [
            ("mqtts", Protocol::Mqtt, self.mqtts),
            ("amqps", Protocol::Amqp, self.amqps),
            ("https", Protocol::Http, self.https),
            ("coaps-tcp", Protocol::CoapTcp, self.coaps_tcp.unwrap_or(self.coaps())),
        ];
        let mut listeners: Vec<_> = plain
            .into_iter()
            .filter_map(|(name, protocol, at)| self.listener(name, protocol, at, None))
            .collect();
        if let Some(tls) = tls {
            let secure = secure.into_iter();
            listeners.extend(
                secure.filter_map(|(name, protocol, at)| self.listener(name, protocol, at, Some(tls))),
            );
        }
        if tls.is_some() || psk_file.is_some() {
            let keys = |listener| Listener { psk_file: psk_file.cloned(), ..listener };
            listeners.extend(self.listener("coaps", Protocol::Coap, self.coaps(), tls).map(keys));
        }
        listeners
    }

    /// Where CoAP over DTLS is found, if anything is to be spoken there.
    fn coaps(&self) -> ListenAddress {
        self.coaps.unwrap_or(match self.coap {
            ListenAddress::At { ip, port: 0 } => ListenAddress::At { ip, port: 0 },
            ListenAddress::At { ip, .. } => ListenAddress::At { ip, port: 5684 },
            ListenAddress::Off => ListenAddress::Off,
        })
    }

    fn listener(
        &self,
        name: &str,
        protocol: Protocol,
        at: ListenAddress,
        tls: Option<&Tls>,
    ) -> Option<Listener> {
        let ListenAddress::At { ip, port } = at else { return None };
        Some(Listener {
            name: name.to_owned(),
            protocol,
            bind: Bind::Tcp(SocketAddr::new(ip.unwrap_or(self.bind), port)),
            tls: tls.cloned(),
            ..Listener::default()
        })
    }
}
