//! `-D COMMAND IDENTIFIER VALUE`: MQTT 5 properties on the command line, named as in the Mosquitto clients.

use tercet_client::mqtt::{Properties, Property};

/// Properties by the packet that they were given for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PropertySet {
    pub(super) connect: Properties,
    pub(super) publish: Properties,
    pub(super) subscribe: Properties,
    pub(super) unsubscribe: Properties,
    pub(super) disconnect: Properties,
    pub(super) will: Properties,
}

/// What is wrong with a `-D`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PropertyError {
    #[error("Invalid command given in --property argument: '{0}'")]
    Command(String),
    #[error("Invalid property name given in --property argument: '{0}'")]
    Name(String),
    #[error("{name} property not allowed for {command} in --property argument")]
    NotAllowed { command: String, name: String },
    #[error("Property value '{value}' of {name} is not a number from 0 to {most}")]
    Value { name: String, value: String, most: u32 },
}

/// The properties that `-D` can set, with the packets that take them: connect, publish, subscribe, unsubscribe,
/// disconnect, will (MQTT 5 §2.2.2.2, without those that only servers send).
const ALLOWED: &[(&str, &[&str])] = &[
    ("payload-format-indicator", &["publish", "will"]),
    ("message-expiry-interval", &["publish", "will"]),
    ("content-type", &["publish", "will"]),
    ("response-topic", &["publish", "will"]),
    ("correlation-data", &["publish", "will"]),
    ("subscription-identifier", &["subscribe"]),
    ("session-expiry-interval", &["connect", "disconnect"]),
    ("authentication-method", &["connect"]),
    ("authentication-data", &["connect"]),
    ("request-problem-information", &["connect"]),
    ("will-delay-interval", &["will"]),
    ("request-response-information", &["connect"]),
    ("receive-maximum", &["connect"]),
    ("topic-alias-maximum", &["connect"]),
    ("topic-alias", &["publish"]),
    ("maximum-packet-size", &["connect"]),
    ("user-property", &["connect", "publish", "subscribe", "unsubscribe", "disconnect", "will"]),
];

/// How many values follow the identifier.
pub(super) fn values(identifier: &str) -> usize {
    if identifier == "user-property" { 2 } else { 1 }
}

impl PropertySet {
    /// Adds one; `second` is the value of a user property.
    pub(super) fn add(
        &mut self,
        command: &str,
        identifier: &str,
        value: &str,
        second: Option<&str>,
    ) -> Result<(), PropertyError> {
        let command = command.to_ascii_lowercase();
        let properties = match command.as_str() {
            "connect" => &mut self.connect,
            "publish" => &mut self.publish,
            "subscribe" => &mut self.subscribe,
            "unsubscribe" => &mut self.unsubscribe,
            "disconnect" => &mut self.disconnect,
            "will" => &mut self.will,
            _ => return Err(PropertyError::Command(command)),
        };
        let name = identifier.to_ascii_lowercase();
        let allowed = ALLOWED.iter().find(|(known, _)| *known == name);
        let (_, commands) = allowed.ok_or_else(|| PropertyError::Name(name.clone()))?;
        if !commands.contains(&command.as_str()) {
            return Err(PropertyError::NotAllowed { command, name });
        }
        properties.set(parse(&name, value, second)?);
        Ok(())
    }
}

fn parse(name: &str, value: &str, second: Option<&str>) -> Result<Property, PropertyError> {
    let number = |most: u32| {
        let bad = || PropertyError::Value { name: name.into(), value: value.into(), most };
        value.parse::<u32>().ok().filter(|number| *number <= most).ok_or_else(bad)
    };
    let byte = || number(1).map(|n| n as u8);
    let short = || number(u16::MAX.into()).map(|n| n as u16);
    let text = || value.to_owned();
    Ok(match name {
        "payload-format-indicator" => Property::PayloadFormatIndicator(byte()?),
        "message-expiry-interval" => Property::MessageExpiryInterval(number(u32::MAX)?),
        "content-type" => Property::ContentType(text()),
        "response-topic" => Property::ResponseTopic(text()),
        "correlation-data" => Property::CorrelationData(text().into()),
        "subscription-identifier" => Property::SubscriptionIdentifier(number(268_435_455)?),
        "session-expiry-interval" => Property::SessionExpiryInterval(number(u32::MAX)?),
        "authentication-method" => Property::AuthenticationMethod(text()),
        "authentication-data" => Property::AuthenticationData(text().into()),
        "request-problem-information" => Property::RequestProblemInformation(byte()?),
        "will-delay-interval" => Property::WillDelayInterval(number(u32::MAX)?),
        "request-response-information" => Property::RequestResponseInformation(byte()?),
        "receive-maximum" => Property::ReceiveMaximum(short()?),
        "topic-alias-maximum" => Property::TopicAliasMaximum(short()?),
        "topic-alias" => Property::TopicAlias(short()?),
        "maximum-packet-size" => Property::MaximumPacketSize(number(u32::MAX)?),
        "user-property" => Property::UserProperty(text(), second.unwrap_or("").to_owned()),
        _ => return Err(PropertyError::Name(name.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_go_to_their_packet() {
        let mut set = PropertySet::default();
        set.add("publish", "content-type", "text/plain", None).unwrap();
        set.add("PUBLISH", "user-property", "k", Some("v")).unwrap();
        set.add("connect", "receive-maximum", "10", None).unwrap();
        set.add("will", "will-delay-interval", "5", None).unwrap();
        assert_eq!(set.publish.content_type(), Some("text/plain"));
        assert_eq!(set.publish.user().collect::<Vec<_>>(), [("k", "v")]);
        assert_eq!(set.connect.receive_maximum(), Some(10));
        assert_eq!(set.will.iter().next(), Some(&Property::WillDelayInterval(5)));
    }

    #[test]
    fn every_listed_property_can_be_set_and_only_where_it_belongs() {
        for (name, commands) in ALLOWED {
            for command in ["connect", "publish", "subscribe", "unsubscribe", "disconnect", "will"] {
                let outcome = PropertySet::default().add(command, name, "1", Some("2"));
                assert_eq!(outcome.is_ok(), commands.contains(&command), "{command} {name}: {outcome:?}");
            }
        }
    }

    #[test]
    fn bad_ones_are_named() {
        for (command, name, value, part) in [
            ("send", "content-type", "x", "'send'"),
            ("publish", "colour", "x", "'colour'"),
            ("publish", "topic-alias", "70000", "65535"),
            ("publish", "payload-format-indicator", "2", "0 to 1"),
            ("connect", "receive-maximum", "-1", "'-1'"),
        ] {
            let error = PropertySet::default().add(command, name, value, None).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
