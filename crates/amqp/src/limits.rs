//! What a receiver is willing to take.

/// The least frame-max that may be negotiated, in bytes (§4.2.3, `frame-min-size`).
pub const FRAME_MIN: u32 = 4096;

/// The smallest frame size that a server lets a client settle on, as RabbitMQ does since 4.1: what is sent before
/// authentication must fit.
pub const FRAME_LEAST: u32 = 8192;

/// Bytes around the payload of a frame: seven before, one after.
pub const FRAME_OVERHEAD: u32 = 8;

/// How far a frame may exceed the negotiated maximum, in bytes. Some clients count the payload alone against it;
/// RabbitMQ has always let them.
pub const FRAME_FUDGE: u32 = 8;

/// Bounds on what a peer can make the receiver do. They are checked before anything is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Greatest size of a frame in bytes, with its overhead, as negotiated; 0 for none. [`FRAME_FUDGE`] more are
    /// tolerated.
    pub frame_max: u32,
    /// Greatest size of a message's body in bytes. A header that announces more is an error of the connection (501);
    /// a server that wants to answer with 406 sets it higher than the size it refuses.
    pub body_max: u64,
    /// How many levels of tables and arrays may be inside each other; the outermost is level 1.
    pub table_depth: u8,
}

impl Limits {
    /// Before the peer has shown who it is: frames of 8 KiB at most, as RabbitMQ has it, and no message.
    pub const fn before_authentication() -> Self {
        Self { frame_max: 8192, body_max: 0, table_depth: 8 }
    }

    /// The greatest payload of a frame that is accepted.
    #[inline]
    pub(crate) const fn payload_max(&self) -> u32 {
        match self.frame_max {
            0 => u32::MAX,
            max => max.saturating_sub(FRAME_OVERHEAD).saturating_add(FRAME_FUDGE),
        }
    }
}

impl Default for Limits {
    /// Frames of 128 KiB, bodies of 512 MiB, 32 levels.
    fn default() -> Self {
        Self { frame_max: 131_072, body_max: 512 << 20, table_depth: 32 }
    }
}
