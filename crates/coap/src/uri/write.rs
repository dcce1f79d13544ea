//! Writing a URI (RFC 7252 §6.5).

use core::fmt;
use core::net::IpAddr;

use super::percent::encode;
use super::{Host, Scheme, Uri};

/// What a segment may have beside unreserved characters: pchar of RFC 3986 §3.3.
const SEGMENT: &str = "!$&'()*+,;=:@";

/// What an argument may have: the same and `/?`, without the `&` that separates arguments.
const ARGUMENT: &str = "!$'()*+,;=:@/?";

/// What a name may have (RFC 3986 §3.2.2).
const NAME: &str = "!$&'()*+,;=";

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Zoned(address, zone) => {
                write!(f, "[{address}%25")?;
                encode(f, zone, "")?;
                f.write_str("]")
            }
            Self::Name(name) => encode(f, name, NAME),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if self.path.is_empty() {
            f.write_str("/")?;
        }
        for segment in &self.path {
            f.write_str("/")?;
            encode(f, segment, SEGMENT)?;
        }
        for (position, argument) in self.query.iter().enumerate() {
            f.write_str(if position == 0 { "?" } else { "&" })?;
            encode(f, argument, ARGUMENT)?;
        }
        Ok(())
    }
}
