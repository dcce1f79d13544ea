//! Where messages leave: through the message layer onto datagrams, or framed onto streams.

use std::ops::Range;

use tercet_broker::clock::Now;
use tercet_coap::endpoint::{Endpoint, Handle, Heading, Outgoing, Refused, Reply};
use tercet_coap::{Code, OwnedMessage, Time, Writer};

use super::oscore::Protection;
use super::peer::{Origin, Peer, StreamRef};

/// What a reactor sends by. What is written here leaves at the end of a batch.
pub struct Outlet {
    /// The message layer of all datagrams.
    pub endpoint: Endpoint<Peer>,
    /// Datagrams to be sent.
    pub datagrams: Outgoing<Peer>,
    /// Frames to be written.
    pub frames: Frames,
    /// The time of the turn, as the message layer counts it.
    pub time: Time,
    began: std::time::Instant,
}

/// Frames for streams, one after the other in one buffer.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    frames: Vec<(StreamRef, Range<usize>)>,
}

impl Frames {
    /// The frames in order.
    pub fn iter(&self) -> impl Iterator<Item = (StreamRef, &[u8])> {
        self.frames.iter().map(|(stream, range)| (*stream, self.bytes.get(range.clone()).unwrap_or_default()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether there are any for this stream.
    #[must_use]
    pub fn are_for(&self, stream: StreamRef) -> bool {
        self.frames.iter().any(|(to, _)| *to == stream)
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// Adds a message.
    pub fn push(&mut self, to: StreamRef, code: Code, token: &[u8], write: impl FnOnce(&mut Writer<'_>)) {
        let start = self.bytes.len();
        match to.is_websocket {
            true => write(&mut Writer::websocket(&mut self.bytes, code, token)),
            false => write(&mut Writer::stream(&mut self.bytes, code, token)),
        }
        self.frames.push((to, start..self.bytes.len()));
    }
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub enum ReplyTo {
    /// Through the message layer.
    Datagram(Reply<Peer>),
    /// Onto the stream it came by.
    Stream(StreamRef),
    /// Protected, then as the one inside.
    Protected(Box<ProtectedReply>),
}

/// Where the answer to a protected request goes.
#[derive(Debug)]
pub struct ProtectedReply {
    /// Where the protected message came from; that one is not protected itself.
    pub to: ReplyTo,
    /// How the answer is protected.
    pub protection: Protection,
}

impl ReplyTo {
    /// The message layer's part of it, if there is one.
    pub fn datagram_mut(&mut self) -> Option<&mut Reply<Peer>> {
        match self {
            Self::Datagram(reply) => Some(reply),
            Self::Stream(_) => None,
            Self::Protected(reply) => reply.to.datagram_mut(),
        }
    }

    /// How the answer is protected, if it is.
    #[must_use]
    pub fn protection(&self) -> Option<&Protection> {
        match self {
            Self::Protected(reply) => Some(&reply.protection),
            Self::Datagram(_) | Self::Stream(_) => None,
        }
    }

    /// Who asked.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Datagram(reply) => Origin::Datagrams(reply.peer()),
            Self::Stream(stream) => Origin::Stream(*stream),
            Self::Protected(reply) => reply.to.origin(),
        }
    }

    /// Whether the answer is awaited. It always is on a stream.
    #[must_use]
    pub fn is_confirmable(&self) -> bool {
        match self {
            Self::Datagram(reply) => reply.is_confirmable(),
            Self::Stream(_) => true,
            Self::Protected(reply) => reply.to.is_confirmable(),
        }
    }

    /// Whether the request went to a group.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        matches!(self, Self::Datagram(reply) if reply.is_multicast())
    }
}

impl Outlet {
    /// Sends through this message layer.
    #[must_use]
    pub fn new(endpoint: Endpoint<Peer>, now: Now) -> Self {
        let (datagrams, frames) = (Outgoing::new(), Frames::default());
        Self { endpoint, datagrams, frames, time: Time::ZERO, began: now.monotonic }
    }

    /// A turn begins.
    pub fn set_time(&mut self, now: Now) {
        self.time = now.monotonic.saturating_duration_since(self.began);
    }

    /// How long it is until the message layer has something to do.
    #[must_use]
    pub fn next_due(&self, now: std::time::Instant) -> Option<Time> {
        let time = now.saturating_duration_since(self.began);
        Some(self.endpoint.next_due()?.saturating_sub(time))
    }

    /// Answers a request.
    #[inline]
    pub fn respond(&mut self, to: ReplyTo, code: Code, token: &[u8], write: impl FnOnce(&mut Writer<'_>)) {
        match to {
            ReplyTo::Datagram(reply) => {
                self.endpoint.respond(reply, code, token, write, self.time, &mut self.datagrams);
            }
            ReplyTo::Stream(stream) => self.frames.push(stream, code, token, write),
            ReplyTo::Protected(reply) => {
                let ProtectedReply { to, mut protection } = *reply;
                match protection.protect(code, token, write) {
                    Ok(message) => self.respond_with(to, &message),
                    Err(error) => {
                        tracing::warn!(%error, "a response cannot be protected by OSCORE");
                        self.suppress(to);
                    }
                }
            }
        }
    }

    /// Answers a request with a message that is written already.
    pub fn respond_with(&mut self, to: ReplyTo, message: &OwnedMessage) {
        let write = |writer: &mut Writer<'_>| {
            writer.options(message.options.as_options()).payload(&message.payload);
        };
        match to {
            ReplyTo::Datagram(reply) => {
                let Self { endpoint, datagrams, time, .. } = self;
                endpoint.respond(reply, message.code, message.token.as_bytes(), write, *time, datagrams);
            }
            ReplyTo::Stream(stream) => {
                self.frames.push(stream, message.code, message.token.as_bytes(), write)
            }
            ReplyTo::Protected(reply) => self.respond_with(reply.to, message),
        }
    }

    /// Gives no answer but what the message layer owes.
    pub fn suppress(&mut self, to: ReplyTo) {
        match to {
            ReplyTo::Datagram(reply) => self.endpoint.suppress(reply, self.time, &mut self.datagrams),
            ReplyTo::Stream(_) => {}
            ReplyTo::Protected(reply) => self.suppress(reply.to),
        }
    }

    /// Rejects a request that cannot be answered, where that can be said.
    pub fn reject(&mut self, to: ReplyTo) {
        match to {
            ReplyTo::Datagram(reply) => self.endpoint.reject(reply, self.time, &mut self.datagrams),
            ReplyTo::Stream(_) => {}
            ReplyTo::Protected(reply) => self.reject(reply.to),
        }
    }

    /// Sends a message of its own, in the certainty that it arrives or that one hears of it.
    ///
    /// # Errors
    /// The message layer does not take it now.
    pub fn send_confirmable(
        &mut self,
        to: Origin,
        heading: Heading<'_>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<Option<Handle>, Refused> {
        match to {
            Origin::Datagrams(peer) => {
                self.endpoint.send_confirmable(peer, heading, write, self.time, &mut self.datagrams).map(Some)
            }
            Origin::Stream(stream) => {
                self.frames.push(stream, heading.code, heading.token, write);
                Ok(None)
            }
        }
    }

    /// Sends a message of its own, once.
    ///
    /// # Errors
    /// The message layer does not take it now.
    pub fn send_once(
        &mut self,
        to: Origin,
        heading: Heading<'_>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), Refused> {
        match to {
            Origin::Datagrams(peer) => {
                self.endpoint.send_non_confirmable(peer, heading, write, self.time, &mut self.datagrams)
            }
            Origin::Stream(stream) => {
                self.frames.push(stream, heading.code, heading.token, write);
                Ok(())
            }
        }
    }
}
