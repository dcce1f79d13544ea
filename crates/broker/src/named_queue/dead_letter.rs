//! What a queue cannot keep is published once more, to its dead letter exchange.
//!
//! That takes other locks than the queue's, so it is done after that is given back: until then the entry is neither ready
//! nor anybody's. The new message and the end of the old one become durable together, so that a crash neither loses nor
//! doubles it ([`crate::vhost::Vhost::bury`]).

pub(super) mod deaths;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tercet_amqp::content::Properties;

use crate::body::BodyRef;
use crate::crossing::address::TopicMapping;
use crate::crossing::to_amqp;
use crate::message::{Message, PropertyEncoding};
use crate::named_queue::NamedQueue;
use crate::named_queue::dead_letter::deaths::Dying;
use crate::named_queue::delaying;
use crate::named_queue::state::QueueState;
use crate::read_back::Fetch;
use crate::record::SettleReason;
use crate::session::{Context, SessionId};

/// The exchange of messages that came by MQTT.
const TOPIC_EXCHANGE: &str = "amq.topic";

/// Why a message cannot stay in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeathReason {
    /// A consumer rejected it.
    Rejected,
    /// It is out of date.
    Expired,
    /// The queue has as much as it may.
    MaxLength,
    /// It came back too often.
    DeliveryLimit,
    /// It has waited for as long as it was to wait: no death, but the same way out.
    Due,
}

impl DeathReason {
    /// As `x-death` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
            Self::Due => "due",
        }
    }

    /// How the entry is settled if there is nowhere to go.
    fn settled(self) -> SettleReason {
        match self {
            Self::Rejected => SettleReason::Rejected,
            Self::Expired => SettleReason::Expired,
            Self::MaxLength => SettleReason::Overflow,
            Self::DeliveryLimit => SettleReason::DeliveryLimit,
            Self::Due => SettleReason::Moved,
        }
    }
}

/// A message to be published to a dead letter exchange.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub queue: Arc<NamedQueue>,
    reason: DeathReason,
    what: What,
}

#[derive(Debug)]
enum What {
    /// An entry of the queue, which leaves it by that, with its message: the queue may let go of that meanwhile.
    Entry(u64, Arc<Message>),
    /// A message that the queue did not take.
    Refused(Arc<Message>),
}

/// What is to be dead-lettered, where to, and with which key if not its own.
struct Source {
    message: Arc<Message>,
    exchange: Arc<str>,
    key: Option<Arc<str>>,
}

/// A dead letter ready to be published.
#[derive(Debug)]
pub(crate) struct Letter {
    /// The message as its new exchange gets it.
    pub message: Arc<Message>,
    /// Queues that must not get it: it would go in circles without anybody having rejected it.
    pub excluded: SmallVec<[Box<str>; 2]>,
}

impl DeadLetter {
    pub(super) fn entry(
        queue: &Arc<NamedQueue>,
        sequence: u64,
        message: &Arc<Message>,
        reason: DeathReason,
    ) -> Self {
        Self { queue: Arc::clone(queue), reason, what: What::Entry(sequence, Arc::clone(message)) }
    }

    /// A message that its full queue does not take.
    pub(super) fn refused(queue: &Arc<NamedQueue>, message: Arc<Message>) -> Self {
        Self { queue: Arc::clone(queue), reason: DeathReason::MaxLength, what: What::Refused(message) }
    }

    /// The entry that leaves its queue.
    pub(crate) fn sequence(&self) -> Option<u64> {
        match self.what {
            What::Entry(sequence, _) => Some(sequence),
            What::Refused(_) => None,
        }
    }

