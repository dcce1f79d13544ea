//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::decoder::ProxyError;
use crate::peer::ProxiedPeer;

pub(super) const PREFIX: &[u8; 6] = b"PROXY ";
/// Longest line, its CRLF included.
const MAX_LINE: usize = 107;

/// How many bytes are certainly missing from the line; 0 when it is whole.
pub(super) fn missing(line: &[u8]) -> Result<usize, ProxyError> {
    let compared = line.len().min(PREFIX.len());
    if line[..compared] != PREFIX[..compared] {
        return Err(ProxyError::Missing);
    }
    match line.last() {
        Some(b'\n') if line.ends_with(b"\r\n") => Ok(0),
        Some(b'\n') => Err(ProxyError::Malformed("line feed without carriage return")),
        _ if line.len() >= MAX_LINE => Err(ProxyError::TooLong),
        _ => Ok(PREFIX.len().saturating_sub(line.len()).max(1)),
    }
}

pub(super) fn parse(line: &[u8]) -> Result<ProxiedPeer, ProxyError> {
    let text = line
        .strip_prefix(PREFIX)
        .and_then(|line| line.strip_suffix(b"\r\n"))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(ProxyError::Malformed("not a line of text"))?;
    let mut words = text.split(' ');
    match words.next() {
        Some("TCP4") => addresses::<Ipv4Addr>(words),
        Some("TCP6") => addresses::<Ipv6Addr>(words),
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => Ok(ProxiedPeer::default()),
        _ => Err(ProxyError::Malformed("unknown protocol")),
    }
}

fn addresses<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<ProxiedPeer, ProxyError> {
    let mut address =
        || words.next().and_then(|word| word.parse::<A>().ok()).ok_or(ProxyError::Malformed("bad address"));
    let (source, destination): (IpAddr, IpAddr) = (address()?.into(), address()?.into());
    let (source_port, destination_port) = (port(words.next())?, port(words.next())?);
    if words.next().is_some() {
        return Err(ProxyError::Malformed("text behind the ports"));
    }
    Ok(ProxiedPeer {
        client: Some(SocketAddr::new(source, source_port).into()),
        destination: Some(SocketAddr::new(destination, destination_port)),
        ..ProxiedPeer::default()
    })
}

/// Decimal, without sign or leading zeros.
fn port(word: Option<&str>) -> Result<u16, ProxyError> {
    word.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|word| *word == "0" || !word.starts_with('0'))
        .and_then(|word| word.parse().ok())
        .ok_or(ProxyError::Malformed("bad port"))
}
