//! What is tested: Tercet, or the server that `INTEROP_COAP` names, which must take a PUT of any path and listen for UDP and
//! TCP at the same port.

use std::net::SocketAddr;

use tercet_interop::Broker;

use crate::wire::{CHANGED, CON, CREATED, Message, PUT, Peer};

/// A server that has the values which the tables speak of.
pub(crate) struct Server {
    broker: Option<Broker>,
    pub(crate) udp: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Self {
        let named = std::env::var("INTEROP_COAP").map(|address| address.parse().expect("an address"));
        let server = match named {
            Ok(address) => Self { broker: None, udp: address },
            Err(_) => {
                let broker = Broker::start();
                let udp = broker.address("coap");
                Self { broker: Some(broker), udp }
            }
        };
        let mut peer = Peer::new(server.udp);
        for (name, format, value) in [("m", &[][..], "value"), ("five", &[50], "[1,2]")] {
            let put = Message::request(CON, PUT, peer.id(), &format!("ps/{name}")).option(12, format);
            let answer = peer.ask(&put.payload(value.as_bytes()));
            assert!([CREATED, CHANGED].contains(&answer.code), "{answer:?}");
        }
        server
    }

    /// Where it listens for TCP.
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.broker.as_ref().map_or(self.udp, |broker| broker.address("coap-tcp"))
    }

    /// Panics unless it runs.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(broker) = &mut self.broker {
            broker.assert_alive();
        }
    }
}
