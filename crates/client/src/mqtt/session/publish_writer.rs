//! Writes PUBLISH packets as one connection takes them: with topic aliases, and never larger than the broker allows.

use tercet_mqtt::PacketId;
use tercet_mqtt::alias::{self, TopicForm};

use crate::mqtt::Version;
use crate::mqtt::command::Outgoing;
use crate::mqtt::wire::{self, Sending};
use crate::{Error, Result};

/// More than the rest of a PUBLISH takes beside topic and payload in ordinary cases.
const ROOM: usize = 4096;

/// Aliases live as long as their connection ([MQTT-3.3.2-7]), and so does this.
pub(super) struct PublishWriter {
    version: Version,
    aliases: alias::Outbound,
    maximum_packet: usize,
}

impl PublishWriter {
    /// For a broker that takes aliases up to `alias_maximum` and packets of `maximum_packet` bytes.
    pub(super) fn new(version: Version, alias_maximum: u16, maximum_packet: usize) -> Self {
        Self { version, aliases: alias::Outbound::new(alias_maximum), maximum_packet }
    }

    /// Appends the packet to `out`; nothing is appended when it fails.
    pub(super) fn write(
        &mut self,
        message: &Outgoing,
        id: Option<PacketId>,
        dup: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let own = message.properties.topic_alias().is_some();
        let small = message.payload.len() + message.topic.len() + ROOM < self.maximum_packet;
        // An alias that is given here must be sent, so nothing that may be too large gets one.
        let form = if own || !small { TopicForm::Name } else { self.aliases.assign(&message.topic) };
        let (alias, topic_known) = match form {
            TopicForm::Name => (None, false),
            TopicForm::Define(alias) => (Some(alias), false),
            TopicForm::Alias(alias) => (Some(alias), true),
        };
        let start = out.len();
        let written = wire::publish(message, Sending { id, dup, alias, topic_known }, self.version, out);
        let size = out.len() - start;
        let outcome = match written {
            Ok(()) if size > self.maximum_packet => Err(Error::TooLarge { size, limit: self.maximum_packet }),
            other => other,
        };
        if outcome.is_err() {
            out.truncate(start);
            if matches!(form, TopicForm::Define(_)) {
                // The broker will never hear of it; do without aliases from here on.
                self.aliases = alias::Outbound::new(0);
            }
        }
        outcome
    }
}
