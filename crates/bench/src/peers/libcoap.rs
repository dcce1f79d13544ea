//! libcoap's example server, the peer that the bars of the CoAP scenarios are multiples of.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::server::{Launch, PeerError, Probe, Server, TempDir, free_pair_of_ports};
use super::{Need, Peer, Protocol, Storage};
use crate::coap::{IDENTITY, KEY};

/// Debian's `coap-server`, which makes a resource of whatever is PUT.
#[derive(Debug, Clone, Copy)]
pub struct LibCoap;

const HINT: &str = "Debian: apt-get install libcoap3-bin";
/// More resources than any scenario makes.
const RESOURCES: &str = "20000";

/// The build without DTLS has less to do for each request.
fn program(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Coaps { "coap-server-openssl" } else { "coap-server-notls" }
}

impl Peer for LibCoap {
    fn name(&self) -> &str {
        "libcoap"
    }

    fn version(&self) -> String {
        let printed = Command::new(program(Protocol::Coap)).arg("-?").output().map(|output| output.stderr);
        let printed = String::from_utf8(printed.unwrap_or_default()).unwrap_or_default();
        printed.lines().find_map(|line| line.strip_prefix("Build: ")).unwrap_or("not installed").to_owned()
    }

    fn settings(&self) -> String {
        format!(
            "coap-server-notls -A 127.0.0.1 -d {RESOURCES} -N (every fifth notification confirmable), or coap-server-openssl with a pre-shared key \
             (PSK_AES128_CCM_8); one thread"
        )
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        protocol.is_datagrams()
    }

    fn offers(&self, need: Need) -> bool {
        matches!(need, Need::Plain | Need::Broker | Need::FreshBroker)
    }

    fn start(&self, protocol: Protocol, _: Storage<'_>) -> Result<Server, PeerError> {
        let port = free_pair_of_ports()?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(program(protocol));
        command.args(["-A", "127.0.0.1", "-p", &port.to_string(), "-d", RESOURCES, "-N"]);
        let mut addr = at(port);
        if protocol == Protocol::Coaps {
            // DTLS is at the port behind that of bare UDP.
            command.args(["-k", KEY, "-h", IDENTITY]);
            addr = at(port + 1);
        }
        Launch::new(command, TempDir::create("libcoap")?, Probe::Pinged(at(port), addr), HINT).start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_coap_only() {
        let spoken =
            [Protocol::Mqtt, Protocol::Amqp, Protocol::Coap, Protocol::Coaps].map(|p| LibCoap.speaks(p));
        assert_eq!(spoken, [false, false, true, true]);
        assert!(!LibCoap.offers(Need::Restart));
    }
}
