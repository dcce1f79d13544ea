//! Collects a header from a stream in pieces of any size and tells where the stream proper begins.
//!
//! Invariants: never more than [`MAX_KEPT`] bytes are kept; no byte behind the header is used.

use super::cidr::Versions;
use super::{binary, text};
use crate::peer::{Peer, PeerAddress, ProxiedPeer};

/// Header bytes kept in memory; what a version 2 header announces beyond is skipped (they can only be TLVs).
const MAX_KEPT: usize = 536;

/// What a complete header said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client relayed. `None` for a connection of the proxy's own (`LOCAL`, such as a health check).
    pub proxied: Option<ProxiedPeer>,
}

impl Header {
    /// The peer behind a socket whose other end is `socket`.
    #[must_use]
    pub fn into_peer(self, socket: PeerAddress) -> Peer {
        match self.proxied {
            Some(client) => Peer::proxied(socket, client),
            None => Peer::direct(socket),
        }
    }
}

/// How far a header has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All input was used and more is needed.
    Incomplete,
    /// The header is whole.
    Complete {
        /// What it said.
        header: Header,
        /// How many bytes of the last input belong to it; the stream proper begins behind them.
        used: usize,
    },
}

/// The connection does not begin with a PROXY header that can be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The first bytes are something else, such as a client that connects without the proxy.
    #[error("no PROXY header at the start of the connection (is the proxy set to send one?)")]
    Missing,
    /// A header of a version that is not taken here.
    #[error("PROXY header of version {0}, which this listener does not take")]
    Version(u8),
    /// A version 1 line longer than 107 bytes.
    #[error("PROXY line over 107 bytes")]
    TooLong,
    /// The header does not follow the protocol.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// The connection comes from an address that is not trusted to relay others.
    #[error("{0} is not a trusted proxy")]
    Untrusted(PeerAddress),
}

/// Collects one header.
#[derive(Debug, Default)]
pub struct HeaderDecoder {
    versions: Versions,
    kept: Vec<u8>,
    /// Bytes of the header taken so far, kept or skipped.
    taken: usize,
}

impl HeaderDecoder {
    /// A decoder at the start of a connection, for either version.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that takes only these versions.
    #[must_use]
    pub fn speaking(versions: Versions) -> Self {
        Self { versions, ..Self::default() }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`ProxyError`] as soon as the bytes cannot become a valid header; close the connection.
    pub fn feed(&mut self, input: &[u8]) -> Result<Progress, ProxyError> {
        let mut used = 0;
        loop {
            let missing = self.missing()?;
            let rest = input.get(used..).unwrap_or_default();
            if missing == 0 {
                return Ok(Progress::Complete { header: self.finish()?, used });
            }
            if rest.is_empty() {
                return Ok(Progress::Incomplete);
            }
            let piece = &rest[..missing.min(rest.len())];
            let room = MAX_KEPT.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
            self.taken += piece.len();
            used += piece.len();
        }
    }

    /// How many bytes are certainly missing; 0 when the header is whole.
    fn missing(&self) -> Result<usize, ProxyError> {
        match (self.kept.first(), self.versions) {
            (None, _) => Ok(1),
            (Some(&first), Versions::V2) if first == text::PREFIX[0] => Err(ProxyError::Version(1)),
            (Some(&first), _) if first == text::PREFIX[0] => text::missing(&self.kept),
            (Some(b'\r'), Versions::V1) => Err(ProxyError::Version(2)),
            (Some(_), _) => binary::missing(&self.kept, self.taken),
        }
    }

    fn finish(&self) -> Result<Header, ProxyError> {
        let proxied = match self.kept.first() {
            Some(&first) if first == text::PREFIX[0] => Some(text::parse(&self.kept)?),
            _ => binary::parse(&self.kept, self.taken == self.kept.len())?,
        };
        Ok(Header { proxied })
    }
}

#[cfg(test)]
mod tests;
