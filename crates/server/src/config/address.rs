//! Addresses: where a listener binds and which peers are trusted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::setting::{Fault, Setting, quote};

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// An address of TCP, or of UDP for what is spoken in datagrams; port 0 picks a free port.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

impl Bind {
    /// Whether only programs on this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => is_loopback(address.ip()),
            Self::Unix(_) => true,
        }
    }
}

/// Whether `ip` is a loopback address, IPv4-mapped IPv6 included.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Setting for Bind {
    fn kind() -> String {
        "an address \"ip:port\" or \"unix:/path\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(Fault::new("the path of the Unix socket is missing")
                    .hint("write \"unix:/run/tercet.sock\""));
            }
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| refused_address(text, &Self::kind()))
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

/// Explains why `text` is no address, with the repair for the usual slips.
fn refused_address(text: &str, kind: &str) -> Fault {
    let fault = Fault::new(format!("expected {kind}, found {}", quote(text)));
    if text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
        return fault.hint(format!("the port is missing: \"[{text}]:1883\""));
    }
    if text.parse::<IpAddr>().is_ok() {
        return fault.hint(format!("the port is missing: \"{text}:1883\""));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text.parse::<u16>() {
            Ok(port) => {
                fault.hint(format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for every interface"))
            }
            Err(_) => fault,
        };
    };
    match (host, port.parse::<u16>()) {
        ("" | "*", Ok(port)) => {
            fault.hint(format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for every interface"))
        }
        ("localhost", Ok(port)) => {
            fault.hint(format!("addresses are not looked up: write \"127.0.0.1:{port}\""))
        }
        (host, Ok(port)) if host.parse::<Ipv6Addr>().is_ok() => {
            fault.hint(format!("an IPv6 address stands in brackets: \"[{host}]:{port}\""))
        }
        (host, Err(_)) if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => {
            fault.hint("a port is a number between 0 (a free one) and 65535")
        }
        _ => fault,
    }
}

/// Address of a default listener, as flags and `[listen]` write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Not opened.
    Off,
    /// Opened on `port` (0: a free one) of `ip`, or of the common bind address when none is named.
    At {
        /// Interface; `None` means `listen.bind`.
        ip: Option<IpAddr>,
        /// Port; 0 picks a free one.
        port: u16,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At { ip: None, port } => write!(f, ":{port}"),
            Self::At { ip: Some(ip), port } => SocketAddr::new(*ip, *port).fmt(f),
        }
    }
}

impl Setting for ListenAddress {
    fn kind() -> String {
        "an address \"ip:port\", \":port\" or \"off\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let port = text.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        if let Some(Ok(port)) = port.map(str::parse) {
            return Ok(Self::At { ip: None, port });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Self::At { ip: Some(address.ip()), port: address.port() }),
            Err(_) => Err(refused_address(text, &Self::kind())),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

impl Setting for IpAddr {
    fn kind() -> String {
        "an IP address".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| {
            let fault = Fault::new(format!("expected an IP address, found {}", quote(text)));
            match text {
                "localhost" => fault.hint("write 127.0.0.1"),
                "*" => fault.hint("write 0.0.0.0, or :: for IPv6 too"),
                _ if text.parse::<SocketAddr>().is_ok() => fault.hint("leave out the port"),
                _ => fault,
            }
        })
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

/// A range of addresses in CIDR notation; a bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// Whether `ip` is in the range. An IPv4-mapped IPv6 address is taken as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// First address of the range and length of the prefix in bits.
    pub const fn parts(&self) -> (IpAddr, u8) {
        (self.address, self.prefix)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Setting for IpNet {
    fn kind() -> String {
        "an address range such as \"10.0.0.0/8\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let refused = || Fault::new(format!("expected {}, found {}", Self::kind(), quote(text)));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(refused)?,
            None => bits,
        };
        let start: IpAddr = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        };
        if start != address {
            let fault = Fault::new(format!("{text} has bits set beyond its prefix"));
            return Err(fault.hint(format!("write \"{start}/{prefix}\"")));
        }
        Ok(Self { address, prefix })
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_in_every_form() {
        for text in ["off", ":0", ":1883", "127.0.0.1:0", "0.0.0.0:1883", "[::1]:1883"] {
            assert_eq!(ListenAddress::from_text(text).unwrap().to_string(), text);
        }
        for (text, hint) in [
            ("1883", "write \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every interface"),
            ("*:1883", "write \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every interface"),
            ("localhost:1883", "addresses are not looked up: write \"127.0.0.1:1883\""),
            ("::1", "the port is missing: \"[::1]:1883\""),
            ("10.0.0.1", "the port is missing: \"10.0.0.1:1883\""),
            ("10.0.0.1:99999", "a port is a number between 0 (a free one) and 65535"),
        ] {
            assert_eq!(ListenAddress::from_text(text).unwrap_err().hint.as_deref(), Some(hint), "{text}");
        }
        assert!(ListenAddress::from_text("").is_err());
        assert!(ListenAddress::from_text(":").is_err());
    }

    #[test]
    fn ranges_contain_what_they_say() {
        let net = |text: &str| IpNet::from_text(text).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(net("10.0.0.0/8").contains(ip("10.255.1.2")));
        assert!(!net("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(net("10.0.0.0/8").contains(ip("::ffff:10.1.1.1")));
        assert!(net("0.0.0.0/0").contains(ip("203.0.113.9")));
        assert!(!net("0.0.0.0/0").contains(ip("::1")));
        assert!(net("::/0").contains(ip("2001:db8::1")));
        assert!(net("127.0.0.1").contains(ip("127.0.0.1")));
        assert!(!net("127.0.0.1").contains(ip("127.0.0.2")));
        assert!(net("fd00::/8").contains(ip("fd12::1")));
        assert_eq!(IpNet::from_text("10.0.0.1/8").unwrap_err().hint.unwrap(), "write \"10.0.0.0/8\"");
        for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "x", ""] {
            assert!(IpNet::from_text(text).is_err(), "{text}");
        }
    }
}
