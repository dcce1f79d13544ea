//! A message as a response: its format, its tag, how long it holds.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::str;
use std::sync::{Arc, Weak};

use tercet_broker::crossing::coap::content_format;
use tercet_broker::message::Message;
use tercet_coap::{Code, ContentFormat, Number};

use super::super::context::CoapContext;
use super::super::response::{Body, Response};
use super::Call;

/// Tells representations of a resource apart: the same for the same format and payload, on every reactor and after a restart.
pub(super) type Tag = [u8; 8];

/// Payloads from this size on, in bytes, are not hashed for each of their blocks.
const LARGE: usize = 1024;
/// Large messages whose tags are remembered.
const REMEMBERED: usize = 8;

/// Tags of large messages, those used last: who reads one in blocks asks for it many times.
#[derive(Debug, Default)]
pub(super) struct Tags(VecDeque<(Weak<Message>, Tag)>);

impl Tags {
    fn of(&mut self, message: &Arc<Message>, format: Option<ContentFormat>) -> Tag {
        if message.payload.len() < LARGE {
            return tag(format, &message.payload);
        }
        let is_it = |(known, _): &&(Weak<Message>, Tag)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(message));
        if let Some((_, tag)) = self.0.iter().find(is_it) {
            return *tag;
        }
        let tag = tag(format, &message.payload);
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        // The weak reference keeps the address from being used again.
        self.0.push_back((Arc::downgrade(message), tag));
        tag
    }
}

/// The tag of a representation.
pub(super) fn tag(format: Option<ContentFormat>, payload: &[u8]) -> Tag {
    let mut hasher = DefaultHasher::new();
    hasher.write_u32(format.map_or(u32::MAX, |format| u32::from(format.0)));
    hasher.write(payload);
    hasher.finish().to_be_bytes()
}

/// The tag of a message.
pub(super) fn tag_of(message: &Message) -> Tag {
    tag(content_format(message.properties()).0, &message.payload)
}

/// The format in which a representation is sent to a client that accepts only `accept`; `None` if it cannot be. Of a payload
/// whose format nobody has said it is true that it is bytes, and if it is UTF-8, that it is text.
#[expect(clippy::option_option, reason = "a representation may have no format")]
fn accepted(
    format: Option<ContentFormat>,
    accept: Option<ContentFormat>,
    payload: &[u8],
) -> Option<Option<ContentFormat>> {
    let fits = match (format, accept) {
        (_, None) => return Some(format),
        (Some(format), Some(accept)) => format == accept,
        (None, Some(ContentFormat::OCTET_STREAM)) => true,
        (None, Some(ContentFormat::TEXT)) => str::from_utf8(payload).is_ok(),
        (None, Some(_)) => false,
    };
    fits.then_some(accept)
}

/// Answers a reader: the message, or that it has it already.
pub(super) fn represent(call: &Call<'_>, message: &Arc<Message>, cx: &mut CoapContext<'_>) -> Response {
    let (format, not_carried) = content_format(message.properties());
    cx.effects.counters.properties_not_carried += not_carried.0;
    let Some(sent_as) = accepted(format, call.asked.accept, &message.payload) else {
        return Response::new(Code::NOT_ACCEPTABLE);
    };
    let etag = cx.resources.tags.of(message, format);
    let response = Response {
        etag: Some(etag),
        max_age: message.remaining_expiry(cx.now),
        ..Response::new(Code::VALID)
    };
    if call.asked.has_etags && call.request.options.all(Number::ETAG).any(|known| known == etag) {
        return response;
    }
    Response {
        code: Code::CONTENT,
        content_format: sent_as,
        body: Body::Message(Arc::clone(message)),
        ..response
    }
}

/// Tells an observer that was first answered in this format.
pub(super) fn notify(
    message: &Arc<Message>,
    first: Option<ContentFormat>,
    cx: &mut CoapContext<'_>,
) -> Response {
    let (format, not_carried) = content_format(message.properties());
    cx.effects.counters.properties_not_carried += not_carried.0;
    let Some(sent_as) = accepted(format, first, &message.payload) else {
        return Response::diagnostic(Code::NOT_ACCEPTABLE, "the format has changed");
    };
    Response {
        content_format: sent_as,
        etag: Some(cx.resources.tags.of(message, format)),
        max_age: message.remaining_expiry(cx.now),
        body: Body::Message(Arc::clone(message)),
        ..Response::new(Code::CONTENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_accepted_if_it_is_the_one_that_is_wanted() {
        let format = |number: u16| Some(ContentFormat(number));
        for (kept, wanted, expected) in [
            (None, None, Some(None)),
            (format(50), None, Some(format(50))),
            (format(50), format(50), Some(format(50))),
            (format(50), format(60), None),
            (format(50), format(42), None),
            (None, format(42), Some(format(42))),
            (None, format(0), Some(format(0))),
            (None, format(50), None),
        ] {
            assert_eq!(accepted(kept, wanted, b"21"), expected, "{kept:?} {wanted:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_no_text() {
        assert_eq!(accepted(None, Some(ContentFormat::TEXT), b"\xff"), None);
    }

    #[test]
    fn tags_tell_formats_and_payloads_apart() {
        let tags = [
            tag(None, b"a"),
            tag(None, b"b"),
            tag(Some(ContentFormat(0)), b"a"),
            tag(Some(ContentFormat(50)), b"a"),
            tag(None, b""),
        ];
        let different: std::collections::HashSet<_> = tags.iter().collect();
        assert_eq!(different.len(), tags.len());
        assert_eq!(tag(None, b"a"), tags[0]);
    }
}
