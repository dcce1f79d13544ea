//! `[listen]`: addresses of the default listeners, one per protocol.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    }
}

impl Listen {
    /// The default listeners, without port offset; those with TLS only when `tls` is given.
    pub fn default_listeners(&self, tls: Option<&Tls>) -> Vec<Listener> {
        let plain = [
            ("mqtt", Protocol::Mqtt, self.mqtt),
            ("amqp", Protocol::Amqp, self.amqp),
            ("coap", Protocol::Coap, self.coap),
            ("http", Protocol::Http, self.http),
        ];
        let secure = [
            ("mqtts", Protocol::Mqtt, self.mqtts),
            ("amqps", Protocol::Amqp, self.amqps),
            ("https", Protocol::Http, self.https),
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
        listeners
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