    /// Makes the message that is to be published; `None` if the queue has nowhere to send it any more, or does not have
    /// it.
    pub(crate) fn write(&self, now_ms: u64, mapping: TopicMapping) -> Option<Letter> {
        if self.reason == DeathReason::Due {
            let message = Arc::new(delaying::due(self.queue.leaving_message(&self.what)?, now_ms));
            return Some(Letter { message, excluded: SmallVec::new() });
        }
        let Source { message, exchange, key } = self.queue.dead_letter_source(&self.what)?;
        let own_key = to_amqp::amqp_key(&message, mapping);
        let mut properties = Vec::new();
        // What MQTT's properties say beyond that is lost here as it is for whoever consumes them.
        let _ = to_amqp::amqp_properties(&message, mapping, &mut properties);
        let written = deaths::record(&Dying {
            properties: Properties::from_bytes(&properties).unwrap_or_default(),
            exchange: message.exchange.as_deref().unwrap_or(TOPIC_EXCHANGE),
            key: &own_key,
            dead_lettered: message.dead_lettered,
            blind_copies: message.blind_copies.as_deref(),
            queue: self.queue.name(),
            reason: self.reason,
            rerouted: key.is_some(),
            now_ms,
        });
        let letter = Message {
            topic: match (key, own_key) {
                (Some(key), _) => key,
                (None, Cow::Borrowed(_)) => Arc::clone(&message.topic),
                (None, Cow::Owned(own)) => own.into(),
            },
            exchange: Some(exchange),
            payload: message.payload.clone(),
            properties: Bytes::from(written.properties),
            encoding: PropertyEncoding::Amqp,
            qos: message.qos,
            retain: false,
            publisher: SessionId::BROKER,
            author: None,
            ingress_ms: now_ms,
            expires_at_ms: None,
            dead_lettered: true,
            blind_copies: None,
            shared: true,
            stored: Mutex::new(None),
        };
        Some(Letter { message: Arc::new(letter), excluded: written.excluded })
    }
}

impl NamedQueue {
    /// The queue cannot keep an entry, ready or just taken back from a consumer: dead-letters or drops it.
    pub(super) fn let_go(
        self: &Arc<Self>,
        state: &mut QueueState,
        sequence: u64,
        reason: DeathReason,
        cx: &mut Context<'_>,
    ) {
        state.totals.dropped += 1;
        if state.settings.dead_letter_exchange.is_none() {
            state.settle(self.id(), sequence, reason.settled(), cx);
            return;
        }
        state.take_from_ready(sequence);
        state.leaving += 1;
        match state.queue.entry(sequence).map(|(entry, ..)| entry.body) {
            Some(BodyRef::Memory(message)) => {
                cx.effects.dead_letters.push(DeadLetter::entry(self, sequence, message, reason));
            }
            _ => {
                state.unread.get_or_make().insert(sequence, reason);
                if state.reading.ask() {
                    cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
                }
            }
        }
    }

    /// Messages have been read back: those of entries that are to leave can go.
    pub(super) fn go_on_leaving(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        let Some(unread) = state.unread.get_mut() else { return };
        let queue = &state.queue;
        unread.retain(|sequence, reason| {
            let message = queue.entry(*sequence).and_then(|(entry, ..)| entry.body.message());
            if let Some(message) = message {
                cx.effects.dead_letters.push(DeadLetter::entry(self, *sequence, message, *reason));
            }
            message.is_none()
        });
        if unread.is_empty() {
            state.unread.clear();
        } else if state.reading.ask() {
            cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
        }
    }

    fn dead_letter_source(&self, what: &What) -> Option<Source> {
        let message = Arc::clone(self.leaving_message(what)?);
        let state = self.state.lock();
        let exchange = state.settings.dead_letter_exchange.clone()?;
        Some(Source { message, exchange, key: state.settings.dead_letter_key.clone() })
    }

    /// What is to leave, unless its entry is gone already.
    fn leaving_message<'a>(&self, what: &'a What) -> Option<&'a Arc<Message>> {
        match what {
            What::Refused(message) => Some(message),
            What::Entry(sequence, message) => {
                self.state.lock().queue.entry(*sequence).is_some().then_some(message)
            }
        }
    }

    /// An entry that was on its way out is gone.
    pub(crate) fn left(&self, sequence: u64, reason: SettleReason, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        state.leaving = state.leaving.saturating_sub(1);
        state.settle(self.id(), sequence, reason, cx);
        state.account(cx);
    }
}

impl QueueState {
    /// The message of an entry is lost.
    pub(super) fn lose(&mut self, sequence: u64) {
        if let Some(unread) = self.unread.get_mut()
            && unread.remove(&sequence).is_some()
        {
            self.leaving = self.leaving.saturating_sub(1);
        }
    }
}
