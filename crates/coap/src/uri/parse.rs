//! Taking a URI apart (RFC 7252 §6.4, RFC 3986).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::percent;
use super::{Host, Scheme, Uri, UriError};

/// Greatest length of a host, a segment and an argument in bytes: that of their options.
const PART_MAX: usize = 255;

/// The segments of a path and the arguments of a query.
pub type PathAndQuery = (Vec<String>, Vec<String>);

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let scheme = Scheme::from_name(scheme).ok_or(UriError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        let (host, port) = split_authority(authority)?;
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| UriError::Port)?)
            }
            Some(_) => return Err(UriError::Port),
        };
        let (path, query) = parse_path_and_query(path_and_query)?;
        let port = port.filter(|&port| port != scheme.default_port());
        Ok(Self { scheme, host: self::host(host)?, port, path, query })
    }
}

/// The segments of a path and the arguments of the query behind it, as options have them: decoded, without `.` and `..`.
/// A `/` in front of the path is not needed.
pub fn parse_path_and_query(text: &str) -> Result<PathAndQuery, UriError> {
    if text.contains('#') {
        return Err(UriError::Fragment);
    }
    if let Some(bad) = text.chars().find(|&c| c.is_ascii_control() || " \"<>\\^`{|}".contains(c)) {
        debug_assert!(bad.is_ascii());
        return Err(UriError::Character);
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let arguments = query.map_or(Ok(Vec::new()), |query| query.split('&').map(part).collect());
    Ok((segments(path)?, arguments?))
}

fn segments(path: &str) -> Result<Vec<String>, UriError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments = Vec::new();
    if path.is_empty() {
        return Ok(segments);
    }
    // RFC 3986 §5.2.4; what remains of a dot segment at the end is its slash.
    let mut all = path.split('/').peekable();
    while let Some(segment) = all.next() {
        let segment = part(segment)?;
        let is_last = all.peek().is_none();
        match segment.as_str() {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push(String::new());
                }
            }
            _ => segments.push(segment),
        }
    }
    // Nothing but the slash of the root is left.
    if path.ends_with('.') && segments.iter().map(String::as_str).eq([""]) {
        segments.clear();
    }
    Ok(segments)
}

/// A decoded segment or argument.
fn part(text: &str) -> Result<String, UriError> {
    let part = percent::decode(text)?;
    if part.len() > PART_MAX { Err(UriError::TooLong) } else { Ok(part) }
}

/// The host and the port, as they are written.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UriError> {
    if authority.contains('@') {
        return Err(UriError::UserInformation);
    }
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UriError::Host)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UriError::Host),
        };
    }
    Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

/// A host as a URI or a Uri-Host option has it: IPv6 addresses in brackets.
pub(super) fn host(text: &str) -> Result<Host, UriError> {
    if let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = |text: &str| text.parse::<Ipv6Addr>().map_err(|_| UriError::Host);
        return match literal.split_once("%25") {
            None => Ok(Host::Address(IpAddr::V6(address(literal)?))),
            Some((_, "")) => Err(UriError::Host),
            Some((literal, zone)) => Ok(Host::Zoned(address(literal)?, percent::decode(zone)?)),
        };
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let name = percent::decode(text)?.to_ascii_lowercase();
    let is_name = (1..=PART_MAX).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || " \"#/:<>?@[\\]^`{|}".contains(c));
    if is_name { Ok(Host::Name(name)) } else { Err(UriError::Host) }
}
