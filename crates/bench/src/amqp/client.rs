//! One connection, its handshake and its channels.

use std::collections::VecDeque;

use super::wire::Deliver;
use crate::engine::LinkId;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// connection.open is not answered yet.
    Connecting,
    /// Open.
    Connected,
    /// The connection is gone.
    Closed,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) link: LinkId,
    pub(super) state: ClientState,
    /// When the protocol header was sent, in nanoseconds of the load's clock.
    pub(super) connecting_since: u64,
    /// By number; channel 0 is the connection itself.
    pub(super) channels: Vec<Channel>,
}

impl Client {
    pub(super) fn new(link: LinkId) -> Self {
        let channels = vec![Channel::default()];
        Client { link, state: ClientState::Connecting, connecting_since: 0, channels }
    }
}

/// What is under way on one channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// The answers that must come, in this order.
    pub(super) answers: VecDeque<u32>,
    pub(super) publisher: Option<usize>,
    pub(super) consumer: Option<usize>,
    pub(super) content: Content,
}

/// A message of which not all frames have arrived.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) stage: Stage,
    /// The body so far, if it did not come in one frame.
    pub(super) collected: Vec<u8>,
}

/// The frame that must come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// A method.
    #[default]
    Method,
    /// The content header of a delivery, or of a returned message.
    Header(Option<Deliver>),
    /// A body frame, and the size of the whole body.
    Body(Option<Deliver>, usize),
}
