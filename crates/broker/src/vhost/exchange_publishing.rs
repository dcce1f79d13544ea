//! Publishing to exchanges.
//!
//! What a channel publishes again and again to the same routing key costs no search: the route is kept, and holds as long
//! as nothing has changed that it depends on. What says something about routing by itself (`CC`, `BCC`), or goes through
//! an exchange that looks at more than the key, is searched for each time.

use std::sync::Arc;

use smallvec::SmallVec;
use tercet_amqp::content::{self, Property};
use tercet_amqp::field::{Array, Value};

use crate::actor::{Actor, Right};
use crate::clock::Now;
use crate::crossing::to_mqtt::MqttForm;
use crate::effects::Effects;
use crate::exchange::generations::ExchangeStamp;
use crate::exchange::kind::{ExchangeKind, type_name};
use crate::exchange::routable::Routable;
use crate::exchange::route_cache::{ExchangeRoute, ExchangeRoutes, InForce, Reached};
use crate::exchange::search::Search;
use crate::exchange::tables::Exchange;
use crate::exchange::target::Target;
use crate::exchange_publication::{ExchangePublication, Published};
use crate::journal::Position;
use crate::message::{Message, Properties, PropertyEncoding, SHARE_ABOVE};
use crate::named_queue::{Incoming, NamedQueue, delay_of};
use crate::permission::Permissions;
use crate::policy::queue_arguments::LONGEST_MS;
use crate::refusal::Refusal;
use crate::session::Context;
use crate::vhost::Vhost;
use crate::vhost::topology::bindings::check_topic;
use crate::vhost::topology::{exchange_text, no_exchange};

impl Vhost {
    /// Publishes to an exchange. What the face has seen to: the size, and what `amq.rabbitmq.reply-to` stands for.
    ///
    /// # Errors
    /// 403, 404, 406; see [`Refusal`].
    pub fn publish_to_exchange(
        &self,
        actor: &Actor,
        routes: &mut ExchangeRoutes,
        publication: &ExchangePublication<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Published, Refusal> {
        let published = self.with_context(now, effects, |cx| {
            let Some(asked) = Asked::of(publication.properties) else {
                return self.publish_plain(actor, routes, publication, cx);
            };
            // Headers that nobody looks at on a way that is known are no reason to read them.
            let (exchange, key) = (publication.exchange, publication.routing_key);
            if asked.has_only_headers_without_copies()
                && let Some(route) = routes.find(exchange, key, self.in_force(actor, cx.permissions))
                && !route.exchange.looks_at_headers()
            {
                return self.publish_plain(actor, routes, publication, cx);
            }
            self.publish_examined(actor, routes, publication, &asked, cx)
        });
        if effects.has_work() {
            self.work_off(now, effects);
        }
        published
    }

    /// Judges a publication that will be made later, as part of a transaction, by everything that is looked at before it
    /// is routed.
    ///
    /// # Errors
    /// Those of [`Vhost::publish_to_exchange`].
    pub fn check_publication(
        &self,
        actor: &Actor,
        routes: &mut ExchangeRoutes,
        publication: &ExchangePublication<'_>,
    ) -> Result<(), Refusal> {
        let asked = Asked::of(publication.properties).unwrap_or_default();
        let permissions = self.permissions();
        self.examine(actor, routes, publication, &asked, &permissions).map(drop)
    }

    /// Judges a publication in the order in which RabbitMQ does, and finds its exchange and what further keys it has.
    fn examine<'a>(
        &self,
        actor: &Actor,
        routes: &mut ExchangeRoutes,
        publication: &ExchangePublication<'_>,
        asked: &Asked<'a>,
        permissions: &Permissions,
    ) -> Result<(Arc<Exchange>, Copies<'a>), Refusal> {
        let key = publication.routing_key;
        let in_force = self.in_force(actor, permissions);
        let known = routes.find(publication.exchange, key, in_force).map(|route| Arc::clone(&route.exchange));
        let exchange = match known {
            Some(exchange) => exchange,
            None => self.admit(actor, publication.exchange)?.0,
        };
        asked.check_expiration()?;
        let copies = asked.copies()?;
        if is_topic(&exchange) {
            for key in [key].into_iter().chain(copies.keys.iter().copied()) {
                check_topic(actor, Right::Write, exchange.name(), key)?;
            }
        }
        asked.check_user(actor)?;
        Ok((exchange, copies))
    }

