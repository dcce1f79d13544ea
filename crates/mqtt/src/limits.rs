//! What a receiver is willing to accept.

/// Bounds on what [`decode`](crate::decode) accepts, all checked before anything is looked at or kept.
///
/// The defaults suit a server on an open network; a client that trusts its server may start from
/// [`Limits::protocol`], the bounds of the protocol itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Greatest size of a whole packet in bytes, fixed header included: the Maximum Packet Size of MQTT 5.0. Exceeding
    /// it is reason 0x95, told from the fixed header alone. Default 1 MiB.
    pub max_packet_size: u32,
    /// Refuse control characters (U+0001..U+001F, U+007F..U+009F) and Unicode non-characters in all text, which
    /// §1.5.4 leaves to the receiver. Default off.
    pub strict_utf8: bool,
    /// Greatest number of levels of a topic name or filter: `a/b/c` has three. Default 200.
    pub max_topic_levels: u16,
    /// Greatest length of a topic name or filter in bytes. Default 4,096.
    pub max_topic_length: u16,
    /// Greatest number of User Properties in one packet (those of a will count separately). Default 100.
    pub max_user_properties: u16,
    /// Greatest length of a client identifier in bytes. Default 1,024.
    pub max_client_id: u16,
    /// Check that payloads which call themselves UTF-8 are (reason 0x99); a receiver may, but need not. Default off.
    pub check_payload_format: bool,
}

impl Limits {
    /// The limits of the protocol itself, nothing narrower.
    pub const fn protocol() -> Self {
        Self {
            max_packet_size: u32::MAX,
            strict_utf8: false,
            max_topic_levels: u16::MAX,
            max_topic_length: u16::MAX,
            max_user_properties: u16::MAX,
            max_client_id: u16::MAX,
            check_payload_format: false,
        }
    }

    /// Whether a topic with this many slashes has too many levels. The greatest limit is none, as a topic of slashes
    /// alone has one level more than it has bytes.
    #[inline]
    pub(crate) const fn is_too_deep(&self, slashes: usize) -> bool {
        slashes >= self.max_topic_levels as usize && self.max_topic_levels < u16::MAX
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_size: 1 << 20,
            strict_utf8: false,
            max_topic_levels: 200,
            max_topic_length: 4096,
            max_user_properties: 100,
            max_client_id: 1024,
            check_payload_format: false,
        }
    }
}
