//! Version 2: a signature, a command, addresses, and optional type-length-value fields.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::decoder::ProxyError;
use crate::peer::{PeerAddress, ProxiedPeer};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length of the rest.
const FIXED: usize = 16;

const TYPE_ALPN: u8 = 0x01;
const TYPE_AUTHORITY: u8 = 0x02;
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_SSL_CN: u8 = 0x22;
/// The client showed a certificate, over this connection or the session it resumes.
const SSL_CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

/// How many bytes are certainly missing, `taken` having arrived; 0 when the header is whole.
pub(super) fn missing(kept: &[u8], taken: usize) -> Result<usize, ProxyError> {
    let compared = kept.len().min(SIGNATURE.len());
    if kept[..compared] != SIGNATURE[..compared] {
        return Err(ProxyError::Missing);
    }
    if let Some(byte) = kept.get(SIGNATURE.len()) {
        command(*byte)?;
    }
    match kept.first_chunk::<FIXED>() {
        Some(&[.., high, low]) => {
            let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
            Ok(whole.saturating_sub(taken))
        }
        None => Ok(FIXED - kept.len()),
    }
}

/// Parses a whole header, of which `kept` is all (`complete`) or all but the last fields.
pub(super) fn parse(kept: &[u8], complete: bool) -> Result<Option<ProxiedPeer>, ProxyError> {
    let (fixed, rest) = kept.split_first_chunk::<FIXED>().ok_or(ProxyError::Malformed("truncated"))?;
    let &[.., version_command, family_protocol, _, _] = fixed;
    if command(version_command)? == Command::Local {
        return Ok(None);
    }
    let (mut peer, fields) = addresses(family_protocol, rest)?;
    read_fields(fields, complete, |kind, value| {
        match kind {
            TYPE_ALPN => peer.alpn = Some(value.to_vec()),
            TYPE_AUTHORITY => peer.authority = Some(printable(value)?),
            TYPE_SSL => peer.certificate_common_name = verified_common_name(value)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Some(peer))
}

fn command(version_command: u8) -> Result<Command, ProxyError> {
    match version_command {
        0x20 => Ok(Command::Local),
        0x21 => Ok(Command::Proxy),
        other if other >> 4 != 2 => Err(ProxyError::Malformed("unknown version")),
        _ => Err(ProxyError::Malformed("unknown command")),
    }
}

/// The addresses, and what stands behind them.
fn addresses(family_protocol: u8, rest: &[u8]) -> Result<(ProxiedPeer, &[u8]), ProxyError> {
    const SHORT: ProxyError = ProxyError::Malformed("shorter than its addresses");
    const UNIX_ADDRESSES: usize = 216;
    let ip = |source: SocketAddr, destination| ProxiedPeer {
        client: Some(source.into()),
        destination: Some(destination),
        ..ProxiedPeer::default()
    };
    match (family_protocol >> 4, family_protocol & 0x0F) {
        (0x1, 0x1) => {
            let (block, rest) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let &[a, b, c, d, e, f, g, h, p, q, r, s] = block;
            let source = (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q])).into();
            let destination = (Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([r, s])).into();
            Ok((ip(source, destination), rest))
        }
        (0x2, 0x1) => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (&[p, q, r, s], rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let source = (Ipv6Addr::from(*source), u16::from_be_bytes([p, q])).into();
            let destination = (Ipv6Addr::from(*destination), u16::from_be_bytes([r, s])).into();
            Ok((ip(source, destination), rest))
        }
        (0x3, 0x1) => {
            let rest = rest.get(UNIX_ADDRESSES..).ok_or(SHORT)?;
            Ok((ProxiedPeer { client: Some(PeerAddress::Unix), ..ProxiedPeer::default() }, rest))
        }
        // Unspecified: the client is unknown, and with no address block defined nothing behind can be read.
        (0x0, 0x0..=0x2) => Ok((ProxiedPeer::default(), &[])),
        (0x1..=0x3, 0x0 | 0x2) => Err(ProxyError::Malformed("not a stream protocol")),
        _ => Err(ProxyError::Malformed("unknown address family or protocol")),
    }
}

/// Calls `field` for each type-length-value field. A field that is cut off is malformed, unless what is missing was
/// skipped on purpose (`complete` is false).
fn read_fields<'a>(
    mut rest: &'a [u8],
    complete: bool,
    mut field: impl FnMut(u8, &'a [u8]) -> Result<(), ProxyError>,
) -> Result<(), ProxyError> {
    while !rest.is_empty() {
        let Some((kind, value, after)) = split_field(rest) else {
            return if complete { Err(ProxyError::Malformed("truncated field")) } else { Ok(()) };
        };
        field(kind, value)?;
        rest = after;
    }
    Ok(())
}

fn split_field(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((kind, value, rest))
}

/// The common name in an SSL field, if the proxy saw a certificate and verified it.
fn verified_common_name(value: &[u8]) -> Result<Option<String>, ProxyError> {
    let (&[client, verify @ ..], fields) =
        value.split_first_chunk::<5>().ok_or(ProxyError::Malformed("truncated SSL field"))?;
    let verified = client & SSL_CLIENT_CERTIFICATE != 0 && verify == [0; 4];
    let mut name = None;
    read_fields(fields, true, |kind, value| {
        if verified && kind == SUBTYPE_SSL_CN {
            name = Some(printable(value)?);
        }
        Ok(())
    })?;
    Ok(name)
}

/// Text that may become a user name: an embedded NUL or control character would make it compare or print as
/// something else.
fn printable(value: &[u8]) -> Result<String, ProxyError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
        .map(str::to_owned)
        .ok_or(ProxyError::Malformed("unprintable name"))
}
