//! If-Match and If-None-Match (RFC 7252 §5.10.8): what a request asks about the value it would replace.

use std::cell::Cell;
use std::sync::Arc;

use tercet_broker::body::{Body, Stored};
use tercet_broker::message::Message;
use tercet_coap::{Number, Options};

use super::representation::tag_of;

/// The conditions of a request.
#[derive(Debug)]
pub(super) struct Conditions<'a> {
    options: Options<'a>,
    /// A value that was read from the log for them.
    read: Option<&'a Arc<Message>>,
    /// The value that would have to be read to judge them.
    unread: Cell<Option<Stored>>,
}

impl<'a> Conditions<'a> {
    /// Those of a request. `read`: the value, if an earlier attempt found that it is only in the log.
    pub(super) fn new(options: Options<'a>, read: Option<&'a Arc<Message>>) -> Self {
        Self { options, read, unread: Cell::new(None) }
    }

    /// Whether they hold for this value. Of If-Match options one is enough, and one without a tag asks for any value.
    pub(super) fn hold(&self, value: Option<&Body>) -> bool {
        if self.options.contains(Number::IF_NONE_MATCH) && value.is_some() {
            return false;
        }
        if !self.options.contains(Number::IF_MATCH) {
            return true;
        }
        let Some(value) = value else { return false };
        if self.options.all(Number::IF_MATCH).any(<[u8]>::is_empty) {
            return true;
        }
        let current = match value {
            Body::Memory(message) => tag_of(message),
            Body::Log(stored) => {
                let read = self.read.filter(|message| *message.stored.lock() == Some(*stored));
                match read {
                    Some(message) => tag_of(message),
                    None => {
                        self.unread.set(Some(*stored));
                        return false;
                    }
                }
            }
        };
        self.options.all(Number::IF_MATCH).any(|tag| tag == current)
    }

    /// Whether they could not be judged, as the value is only in the log.
    pub(super) fn need_value(&self) -> bool {
        self.unread.get().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::representation::tag;
    use super::*;
    use tercet_broker::clock::Now;
    use tercet_broker::message::{Properties, Publication, Qos};
    use tercet_broker::session::SessionId;
    use tercet_coap::OptionBuf;

    #[test]
    fn conditions_are_judged_by_the_value_that_is_there() {
        let publication = Publication {
            topic: "t",
            payload: b"21",
            properties: Properties::NONE,
            qos: Qos::AtMostOnce,
            retain: true,
            expiry: None,
            publisher: SessionId(1),
        };
        let message = Message::from_publication(&publication, "t".into(), Now::read());
        let value = Body::Memory(Arc::new(message));
        let current = tag(None, b"21");
        let other = tag(None, b"22");
        for (matching, none_match, with_value, without) in [
            (&[][..], false, true, true),
            (&[], true, false, true),
            (&[&[][..]], false, true, false),
            (&[&current], false, true, false),
            (&[&other], false, false, false),
            (&[&other, &current], false, true, false),
            (&[&current], true, false, false),
        ] {
            let mut options = OptionBuf::new();
            for tag in matching {
                options.add(Number::IF_MATCH, tag);
            }
            if none_match {
                options.add(Number::IF_NONE_MATCH, &[]);
            }
            let conditions = Conditions::new(options.as_options(), None);
            assert_eq!(conditions.hold(Some(&value)), with_value, "{matching:?} {none_match}");
            assert_eq!(conditions.hold(None), without, "{matching:?} {none_match}");
            assert!(!conditions.need_value());
        }
    }
}