    /// A publication of which nothing but exchange and routing key says where it goes.
    fn publish_plain(
        &self,
        actor: &Actor,
        routes: &mut ExchangeRoutes,
        publication: &ExchangePublication<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Published, Refusal> {
        let (exchange, key) = (publication.exchange, publication.routing_key);
        let (properties, payload) = (publication.properties, publication.payload);
        let sent = Sent { properties, payload, blind_copies: &[] };
        let in_force = self.in_force(actor, cx.permissions);
        // Out of the cache for a moment, as the scratch beside it is needed.
        let route = match routes.find(exchange, key, in_force) {
            Some(route) if !route.varies => {
                let (route, form) = routes.last_with_form();
                let Some(route) = route else { return Ok(Published::default()) };
                return Ok(self.deliver(route, &route.reached, sent, form, cx));
            }
            Some(route) => Arc::clone(route),
            None => {
                cx.effects.counters.route_misses += 1;
                let (exchange, rights) = self.admit(actor, exchange)?;
                if is_topic(&exchange) {
                    check_topic(actor, Right::Write, exchange.name(), key)?;
                }
                let message = Routable::new(key, properties);
                let route = Arc::new(self.find_exchange_route(exchange, key, rights, &message, cx));
                routes.insert(Arc::clone(&route));
                // What was found just now is for this message, whatever the next one needs.
                return Ok(self.deliver(&route, &route.reached, sent, routes.form(), cx));
            }
        };
        let message = Routable::new(key, properties);
        let (reached, _) = self.follow_from(&route.exchange, &message, cx.permissions);
        Ok(self.deliver(&route, &reached, sent, routes.form(), cx))
    }

    /// A publication with properties that have to be looked at first.
    fn publish_examined(
        &self,
        actor: &Actor,
        routes: &mut ExchangeRoutes,
        publication: &ExchangePublication<'_>,
        asked: &Asked<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Published, Refusal> {
        let (exchange, copies) = self.examine(actor, routes, publication, asked, cx.permissions)?;
        let examined = Examined { exchange: Arc::clone(&exchange), asked, copies };
        self.publish_once_only(&exchange, publication.properties, cx, |cx| {
            self.route_examined(actor, routes, publication, examined, cx)
        })
    }

    fn route_examined(
        &self,
        actor: &Actor,
        routes: &mut ExchangeRoutes,
        publication: &ExchangePublication<'_>,
        examined: Examined<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Published, Refusal> {
        let Examined { exchange, asked, copies } = examined;
        let key = publication.routing_key;
        if exchange.kind.delayed
            && let Some(delay) = delay_of(publication.properties)
        {
            return Ok(self.delay(&exchange, publication, delay, cx));
        }
        if copies.keys.is_empty() && copies.blind.is_none() {
            return self.publish_plain(actor, routes, publication, cx);
        }
        let mut properties = publication.properties;
        let mut scratch = std::mem::take(&mut routes.scratch);
        if copies.blind.is_some() && asked.without_blind_copies(&mut scratch) {
            properties = Properties { encoding: PropertyEncoding::Amqp, bytes: &scratch };
        }
        let message = Routable::new(key, properties).and_keys(copies.keys.iter().copied());
        let rights = actor.rights.generation();
        let route = self.find_exchange_route(exchange, key, rights, &message, cx);
        drop(message);
        let sent = Sent { properties, payload: publication.payload, blind_copies: copies.blind_keys() };
        let published = self.deliver(&route, &route.reached, sent, routes.form(), cx);
        routes.scratch = scratch;
        Ok(published)
    }

    fn in_force(&self, actor: &Actor, permissions: &Permissions) -> InForce<'_> {
        InForce {
            exchanges: &self.topology.generations,
            topics: &self.generations,
            permissions: permissions.generation(),
            rights: actor.rights.generation(),
        }
    }

    /// The exchange, for somebody who may publish to it, with the generation of the rights that say so.
    fn admit(&self, actor: &Actor, name: &str) -> Result<(Arc<Exchange>, u64), Refusal> {
        let rights = actor.rights.generation();
        actor.check(Right::Write, "exchange", name)?;
        let tables = self.topology.tables.read();
        let entry = tables.exchanges.get(name).ok_or_else(|| no_exchange(name, &actor.vhost))?;
        if entry.exchange.declaration.internal {
            let what = exchange_text(name, &actor.vhost);
            return Err(Refusal::access_refused(format!("cannot publish to internal {what}")));
        }
        Ok((Arc::clone(&entry.exchange), rights))
    }

    fn find_exchange_route(
        &self,
        exchange: Arc<Exchange>,
        key: &str,
        rights: u64,
        message: &Routable<'_>,
        cx: &Context<'_>,
    ) -> ExchangeRoute {
        let (reached, found) = self.follow_from(&exchange, message, cx.permissions);
        let named = reached.queues.first().map(|queue| queue.name()).filter(|name| ***name == *key);
        let key = named.map_or_else(|| key.into(), Arc::clone);
        ExchangeRoute { exchange, key, varies: found.varies, reached, stamp: found.stamp, rights }
    }

    /// Everything that a message reaches from an exchange.
    fn follow_from(
        &self,
        exchange: &Exchange,
        message: &Routable<'_>,
        permissions: &Permissions,
    ) -> (Reached, Dependencies) {
        let mut topics = Vec::new();
        let tables = self.topology.tables.read();
        let search = Search::new(&tables, &self.topology.generations);
        let from = Target::Exchange(Arc::clone(exchange.name()));
        let found = search.run([from], message, |visit| {
            let mut anybody = false;
            for key in message.keys() {
                let cached = self.look_into_space(key, permissions, visit);
                anybody |= cached.route.as_ref().is_some_and(|route| !route.is_empty());
                topics.push(Arc::new(cached));
            }
            anybody
        });
        drop(tables);
        let recorded = found.queues.iter().filter(|queue| queue.is_recorded()).count();
        let reached = Reached { queues: found.queues, recorded, histories: found.histories, topics };
        (reached, Dependencies { stamp: found.stamp, varies: found.varies })
    }

    /// Puts a message into everything it reaches.
    #[inline]
    fn deliver(
        &self,
        route: &ExchangeRoute,
        reached: &Reached,
        sent: Sent<'_>,
        form: &mut MqttForm,
        cx: &mut Context<'_>,
    ) -> Published {
        let incoming = Incoming::published(route.exchange.name(), &route.key, sent.properties, sent.payload)
            .with_blind_copies(sent.blind_copies);
        if reached.topics.is_empty() && reached.histories.is_empty() {
            if let [queue] = reached.queues.as_slice() {
                return self.deliver_to_one(queue, incoming, cx);
            }
            if reached.queues.is_empty() {
                cx.effects.counters.unrouted += 1;
                return Published::default();
            }
        }
        self.deliver_to_many(reached, incoming, form, cx)
    }

    #[inline]
    fn deliver_to_one(
        &self,
        queue: &Arc<NamedQueue>,
        mut incoming: Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Published {
        if queue.records(incoming.is_persistent()) && self.log_refuses() {
            cx.effects.counters.refused_by_log += 1;
            return Published { refused: true, routed: true, position: Position::NONE };
        }
        let enqueued = queue.enqueue(&mut incoming, cx);
        Published { position: enqueued.position, routed: true, refused: enqueued.refused }
    }

    fn deliver_to_many(
        &self,
        reached: &Reached,
        incoming: Incoming<'_>,
        form: &mut MqttForm,
        cx: &mut Context<'_>,
    ) -> Published {
        let (properties, payload) = (incoming.properties(), incoming.payload());
        let persistent = incoming.is_persistent();
        let recording = match reached.recorded {
            0 => 0,
            _ => reached.queues.iter().filter(|queue| queue.records(persistent)).count(),
        };
        let subscribers = reached.topics.iter().filter_map(|topic| topic.route.as_ref());
        let durable = recording
            + subscribers.map(|route| 2 * usize::from(persistent) * route.durable.min(1)).sum::<usize>();
        if durable > 0 && self.log_refuses() {
            cx.effects.counters.refused_by_log += 1;
            return Published { refused: true, routed: true, position: Position::NONE };
        }
        let several = recording > 1 || !reached.histories.is_empty();
        let more = several || reached.queues.len() > 1;
        let mut incoming = if more { incoming.for_several(several) } else { incoming };
        if more && payload.len() > SHARE_ABOVE {
            // Cheaper to share than to copy into each output.
            incoming.message(cx.now);
        }
        self.together_if(durable > 1, || {
            let mut published = Published { routed: !reached.queues.is_empty(), ..Published::default() };
            for queue in &reached.queues {
                let enqueued = queue.enqueue(&mut incoming, cx);
                published.position = published.position.max(enqueued.position);
                published.refused |= enqueued.refused;
            }
            for exchange in &reached.histories {
                if let Some(history) = exchange.history.as_ref().filter(|_| keeps_history(properties)) {
                    history.keep(Arc::clone(incoming.message(cx.now)));
                }
            }
            let (matched, position) = self.hand_to_subscribers(reached, form, properties, payload, cx);
            published.routed |= matched;
            published.position = published.position.max(position);
            cx.effects.counters.unrouted += u64::from(!published.routed);
            published
        })
    }

    /// Puts a dead letter into the queues that its exchange leads to by its key and its `CC` header: those that `accept` says
    /// yes to. Without an exchange of that name nothing happens. Not to be called under a queue's lock; inside the
    /// operation that settles it at its source.
    pub fn route_dead_letter(
        &self,
        letter: &Arc<Message>,
        accept: &mut dyn FnMut(&Arc<NamedQueue>) -> bool,
        now: Now,
        effects: &mut Effects,
    ) -> Position {
        let Some(name) = &letter.exchange else { return Position::NONE };
        self.put_into_exchange(name, letter, accept, now, effects)
    }

    /// Puts a message that is owned already into the queues that an exchange leads to: those that `accept` says yes to.
    pub(super) fn put_into_exchange(
        &self,
        name: &str,
        letter: &Arc<Message>,
        accept: &mut dyn FnMut(&Arc<NamedQueue>) -> bool,
        now: Now,
        effects: &mut Effects,
    ) -> Position {
        let exchange =
            self.topology.tables.read().exchanges.get(name).map(|entry| Arc::clone(&entry.exchange));
        let Some(exchange) = exchange else { return Position::NONE };
        let asked = Asked::of(letter.properties());
        let copies = asked.as_ref().and_then(|asked| asked.copies().ok()).unwrap_or_default();
        let message = Routable::new(&letter.topic, letter.properties()).and_keys(copies.keys.iter().copied());
        // One that comes late has them still.
        let mut scratch = Vec::new();
        let blind = copies.blind.is_some()
            && asked.as_ref().is_some_and(|asked| asked.without_blind_copies(&mut scratch));
        let blind_copies = Some(Arc::from(copies.blind_keys()));
        let shown =
            blind.then(|| Arc::new(Message { properties: scratch.into(), blind_copies, ..letter.copied() }));
        let shown = shown.as_ref().unwrap_or(letter);
        self.with_context(now, effects, |cx| {
            let (reached, _) = self.follow_from(&exchange, &message, cx.permissions);
            let mut incoming = Incoming::owned(shown, now);
            let mut position = Position::NONE;
            for queue in reached.queues.iter().filter(|queue| accept(queue)) {
                position = position.max(queue.enqueue(&mut incoming, cx).position);
            }
            let mut form = MqttForm::default();
            let (properties, payload) = (shown.properties(), &shown.payload);
            let (_, at) = self.hand_to_subscribers(&reached, &mut form, properties, payload, cx);
            position.max(at)
        })
    }
}

/// What a route depends on.
struct Dependencies {
    stamp: ExchangeStamp,
    varies: bool,
}

fn is_topic(exchange: &Exchange) -> bool {
    exchange.kind.kind == ExchangeKind::Topic
}

/// Whether the publisher lets an exchange with a history keep a message.
fn keeps_history(properties: Properties<'_>) -> bool {
    let no_store = Routable::new("", properties).headers().get("x-recent-history-no-store");
    no_store != Some(Value::Bool(true))
}

/// What is sent to whom it reaches.
#[derive(Clone, Copy)]
struct Sent<'a> {
    properties: Properties<'a>,
    payload: &'a [u8],
    /// Keys that recipients must not see, encoded.
    blind_copies: &'a [u8],
}

/// A publication whose properties were found to be right.
struct Examined<'a> {
    exchange: Arc<Exchange>,
    asked: &'a Asked<'a>,
    copies: Copies<'a>,
}

/// Properties that say something about routing, or have to be true.
#[derive(Default)]
struct Asked<'a> {
    properties: content::Properties<'a>,
}

