//! Which reader gets a message: the client's subscriptions, and messages that wait for room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use tercet_mqtt::PacketId;
use tercet_mqtt::topic::filter_matches;

use super::command::SubscriptionKey;
use super::inbox::{Pushed, Sender};
use super::message::Message;
use super::property::Properties;
use super::subscribe::Filter;
use super::{Limits, QoS, TopicFilter};
use crate::Error;

/// Messages that wait for room, before the client stops reading.
const MOST_WAITING: usize = 4096;
/// Bytes of payload that wait for room, before the client stops reading.
const MOST_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// A subscription of this client.
pub(super) struct Entry {
    pub(super) key: SubscriptionKey,
    pub(super) filters: Vec<Filter>,
    pub(super) properties: Properties,
    /// The Subscription Identifier that the broker marks its messages with.
    pub(super) wire_id: Option<u32>,
    /// `None`: the messages go to the inbox.
    pub(super) sink: Option<Arc<Sender>>,
}

impl Entry {
    fn claims(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| matches(filter, topic))
    }

    fn shares_filter(&self, other: &Self, topic: &str) -> bool {
        let shared = |filter: &&Filter| other.filters.iter().any(|theirs| theirs.filter == filter.filter);
        self.filters.iter().filter(shared).any(|filter| matches(filter, topic))
    }
}

fn matches(filter: &Filter, topic: &str) -> bool {
    let parsed = TopicFilter::parse(&filter.filter, &Limits::protocol());
    parsed.is_ok_and(|parsed| filter_matches(parsed.filter(), topic))
}

/// The acknowledgement that is due once a message has reached its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) qos: QoS,
    pub(super) id: PacketId,
}

struct Waiting {
    sink: Arc<Sender>,
    message: Message,
    due: Option<Due>,
}

