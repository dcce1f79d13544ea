//! Publishing: messages on their way to the core, returns, and confirms.

use std::collections::VecDeque;

use tercet_amqp::content::{Properties as WireProperties, Property, PropertyValue};
use tercet_amqp::delivery::{Answer, Publishes};
use tercet_amqp::method::basic;
use tercet_amqp::{Method, ReplyCode};
use tercet_broker::actor::Right;
use tercet_broker::effects::Effects;
use tercet_broker::exchange_publication::{ExchangePublication, Published};
use tercet_broker::journal::Position;
use tercet_broker::message::{Properties, PropertyEncoding};
use tercet_broker::refusal::Refusal;

use crate::amqp::channel::{Channel, Mode};
use crate::amqp::content::{Added, Content, put};
use crate::amqp::fault::Fault;
use crate::amqp::parent::Parent;
use crate::amqp::reply_to;
use crate::reactor::face::FaceContext;

/// Levels of tables in the headers of a message.
const DEPTH: u8 = 32;

/// The publishes of a channel that are confirmed.
#[derive(Default)]
pub(super) struct Confirming {
    publishes: Publishes,
    /// Runs of publishes that wait for the log: position, first and last number. Positions and numbers rise.
    waiting: VecDeque<(Position, u64, u64)>,
    /// Something can be answered.
    news: bool,
}

impl Confirming {
    /// A publish was taken. It is confirmed at `position`, or refused.
    #[inline]
    fn published(&mut self, published: Published, durable: Position) {
        let number = self.publishes.publish();
        if published.refused {
            self.publishes.reject(number);
        } else if published.position <= durable {
            self.publishes.confirm(number);
        } else {
            match self.waiting.back_mut() {
                Some((position, _, last)) if *position == published.position && *last + 1 == number => {
                    *last = number;
                }
                _ => self.waiting.push_back((published.position, number, number)),
            }
            return;
        }
        self.news = true;
    }

    pub(super) fn awaited(&self) -> Option<Position> {
        self.waiting.front().map(|(position, ..)| *position)
    }

    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    pub(super) fn log_moved(&mut self, durable: Position) {
        while let Some((_, first, last)) = self.waiting.pop_front_if(|(position, ..)| *position <= durable) {
            for number in first..=last {
                self.publishes.confirm(number);
            }
            self.news = true;
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = VecDeque::new();
        }
    }

    /// Writes what can be answered, as few answers as possible.
    fn flush(&mut self, channel: u16, out: &mut Vec<u8>) {
        self.news = false;
        self.publishes.flush(|answer| match answer {
            Answer::Ack { number, multiple } => {
                put(&basic::Ack { delivery_tag: number, multiple }.into(), channel, out);
            }
            Answer::Nack { number } => {
                let nack = basic::Nack { delivery_tag: number, multiple: false, requeue: false };
                put(&nack.into(), channel, out);
            }
        });
    }
}

/// A message that has arrived in part.
pub(super) struct Partial {
    exchange: Box<str>,
    routing_key: Box<str>,
    mandatory: bool,
    immediate: bool,
    properties: Vec<u8>,
    /// Grows with what arrives, not with what was announced.
    body: Vec<u8>,
}

impl Partial {
    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.properties.len() + self.body.len()
    }
}

impl Channel {
    /// Whether a publish may begin.
    #[inline]
    pub(super) fn takes_publish(&self) -> bool {
        self.state.is_open() && self.partial.is_none()
    }

    /// The method of a message whose frames do not lie one behind the other.
    pub(super) fn begin_content(&mut self, publish: &basic::Publish<'_>) {
        self.partial = Some(Box::new(Partial {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            mandatory: publish.mandatory,
            immediate: publish.immediate,
            properties: Vec::new(),
            body: Vec::new(),
        }));
    }

    /// Its header.
    pub(super) fn content_header(
        &mut self,
        size: u64,
        properties: &[u8],
        parent: &mut Parent,
    ) -> Result<(), Fault> {
        self.check_size(size, parent)?;
        if let Some(partial) = &mut self.partial {
            partial.properties = properties.to_vec();
            parent.partial += properties.len();
        }
        Ok(())
    }

    fn check_size(&self, size: u64, parent: &Parent) -> Result<(), Fault> {
        let most = parent.max_message_size;
        if size > most {
            let text = format!("message size {size} is larger than configured max size {most}");
            return Err(self.fault(ReplyCode::PreconditionFailed, text, basic::Publish::ID));
        }
        Ok(())
    }

