//! `[limits]`: bounds on what clients can make the broker hold or do.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::choice::{Overflow, SlowSubscriber};
use super::quantity::Size;
use super::schema::section;
use super::setting::{Auto, Limit};

pub(super) const fn nz16(n: u16) -> NonZeroU16 {
    match NonZeroU16::new(n) {
        Some(n) => n,
        None => NonZeroU16::MIN,
    }
}

pub(super) const fn nz32(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

const fn nz64(n: u64) -> NonZeroU64 {
    match NonZeroU64::new(n) {
        Some(n) => n,
        None => NonZeroU64::MIN,
    }
}

section! {
    /// Bounds on what clients can make the broker hold or do. Reaching one is logged once and counted.
    /// An ordinary benchmark, or a fleet that reconnects at once, loses nothing with the defaults.
    Limits, "limits" {
        /// Connections open at a time, over all listeners. "off": as many as the open-file limit allows.
        max_connections: Limit<NonZeroU32> = Limit::Off => Restart;
        /// New connections per second, over all listeners; further ones wait in the accept queue.
        connect_rate: Limit<NonZeroU32> = Limit::Off => Restart;
        /// Messages per second that one client may publish; a faster one is read more slowly.
        message_rate: Limit<NonZeroU32> = Limit::Off => NewConnections;
        /// Bytes per second that one client may send; a faster one is read more slowly.
        byte_rate: Limit<Size> = Limit::Off => NewConnections;
        /// Largest MQTT packet accepted, fixed header included (Maximum Packet Size).
        max_packet_size: Size = Size::from_mib(1) => NewConnections,
            in Size::from_bytes(128)..=Size::from_bytes(268_435_460);
        /// Unacknowledged QoS 1 and 2 messages to a client that names no Receive Maximum of its own.
        max_inflight: NonZeroU16 = nz16(1024) => NewConnections;
        /// Messages that wait for one offline session.
        max_queued_messages: Limit<NonZeroU64> = Limit::At(nz64(1_000_000)) => Live;
        /// Bytes, topic and properties included, that wait for one offline session.
        max_queued_bytes: Limit<Size> = Limit::At(Size::from_mib(100)) => Live;
        /// What a full queue of an offline session drops.
        queue_overflow: Overflow = Overflow::DropOldest => Live;
        /// Bytes that wait for one connected client before `slow-subscriber` applies.
        outbox: Size = Size::from_mib(8) => NewConnections, in Size::from_kib(16)..=Size::from_mib(4096);
        /// What happens to a client whose outbox is full of QoS 0 messages.
        slow_subscriber: SlowSubscriber = SlowSubscriber::Drop => NewConnections;
        /// Levels of a topic name or filter.
        max_topic_levels: NonZeroU16 = nz16(200) => NewConnections;
        /// Bytes of a topic name or filter.
        max_topic_length: NonZeroU16 = nz16(65_535) => NewConnections;
        /// Bytes of a client identifier. The specification asks for at least 23.
        max_client_id_length: NonZeroU16 = nz16(1024) => NewConnections, in nz16(23)..=nz16(65_535);
        /// Bytes of a username.
        max_username_length: NonZeroU16 = nz16(1024) => NewConnections;
        /// User properties of one packet.
        max_user_properties: u16 = 1000 => NewConnections;
        /// Subscriptions of one client.
        max_subscriptions: Limit<NonZeroU32> = Limit::At(nz32(1_000_000)) => Live;
        /// Sessions, connected or not.
        max_sessions: Limit<NonZeroU32> = Limit::Off => Live;
        /// Longest Session Expiry Interval granted to MQTT 5 clients; "off" grants what they ask for.
        max_session_expiry: Limit<Duration> = Limit::Off => NewConnections;
        /// Retained messages.
        max_retained_messages: Limit<NonZeroU64> = Limit::At(nz64(1_000_000)) => Live;
        /// Bytes of all retained messages.
        max_retained_bytes: Limit<Size> = Limit::Off => Live;
        /// Memory that messages and sessions may fill before publishers are slowed down. "auto" is 70 %
        /// of what the machine or its control group grants.
        memory: Auto<Size> = Auto::Auto => Restart;
        /// Memory that queued and retained messages may fill that are on disk as well; beyond it they are only on disk, and
        /// read back when their turn comes. Never more than a quarter of `memory`.
        message_memory: Size = Size::from_mib(64) => Live;
    }
}
