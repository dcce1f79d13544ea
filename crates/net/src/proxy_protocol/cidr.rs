//! Address blocks, and the proxies that are believed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::peer::PeerAddress;

/// A block of addresses, such as `10.0.0.0/8`, `2001:db8::/32`, or a single address. Bits behind the prefix are
/// ignored; IPv4-mapped IPv6 addresses and blocks mean the IPv4 ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Not an address block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address block (try 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32)")]
pub struct CidrError(String);

impl Cidr {
    /// The block of the addresses that share the first `prefix` bits with `address`; `None` when the prefix is
    /// longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (address, prefix) = match address.to_canonical() {
            mapped @ IpAddr::V4(_) if address.is_ipv6() => (mapped, prefix.checked_sub(96)?),
            address => (address, prefix),
        };
        let network = match address {
            IpAddr::V4(v4) if prefix <= 32 => IpAddr::V4((v4.to_bits() & mask_v4(prefix)).into()),
            IpAddr::V6(v6) if prefix <= 128 => IpAddr::V6((v6.to_bits() & mask_v6(prefix)).into()),
            _ => return None,
        };
        Some(Self { network, prefix })
    }

    /// Whether `address` lies in this block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(v4)) => v4.to_bits() & mask_v4(self.prefix) == network.to_bits(),
            (IpAddr::V6(network), IpAddr::V6(v6)) => v6.to_bits() & mask_v6(self.prefix) == network.to_bits(),
            // `::/0` says every address, and a dual-stack listener means it so.
            (IpAddr::V6(network), IpAddr::V4(_)) => self.prefix == 0 && network == Ipv6Addr::UNSPECIFIED,
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix) = match text.split_once('/') {
                Some((address, prefix)) => (address.parse().ok()?, Some(prefix)),
                None => (text.parse::<IpAddr>().ok()?, None),
            };
            let whole = if address.is_ipv4() { 32 } else { 128 };
            // Digits only: the standard parser would take a sign too.
            let prefix = match prefix {
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
                Some(_) => return None,
                None => whole,
            };
            Self::new(address, prefix)
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Versions of the header that are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    /// Only the text header.
    V1,
    /// Only the binary header.
    V2,
    /// Either.
    #[default]
    Both,
}

/// The proxies whose word is taken, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    blocks: Vec<Cidr>,
    versions: Versions,
}

impl TrustedProxies {
    /// Trusts proxies in these blocks, with either version of the header.
    #[must_use]
    pub fn new(blocks: Vec<Cidr>) -> Self {
        Self { blocks, versions: Versions::Both }
    }

    /// Takes only these versions of the header.
    #[must_use]
    pub fn speaking(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// The versions of the header that are taken.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// Whether the proxy at `address` is believed. Over a Unix socket every client is: who may connect there is
    /// settled by the permissions of its file.
    #[must_use]
    pub fn trusts(&self, address: PeerAddress) -> bool {
        address.ip().is_none_or(|ip| self.blocks.iter().any(|block| block.contains(ip)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_what_they_say() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.5", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "203.0.113.5", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.2.3.4", true),
            ("::ffff:10.0.0.0/104", "11.2.3.4", false),
        ];
        for (block, address, expected) in cases {
            let block: Cidr = block.parse().unwrap();
            assert_eq!(block.contains(address.parse().unwrap()), expected, "{block} {address}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "x/8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert!("::ffff:10.0.0.0/8".parse::<Cidr>().is_err());
        assert_eq!("10.9.8.7/16".parse::<Cidr>().unwrap().to_string(), "10.9.0.0/16");
    }

    #[test]
    fn nobody_is_trusted_by_default_but_unix_clients() {
        let nobody = TrustedProxies::default();
        assert!(!nobody.trusts(PeerAddress::Ip("127.0.0.1:1".parse().unwrap())));
        assert!(nobody.trusts(PeerAddress::Unix));
        let local = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(local.trusts(PeerAddress::Ip("127.0.0.1:1".parse().unwrap())));
        assert!(!local.trusts(PeerAddress::Ip("192.0.2.1:1".parse().unwrap())));
    }
}