    /// A part of its body.
    pub(super) fn content_body(&mut self, part: &[u8], parent: &mut Parent) {
        if let Some(partial) = &mut self.partial {
            partial.body.extend_from_slice(part);
            parent.partial += part.len();
        }
    }

    /// It is complete.
    pub(super) fn publish_collected(
        &mut self,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let Some(partial) = self.partial.take() else { return Ok(()) };
        parent.partial = parent.partial.saturating_sub(partial.len());
        let publish = basic::Publish {
            exchange: &partial.exchange,
            routing_key: &partial.routing_key,
            mandatory: partial.mandatory,
            immediate: partial.immediate,
        };
        self.publish(&publish, &partial.properties, &partial.body, parent, cx)
    }

    /// Publishes a message. `properties` are flags and list as they stand in the header.
    pub(super) fn publish(
        &mut self,
        publish: &basic::Publish<'_>,
        properties: &[u8],
        body: &[u8],
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        cx.effects.counters.publish_received += 1;
        cx.effects.counters.publish_bytes_received += body.len() as u64;
        self.check_size(body.len() as u64, parent)?;
        if publish.immediate {
            return Err(self.fault(ReplyCode::NotImplemented, "immediate=true", basic::Publish::ID));
        }
        let encoded = WireProperties::from_bytes(properties).unwrap_or_default();
        if encoded.flags() != 0 || !encoded.list().is_empty() {
            if let Err(kind) = encoded.validate(DEPTH) {
                return Err(Fault { channel: 0, ..self.fault(kind.code(), kind, basic::Publish::ID) });
            }
            if encoded.has(Property::ReplyTo)
                && let Ok(Some(reply_to::PSEUDO_QUEUE)) = encoded.reply_to()
            {
                return self.publish_request(publish, encoded, body, parent, cx);
            }
        }
        if let Mode::Tx(transaction) = &mut self.mode {
            check(publish, parent)
                .map_err(|refusal| Fault::refused(&refusal, self.state.number(), basic::Publish::ID))?;
            let fits = transaction.publish(publish, properties, body);
            return match fits {
                true => Ok(()),
                false => {
                    let text = "the transaction is too large";
                    Err(self.fault(ReplyCode::PreconditionFailed, text, basic::Publish::ID))
                }
            };
        }
        let published = self.publish_now(publish, properties, body, parent, cx)?;
        if let Mode::Confirm(confirming) = &mut self.mode {
            confirming.published(published, parent.vhost.durable());
        }
        Ok(())
    }