/// Further routing keys that a message has in its headers.
#[derive(Default)]
struct Copies<'a> {
    keys: SmallVec<[&'a str; 4]>,
    /// Those of them that recipients must not see.
    blind: Option<Array<'a>>,
}

impl<'a> Copies<'a> {
    /// The keys that recipients must not see, encoded.
    fn blind_keys(&self) -> &'a [u8] {
        self.blind.map_or(&[], |keys| keys.as_bytes())
    }
}

const CARBON_COPY: &str = "CC";
const BLIND_COPY: &str = "BCC";

impl<'a> Asked<'a> {
    /// `None` if there is nothing to look at.
    #[inline]
    fn of(properties: Properties<'a>) -> Option<Self> {
        if properties.encoding != PropertyEncoding::Amqp {
            return None;
        }
        let properties = content::Properties::from_bytes(properties.bytes)?;
        let any = properties.has(Property::Headers)
            || properties.has(Property::Expiration)
            || properties.has(Property::UserId);
        any.then_some(Self { properties })
    }

    /// Whether there is nothing but headers, and surely no `CC` and no `BCC` in them: not even a `C` anywhere.
    #[inline]
    fn has_only_headers_without_copies(&self) -> bool {
        let further = self.properties.has(Property::Expiration) || self.properties.has(Property::UserId);
        // Looking at a whole piece before deciding lets the processor look at many bytes at once.
        let has_c = |piece: &[u8]| piece.iter().fold(false, |found, byte| found | (*byte == b'C'));
        !further && !self.properties.list().chunks(64).any(has_c)
    }

