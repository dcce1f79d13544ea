//! Properties of PUBLISH, and what of them a relay keeps.

use core::num::NonZeroU16;

use crate::property::section::{Field, property_set};
use crate::property::{PayloadFormat, PropertyId};
use crate::wire::sink::{Count, Sink};

property_set! {
    /// Properties of a PUBLISH (§3.3.2.3).
    PublishProperties {
        /// What the payload is.
        payload_format: Option<PayloadFormat> = PayloadFormatIndicator, None;
        /// Lifetime of the message in seconds.
        message_expiry: Option<u32> = MessageExpiryInterval, None;
        /// A number that stands for the topic name on this connection.
        topic_alias: Option<NonZeroU16> = TopicAlias, None;
        /// Where an answer is expected: a topic name.
        response_topic: Option<&'a str> = ResponseTopic, None;
        /// What an answer is to be marked with.
        correlation_data: Option<&'a [u8]> = CorrelationData, None;
        /// Describes the payload, by convention with a MIME type.
        content_type: Option<&'a str> = ContentType, None;
    }
    repeated subscription_ids;
}

impl PublishProperties<'_> {
    /// How many bytes [`write_forwarded`](Self::write_forwarded) writes.
    #[inline]
    pub fn forwarded_len(&self) -> usize {
        let mut count = Count::default();
        self.forward(&mut count);
        count.len
    }

    /// Appends the properties that belong to the message and travel on unaltered with it [MQTT-3.3.2-4],
    /// [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]: all except Topic Alias and
    /// Subscription Identifiers, which belong to a connection, and Message Expiry Interval, which runs down.
    ///
    /// The bytes have no length prefix and are what [`PublishHeader::properties`](crate::PublishHeader::properties)
    /// takes. User Properties keep their order; that of the others has no meaning (§2.2.2.2).
    #[inline]
    pub fn write_forwarded(&self, out: &mut Vec<u8>) {
        self.forward(out);
    }

    fn forward<S: Sink>(&self, out: &mut S) {
        self.payload_format.write(PropertyId::PayloadFormatIndicator, out);
        self.response_topic.write(PropertyId::ResponseTopic, out);
        self.correlation_data.write(PropertyId::CorrelationData, out);
        self.content_type.write(PropertyId::ContentType, out);
        self.user_properties.write(out);
    }
}
