//! What the configuration says about AMQP, compiled for the connections of a listener.

use tercet_amqp::{Limits, Tuning};

use crate::config::Amqp;

/// Levels of tables in tables that are accepted.
const TABLE_DEPTH: u8 = 32;

/// What AMQP clients of a listener are told and granted.
#[derive(Clone, Debug)]
pub struct AmqpSettings {
    /// Product name told to clients.
    pub product: String,
    /// Version told to clients.
    pub version: String,
    /// What is proposed to clients.
    pub tuning: Tuning,
    /// Bytes of a message above which its channel is closed.
    pub max_message_size: u64,
}

impl AmqpSettings {
    /// Compiles the section.
    #[must_use]
    pub fn new(section: &Amqp) -> Self {
        let version = section.version.clone();
        Self {
            product: section.product.clone(),
            version: version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            tuning: Tuning {
                channel_max: section.channel_max.get(),
                frame_max: u32::try_from(section.frame_max.bytes()).unwrap_or(u32::MAX),
                heartbeat: u16::try_from(section.heartbeat.as_secs()).unwrap_or(u16::MAX),
            },
            max_message_size: section.max_message_size.bytes(),
        }
    }

    /// Limits of the decoder once a client has settled on `tuning`.
    #[must_use]
    pub fn limits(&self, tuning: &Tuning) -> Limits {
        tuning.limits(Limits { table_depth: TABLE_DEPTH, ..Limits::default() })
    }
}