    fn check_expiration(&self) -> Result<(), Refusal> {
        let Ok(Some(text)) = self.properties.expiration() else { return Ok(()) };
        match judge_expiration(text) {
            Ok(()) => Ok(()),
            Err(why) => Err(Refusal::precondition_failed(format!("invalid expiration '{text}': {why}"))),
        }
    }

    fn copies(&self) -> Result<Copies<'a>, Refusal> {
        let mut copies = Copies::default();
        let Ok(Some(headers)) = self.properties.headers() else { return Ok(copies) };
        for name in [CARBON_COPY, BLIND_COPY] {
            match headers.get(name) {
                None => {}
                Some(Value::Array(keys)) => {
                    copies.keys.extend(keys.iter().filter_map(|key| key.as_str()));
                    copies.blind = (name == BLIND_COPY).then_some(keys);
                }
                Some(other) => {
                    return Err(Refusal::precondition_failed(format!(
                        "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
                        type_name(&other)
                    )));
                }
            }
        }
        Ok(copies)
    }

    fn check_user(&self, actor: &Actor) -> Result<(), Refusal> {
        match self.properties.user_id() {
            Ok(Some(claimed)) if *claimed != *actor.user && !actor.rights.may_impersonate() => {
                Err(Refusal::precondition_failed(format!(
                    "user_id property set to '{claimed}' but authenticated user was '{}'",
                    actor.user
                )))
            }
            _ => Ok(()),
        }
    }

    /// Puts the properties without the keys that recipients must not see into `out`, flags first. False if that is not
    /// possible.
    fn without_blind_copies(&self, out: &mut Vec<u8>) -> bool {
        let mut list = Vec::new();
        let Ok(changed) = self.properties.with_header(BLIND_COPY, None, &mut list) else { return false };
        out.clear();
        changed.write(out);
        true
    }
}