/// All subscriptions and the inbox.
pub(super) struct Routing {
    entries: Vec<Entry>,
    inbox: Option<Arc<Sender>>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

impl Routing {
    pub(super) fn new(inbox: Option<Sender>) -> Self {
        Self { entries: Vec::new(), inbox: inbox.map(Arc::new), waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(super) fn remove(&mut self, key: SubscriptionKey) {
        self.entries.retain(|entry| entry.key != key);
    }

    /// Forgets filters that were not granted or are unsubscribed; a subscription without filters ends.
    pub(super) fn forget(&mut self, key: Option<SubscriptionKey>, filters: &[String]) {
        for entry in self.entries.iter_mut().filter(|entry| key.is_none_or(|key| key == entry.key)) {
            entry.filters.retain(|filter| !filters.contains(&filter.filter));
        }
        self.entries.retain(|entry| !entry.filters.is_empty());
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives a message to its readers. `Some` if it reached them all and its acknowledgement may go out now.
    pub(super) fn deliver(&mut self, message: Message, due: Option<Due>) -> bool {
        let mut sinks = self.readers(&message);
        let Some(last) = sinks.pop() else { return true };
        for sink in sinks {
            self.push(sink, message.clone(), None);
        }
        self.push(last, message, due)
    }

    fn push(&mut self, sink: Arc<Sender>, message: Message, due: Option<Due>) -> bool {
        // What waits goes first, so that the order is kept.
        let message = if self.waiting.is_empty() {
            match sink.push(message) {
                Pushed::Done | Pushed::Closed => return true,
                Pushed::Full(message) => message,
            }
        } else {
            message
        };
        self.waiting_bytes += message.payload.len();
        self.waiting.push_back(Waiting { sink, message, due });
        false
    }

    fn readers(&self, message: &Message) -> Vec<Arc<Sender>> {
        let mut readers = Vec::with_capacity(1);
        let mut to_inbox = self.entries.is_empty();
        if !to_inbox {
            let by_id = |entry: &Entry| {
                entry
                    .wire_id
                    .is_some_and(|id| message.properties.subscription_identifiers().any(|it| it == id))
            };
            let marked: Vec<&Entry> = self.entries.iter().filter(|entry| by_id(entry)).collect();
            // The broker knows a filter once, with the identifier of the latest subscription to it.
            let chosen = |entry: &Entry| match marked.is_empty() {
                true => entry.claims(&message.topic),
                false => {
                    by_id(entry) || marked.iter().any(|other| entry.shares_filter(other, &message.topic))
                }
            };
            for entry in self.entries.iter().filter(|entry| chosen(entry)) {
                match &entry.sink {
                    Some(sink) => readers.push(sink.clone()),
                    None => to_inbox = true,
                }
            }
        }
        if to_inbox || readers.is_empty() {
            readers.extend(self.inbox.clone());
        }
        readers
    }

    /// Moves waiting messages to readers with room; calls `done` for each acknowledgement that may go out. Ready when
    /// nothing waits.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>, mut done: impl FnMut(Due)) -> Poll<()> {
        while let Some(first) = self.waiting.pop_front() {
            let size = first.message.payload.len();
            match first.sink.push(first.message) {
                Pushed::Done | Pushed::Closed => {
                    self.waiting_bytes -= size;
                    first.due.into_iter().for_each(&mut done);
                }
                Pushed::Full(message) => {
                    let room = first.sink.poll_room(cx);
                    self.waiting.push_front(Waiting { message, ..first });
                    if room.is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(())
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so much waits that nothing more should be read.
    pub(super) fn is_congested(&self) -> bool {
        self.waiting.len() >= MOST_WAITING || self.waiting_bytes >= MOST_WAITING_BYTES
    }

    /// Acknowledgements of the connection that is gone are of no use on the next one.
    pub(super) fn forget_due(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.due = None);
    }

    /// Ends all streams.
    pub(super) fn end(&self, error: &Error) {
        for sink in self.entries.iter().filter_map(|entry| entry.sink.as_ref()).chain(&self.inbox) {
            sink.end(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::{Overflow, Receiver, inbox};
    use super::super::property::Property;
    use super::*;

    fn entry(key: u32, filter: &str, wire_id: Option<u32>) -> (Entry, Receiver) {
        let (sender, receiver) = inbox(2, Overflow::Block);
        let filters = vec![Filter::new(filter)];
        let sink = Some(Arc::new(sender));
        (Entry { key: SubscriptionKey(key), filters, properties: Properties::new(), wire_id, sink }, receiver)
    }

    fn count(receiver: &mut Receiver) -> usize {
        std::iter::from_fn(|| receiver.try_next()).count()
    }

    #[test]
    fn messages_go_to_the_subscription_they_are_marked_for_or_to_all_that_match() {
        let (first, mut a) = entry(1, "x/#", Some(1));
        let (second, mut b) = entry(2, "$share/g/x/+", Some(2));
        let (sender, mut rest) = inbox(8, Overflow::Block);
        let mut routing = Routing::new(Some(sender));
        routing.add(first);
        routing.add(second);
        let mut marked = Message::new("x/y", "1");
        marked.properties.set(Property::SubscriptionIdentifier(2));
        assert!(routing.deliver(marked, None));
        assert_eq!((count(&mut a), count(&mut b), count(&mut rest)), (0, 1, 0));
        assert!(routing.deliver(Message::new("x/y", "2"), None));
        assert_eq!((count(&mut a), count(&mut b), count(&mut rest)), (1, 1, 0));
        assert!(routing.deliver(Message::new("z", "3"), None));
        assert_eq!((count(&mut a), count(&mut b), count(&mut rest)), (0, 0, 1));
    }

    #[test]
    fn a_full_reader_delays_the_acknowledgement() {
        let (only, mut reader) = entry(1, "#", None);
        let mut routing = Routing::new(None);
        routing.add(only);
        let due = |n| Some(Due { qos: QoS::AtLeastOnce, id: PacketId::new(n).unwrap() });
        let delivered: Vec<_> =
            (1..=4).map(|n| routing.deliver(Message::new("t", vec![n as u8]), due(n))).collect();
        assert_eq!(delivered, [true, true, false, false]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut acknowledged = Vec::new();
        assert!(routing.poll_waiting(&mut cx, |due| acknowledged.push(due.id.get())).is_pending());
        assert_eq!(count(&mut reader), 2);
        assert!(routing.poll_waiting(&mut cx, |due| acknowledged.push(due.id.get())).is_ready());
        assert_eq!(acknowledged, [3, 4]);
        assert_eq!(
            std::iter::from_fn(|| reader.try_next()).map(|m| m.payload[0]).collect::<Vec<_>>(),
            [3, 4]
        );
    }
}