    /// Hands a message to the core, and returns it to the publisher if nobody takes it and it is to be.
    #[inline]
    pub(super) fn publish_now(
        &mut self,
        publish: &basic::Publish<'_>,
        properties: &[u8],
        body: &[u8],
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<Published, Fault> {
        let properties = Properties { encoding: PropertyEncoding::Amqp, bytes: properties };
        if publish.exchange.is_empty() && publish.routing_key.starts_with(reply_to::PREFIX) {
            return Ok(reply_to::publish(publish, properties, body, parent, cx.effects));
        }
        let publication = ExchangePublication {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            properties,
            payload: body,
            mandatory: publish.mandatory,
        };
        let published = parent
            .vhost
            .publish_to_exchange(&parent.actor, &mut self.routes, &publication, cx.now, cx.effects)
            .map_err(|refusal| Fault::refused(&refusal, self.number(), basic::Publish::ID))?;
        parent.recorded |= published.position > Position::NONE;
        if publish.mandatory && !published.routed {
            self.return_message(publish, properties, body, parent, cx.effects);
        }
        Ok(published)
    }

    /// basic.return: before the confirm.
    #[cold]
    fn return_message(
        &self,
        publish: &basic::Publish<'_>,
        properties: Properties<'_>,
        body: &[u8],
        parent: &Parent,
        effects: &mut Effects,
    ) {
        let returned = basic::Return {
            reply_code: ReplyCode::NoRoute.number(),
            reply_text: ReplyCode::NoRoute.name(),
            exchange: publish.exchange,
            routing_key: publish.routing_key,
        };
        let method: Method<'_> = returned.into();
        // Blind copies are nobody's business, not even that of whoever named them (as RabbitMQ has it).
        let (mut list, mut without) = (Vec::new(), Vec::new());
        let encoded = WireProperties::from_bytes(properties.bytes).unwrap_or_default();
        let blind = encoded.headers().ok().flatten().is_some_and(|headers| headers.get("BCC").is_some());
        let properties = match blind.then(|| encoded.with_header("BCC", None, &mut list)) {
            Some(Ok(changed)) => {
                changed.write(&mut without);
                Properties { encoding: PropertyEncoding::Amqp, bytes: &without }
            }
            _ => properties,
        };
        let content = Content { method, properties, payload: body, shared: None, added: Added::default() };
        parent.outbox.write_content(self.number(), &content, effects);
    }

    /// A request whose reply is to come directly: the pseudo-queue is replaced by the address of the channel's consumer.
    fn publish_request(
        &mut self,
        publish: &basic::Publish<'_>,
        encoded: WireProperties<'_>,
        body: &[u8],
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let Some(reply) = self.reply.clone() else {
            let text = "fast reply consumer does not exist";
            return Err(self.fault(ReplyCode::PreconditionFailed, text, basic::Publish::ID));
        };
        let (mut list, mut rewritten) = (Vec::new(), Vec::new());
        match encoded.with(Property::ReplyTo, Some(PropertyValue::Text(reply.address())), &mut list) {
            Ok(properties) => properties.write(&mut rewritten),
            Err(error) => return Err(self.fault(ReplyCode::SyntaxError, error, basic::Publish::ID)),
        }
        // The address is not the pseudo-queue, so this comes back here no more.
        self.publish(publish, &rewritten, body, parent, cx)
    }

    /// Sends the confirms that can be sent.
    pub(super) fn flush_confirms(&mut self, parent: &mut Parent, effects: &mut Effects) {
        let number = self.number();
        if let Mode::Confirm(confirming) = &mut self.mode
            && confirming.has_news()
        {
            parent.outbox.write(effects, |out| confirming.flush(number, out));
        }
    }
}

/// What can be said about a publish before its transaction is committed: whether the exchange is there, and the right to
/// write to it.
fn check(publish: &basic::Publish<'_>, parent: &Parent) -> Result<(), Refusal> {
    parent.actor.check(Right::Write, "exchange", publish.exchange)?;
    match parent.vhost.find_exchange(publish.exchange) {
        None => Err(Refusal::not_found(format!(
            "no exchange '{}' in vhost '{}'",
            publish.exchange, parent.actor.vhost
        ))),
        Some(found) if found.internal => Err(Refusal::access_refused(format!(
            "cannot publish to internal exchange '{}' in vhost '{}'",
            publish.exchange, parent.actor.vhost
        ))),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::{Limits, Payload, decode};

    fn published(position: u64) -> Published {
        Published { position: Position::new(position), routed: true, refused: false }
    }

    /// The acknowledgements in `out`, as (number, multiple), negative ones with a negative number.
    fn answers(out: &[u8]) -> Vec<(i64, bool)> {
        let mut rest = out;
        let mut found = Vec::new();
        while let Some((frame, used)) = decode(rest, &Limits::default()).expect("well-formed") {
            rest = &rest[used..];
            found.push(match frame.payload {
                Payload::Method(Method::BasicAck(ack)) => (ack.delivery_tag as i64, ack.multiple),
                Payload::Method(Method::BasicNack(nack)) => (-(nack.delivery_tag as i64), nack.multiple),
                other => panic!("{other:?}"),
            });
        }
        found
    }

    fn flushed(confirming: &mut Confirming) -> Vec<(i64, bool)> {
        let mut out = Vec::new();
        confirming.flush(1, &mut out);
        answers(&out)
    }

    #[test]
    fn nothing_is_confirmed_that_is_not_durable_and_runs_are_confirmed_together() {
        let mut confirming = Confirming::default();
        let durable = Position::new(4);
        for position in [0, 0, 5, 5, 5, 7, 0] {
            confirming.published(published(position), durable);
        }
        assert_eq!(confirming.waiting.len(), 2, "a run takes one place");
        assert_eq!(flushed(&mut confirming), [(2, true), (7, false)]);
        assert_eq!(confirming.awaited(), Some(Position::new(5)));
        confirming.log_moved(Position::new(6));
        assert_eq!(flushed(&mut confirming), [(5, true)]);
        confirming.log_moved(Position::new(7));
        assert!(confirming.has_news());
        assert_eq!(flushed(&mut confirming), [(6, false)]);
        assert_eq!((confirming.awaited(), confirming.has_news()), (None, false));
    }

    #[test]
    fn what_a_queue_refuses_is_answered_with_nack() {
        let mut confirming = Confirming::default();
        confirming.published(published(0), Position::NONE);
        confirming.published(Published { refused: true, ..published(9) }, Position::NONE);
        confirming.published(published(0), Position::NONE);
        assert_eq!(flushed(&mut confirming), [(1, false), (-2, false), (3, false)]);
    }
}