/// Judges an expiration, which is a decimal number of milliseconds; the error is the reason as RabbitMQ shows it.
fn judge_expiration(text: &str) -> Result<(), String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let end = text.len() - unsigned.len() + digits;
    let (number, rest) = (text.get(..end).unwrap_or_default(), text.get(end..).unwrap_or_default());
    if digits == 0 {
        return Err("no_integer".to_owned());
    }
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{rest}\"}}"));
    }
    // What does not fit is beyond every limit.
    let negative = number.starts_with('-');
    match number.parse::<i64>() {
        Ok(value) if value < 0 => Err(format!("{{value_negative,{value}}}")),
        Ok(value) if value <= LONGEST_MS => Ok(()),
        _ if negative => Err(format!("{{value_negative,{number}}}")),
        _ => Err(format!("{{value_too_big,{}}}", number.trim_start_matches('+'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_is_a_decimal_number() {
        for (text, why) in [
            ("0", None),
            ("60000", None),
            ("+5", None),
            ("315360000000", None),
            ("315360000001", Some("{value_too_big,315360000001}")),
            ("99999999999999999999", Some("{value_too_big,99999999999999999999}")),
            ("-1", Some("{value_negative,-1}")),
            ("-99999999999999999999", Some("{value_negative,-99999999999999999999}")),
            ("", Some("no_integer")),
            ("-", Some("no_integer")),
            ("abc", Some("no_integer")),
            (" 1", Some("no_integer")),
            ("1s", Some("{leftover_string,\"s\"}")),
            ("1.5", Some("{leftover_string,\".5\"}")),
            ("1é", Some("{leftover_string,\"é\"}")),
        ] {
            assert_eq!(judge_expiration(text).err().as_deref(), why, "{text:?}");
        }
    }
}
