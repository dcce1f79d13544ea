//! The way of a request through the face.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use tercet_broker::journal::Admission;
use tercet_coap::block::{Block, BlockSize, Slice};
use tercet_coap::{Code, Message, Number, OwnedMessage, Token};

use super::amplification::Unproven;
use super::bodies::{self, Body};
use super::bursts::{self, Wanted};
use super::directions::{Directions, QBlock};
use super::waiting::{GivenUp, Suspended};
use super::writing::{self, Framing};
use crate::coap::answer::{Answer, Later, Observation};
use crate::coap::caller::{Caller, Transport};
use crate::coap::context::{Outcome, Ticket};
use crate::coap::node::{Node, Turn};
use crate::coap::oscore::Protection;
use crate::coap::outlet::ReplyTo;
use crate::coap::request::{Observe, Request};
use crate::coap::resources;
use crate::coap::response::Response;

/// Seconds after which a client that was turned away may come again.
const COME_AGAIN: u32 = 5;

/// What is kept of a request to answer it.
#[derive(Debug)]
pub struct Exchange {
    /// Where the answer goes.
    pub to: ReplyTo,
    /// The request's token.
    pub token: Token,
    /// Whether the client registers as an observer.
    pub observe: Option<Observe>,
    /// Classes of responses that are not wanted.
    no_response: u8,
    /// The block of the response that is asked for.
    block2: Option<u32>,
    /// The blocks of the response that are asked for in a burst.
    burst: Option<Box<Wanted>>,
    /// The last block of the request.
    block1: Option<u32>,
    asks_size2: bool,
    /// Set when the answer may go to somebody who has not asked. Not for what was changed: that is done already.
    unproven: Option<Unproven>,
    /// What the answer is kept by if it is large: the request must not be carried out again for the rest of it.
    pub(super) once: Option<u64>,
}

impl Exchange {
    /// What keeps bodies of protected requests apart from those of others.
    fn salt(&self) -> u64 {
        self.to.protection().map_or(0, Protection::salt)
    }
}

impl Node {
    /// Deals with a request. What is to be sent is in the outlet then.
    pub fn request(&mut self, to: ReplyTo, message: Message<'_>, caller: &Caller, turn: &mut Turn<'_>) {
        let directions = match Directions::read(message.options) {
            Ok(directions) => directions,
            Err(number) => return self.refuse_option(to, message.token, number),
        };
        if directions.oscore.is_some() && !directions.for_proxy {
            return self.protected_request(to, &message, caller, turn);
        }
        self.counters.requests += 1;
        let Ok(token) = Token::new(message.token) else { return self.outlet.reject(to) };
        let observe = match (message.code, directions.observe) {
            _ if to.is_multicast() => None,
            (Code::GET | Code::FETCH, Some(0)) => Some(Observe::Register),
            (Code::GET | Code::FETCH, Some(1)) => Some(Observe::Deregister),
            _ => None,
        };
        let is_proven = to.protection().is_some();
        let exchange = Exchange {
            to,
            token,
            observe,
            no_response: directions.no_response,
            block2: directions.block2,
            burst: None,
            block1: None,
            asks_size2: directions.asks_size2,
            unproven: self.unproven(&message, &directions, caller).filter(|_| !is_proven),
            once: None,
        };
        if let Some(response) = refusal(&message, &directions, caller, turn.shared.coap.proxy.forwards()) {
            return self.answer(exchange, &response, None);
        }
        if observe == Some(Observe::Deregister) {
            let (origin, protection) = (exchange.to.origin(), exchange.to.protection());
            self.observers.deregister(origin, message.token, protection, &mut self.outlet, turn);
        }
        if let Some(q_block) = directions.q_block {
            return self.request_with_bursts(exchange, q_block, &directions, &message, caller, turn);
        }
        if directions.block1.is_some() || message.code != Code::GET {
            return self.request_with_body(exchange, &message, caller, turn);
        }
        self.dispatch(exchange, &message, caller, turn);
    }

    /// Goes on with a request whose body or answer goes in bursts. Blocks of both kinds do not mix (RFC 9177 §4.1).
    fn request_with_bursts(
        &mut self,
        mut exchange: Exchange,
        q_block: QBlock,
        directions: &Directions<'_>,
        message: &Message<'_>,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        if !bursts::fits(&exchange.to) {
            let number = if q_block == QBlock::Two { Number::Q_BLOCK2 } else { Number::Q_BLOCK1 };
            return self.refuse_option(exchange.to, message.token, number);
        }
        let wanted = bursts::wanted(message.options);
        let is_mixed = directions.block1.is_some() || directions.block2.is_some();
        let Some(wanted) = wanted.filter(|_| !is_mixed) else {
            return self.answer(exchange, &Response::new(Code::BAD_REQUEST), None);
        };
        if q_block != QBlock::One {
            exchange.burst = Some(Box::new(wanted));
        }
        match q_block {
            QBlock::One | QBlock::Both => self.request_in_burst(exchange, message, caller, turn),
            QBlock::Two if message.code == Code::GET => self.dispatch(exchange, message, caller, turn),
            QBlock::Two => self.request_with_body(exchange, message, caller, turn),
        }
    }

    /// Goes on with a request that is to change something, or whose body comes in blocks.
    fn request_with_body(
        &mut self,
        mut exchange: Exchange,
        message: &Message<'_>,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        let is_plain = message.payload.len() <= self.settings.max_body
            && !message.options.contains(Number::BLOCK1)
            && exchange.block2.is_none()
            && exchange.burst.is_none();
        if is_plain {
            return self.dispatch(exchange, message, caller, turn);
        }
        let origin = exchange.to.origin();
        let salt = exchange.salt();
        let burst = exchange.burst.as_ref().and_then(|wanted| wanted.first());
        let wanted = exchange.block2.or(burst.map(|block| block.to_uint()));
        let body = self.bodies.receive(origin, message, salt, wanted, self.outlet.time);
        match body {
            Body::Whole => self.dispatch(exchange, message, caller, turn),
            Body::Complete(body, block) => {
                exchange.block1 = Some(block.to_uint());
                self.dispatch(exchange, &Message { payload: &body, ..*message }, caller, turn);
            }
            Body::Rest(response) => self.answer(exchange, &response, None),
            Body::Answer(response, block, size1) => {
                let framing = Framing { block1: block.map(Block::to_uint), size1, ..Framing::default() };
                self.respond(exchange, &response, framing, 0..response.body.as_bytes().len());
            }
        }
    }

    /// Hands a whole request to the resources.
    pub(super) fn dispatch(
        &mut self,
        exchange: Exchange,
        message: &Message<'_>,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        let request = request(&exchange, message, caller);
        match self.ask(&request, turn) {
            Answer::Now(response) if message.code == Code::GET => self.answer(exchange, &response, None),
            Answer::Observe(response, observation) => {
                self.observe(exchange, response, observation, caller, turn);
            }
            other => self.settle(exchange, other, message, caller, turn),
        }
    }

    /// Does what an answer says that is not known at once.
    fn settle(
        &mut self,
        mut exchange: Exchange,
        answer: Answer,
        message: &Message<'_>,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        if let Answer::Now(response) | Answer::AfterLog(_, response) = &answer
            && message.code != Code::GET
            && (exchange.block2.is_some()
                || exchange.burst.is_some()
                || response.body.as_bytes().len() > usize::from(self.settings.block_size))
        {
            exchange.once = Some(self.bodies.fingerprint(message, exchange.salt()));
        }
        match answer {
            Answer::Now(response) => self.answer(exchange, &response, None),
            Answer::Observe(response, observation) => {
                self.observe(exchange, response, observation, caller, turn);
            }
            Answer::AfterLog(position, response) => {
                if position <= turn.shared.vhost.durable() {
                    self.answer(exchange, &response, None);
                } else if self.waiting.len() >= self.settings.max_waiting {
                    // It will be done all the same; who cannot be answered has to ask again.
                    self.turn_away(exchange);
                } else {
                    self.waiting.for_log(exchange, position, response, self.outlet.time);
                }
            }
            Answer::Later(Later { ticket, then }) => {
                if self.waiting.len() >= self.settings.max_waiting {
                    return self.turn_away(exchange);
                }
                let message = OwnedMessage::from_message(message);
                let suspended = Suspended { message, caller: caller.clone(), then };
                self.waiting.for_ticket(exchange, ticket, suspended, self.outlet.time);
            }
        }
    }

    /// Asks the resources. A panic there is a mistake of ours that one client has found; it must not take others down.
    fn ask(&mut self, request: &Request<'_>, turn: &mut Turn<'_>) -> Answer {
        let mut cx = self.context(turn);
        let asked = catch_unwind(AssertUnwindSafe(|| resources::dispatch(request, &mut cx)));
        asked.unwrap_or_else(|_| internal_error())
    }

    /// Answers with what is observed, and tells of changes from now on if that is wanted and possible.
    fn observe(
        &mut self,
        mut exchange: Exchange,
        response: Response,
        observation: Observation,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        // Before anybody is told of anything else.
        if let Some(unproven) = exchange.unproven.take()
            && !self.may_send(unproven, exchange.burst.is_some(), &response)
        {
            return self.challenge(exchange, unproven);
        }
        let wanted = exchange.observe == Some(Observe::Register) && response.code.is_success();
        let place = || self.observers.place(&exchange, &self.settings, &turn.shared.coap);
        let Some(place) = wanted.then(place).flatten() else {
            return self.answer(exchange, &response, None);
        };
        let asked = exchange.block2.and_then(Block::from_uint).map(|block| block.size);
        let place = (place, asked.unwrap_or(BlockSize::MAX));
        let sequence = self.observers.register(&exchange, place, observation, caller, &mut self.outlet, turn);
        self.answer(exchange, &response, Some(sequence));
    }

    /// Writes a response, or what of it is asked for.
    pub(crate) fn answer(&mut self, mut exchange: Exchange, response: &Response, observe: Option<u32>) {
        let length = response.body.as_bytes().len();
        if let Some(unproven) = exchange.unproven
            && !self.may_send(unproven, exchange.burst.is_some(), response)
        {
            return self.challenge(exchange, unproven);
        }
        if response.code.is_success()
            && let Some(wanted) = exchange.burst.take()
        {
            return self.answer_in_burst(exchange, response, observe, &wanted);
        }
        let origin = exchange.to.origin();
        let wanted = exchange.block2.filter(|_| response.code.is_success());
        match bodies::slice(length, wanted, origin.carrier(self.settings.largest_block())) {
            Ok(Slice { range, block, size2 }) => {
                if let Some(fingerprint) = exchange.once
                    && block.is_some_and(|block| block.more)
                {
                    self.bodies.keep(origin, fingerprint, response.clone(), self.outlet.time);
                }
                let size2 = size2.or_else(|| u32::try_from(length).ok().filter(|_| exchange.asks_size2));
                let (block2, block1) = (block.map(Block::to_uint), exchange.block1);
                self.respond(
                    exchange,
                    response,
                    Framing { observe, block2, block1, size2, ..Framing::default() },
                    range,
                );
            }
            Err(refusal) => {
                let all = 0..refusal.body.as_bytes().len();
                self.respond(exchange, &refusal, Framing::default(), all);
            }
        }
    }

    /// Writes a response with this part of its body, unless it is not wanted.
    pub(super) fn respond(
        &mut self,
        exchange: Exchange,
        response: &Response,
        framing: Framing,
        part: Range<usize>,
    ) {
        let Exchange { to, token, no_response, .. } = exchange;
        let directions = Directions { no_response, ..Directions::default() };
        if directions.suppresses(response.code.class()) {
            return self.outlet.suppress(to);
        }
        let part = response.body.as_bytes().get(part).unwrap_or_default();
        self.outlet.respond(to, response.code, token.as_bytes(), |writer| {
            writing::write(writer, response, &framing, part);
        });
    }

    /// What is known of a request whose sender's address may be forged: nobody forges that of this machine, and over a
    /// stream or DTLS it cannot be.
    fn unproven(
        &mut self,
        message: &Message<'_>,
        directions: &Directions<'_>,
        caller: &Caller,
    ) -> Option<Unproven> {
        if caller.is_local || caller.transport != Transport::Udp {
            return None;
        }
        let address = caller.address.ip().to_canonical();
        if let Some(echo) = directions.echo {
            self.amplification.repeated(address, echo, self.outlet.time);
        }
        let size = message.token.len() + message.options.as_bytes().len() + message.payload.len();
        matches!(message.code, Code::GET | Code::FETCH).then_some(Unproven { address, size })
    }

    fn may_send(&mut self, request: Unproven, in_burst: bool, response: &Response) -> bool {
        let most = usize::from(self.settings.block_size) * if in_burst { bursts::SET } else { 1 };
        let length = response.body.as_bytes().len().min(most);
        self.amplification.allows(request, length, self.settings.unverified_bytes, self.outlet.time)
    }

    /// Asks the client to show that it receives what is sent to it (RFC 9175 §2.3).
    fn challenge(&mut self, exchange: Exchange, request: Unproven) {
        self.counters.challenges += 1;
        let echo = self.amplification.challenge(request.address, self.outlet.time);
        let response = Response::new(Code::UNAUTHORIZED).with(Number::ECHO, Bytes::copy_from_slice(&echo));
        self.respond(exchange, &response, Framing::default(), 0..0);
    }

    /// Too much is waiting.
    fn turn_away(&mut self, exchange: Exchange) {
        self.counters.turned_away += 1;
        let response = Response::new(Code::SERVICE_UNAVAILABLE).fresh_for(COME_AGAIN);
        self.answer(exchange, &response, None);
    }

    /// RFC 7252 §5.4.1: a confirmable request is told which option was not understood, another one rejected.
    fn refuse_option(&mut self, to: ReplyTo, token: &[u8], number: Number) {
        if !to.is_confirmable() {
            return self.outlet.reject(to);
        }
        let text = format!("option {} is not understood", number.0);
        self.outlet.respond(to, Code::BAD_OPTION, token, |writer| {
            writer.payload(text.as_bytes());
        });
    }

    /// Gives the answers that have waited for what is durable by now.
    pub fn log_moved(&mut self, turn: &mut Turn<'_>) {
        let durable = turn.shared.vhost.durable();
        while let Some((exchange, response)) = self.waiting.next_durable(durable) {
            self.answer(exchange, &response, None);
        }
    }

    /// Goes on with a request that waited for this.
    pub fn ticket_answered(&mut self, ticket: Ticket, outcome: Outcome, turn: &mut Turn<'_>) {
        if let Some((exchange, suspended)) = self.waiting.take(ticket) {
            self.resume(exchange, *suspended, outcome, turn);
        }
    }

    fn resume(&mut self, exchange: Exchange, suspended: Suspended, outcome: Outcome, turn: &mut Turn<'_>) {
        let Suspended { message, caller, then } = suspended;
        let message = message.as_message();
        let request = request(&exchange, &message, &caller);
        let mut cx = self.context(turn);
        let resumed = catch_unwind(AssertUnwindSafe(|| then(outcome, &request, &mut cx)));
        let answer = resumed.unwrap_or_else(|_| internal_error());
        self.settle(exchange, answer, &message, &caller, turn);
    }

    /// Acknowledges what has waited for a second, and gives up what has waited for too long.
    pub(crate) fn waiting_due(&mut self, turn: &mut Turn<'_>) {
        self.waiting.acknowledge_due(&mut self.outlet);
        if self.waiting.position().is_some() && turn.shared.vhost.admission() == Admission::Failed {
            while let Some(exchange) = self.waiting.next_for_log() {
                self.turn_away(exchange);
            }
        }
        while let Some(given_up) = self.waiting.give_up_due(self.outlet.time) {
            match given_up {
                GivenUp::Log(exchange) => self.turn_away(exchange),
                GivenUp::Ticket(exchange, suspended) => {
                    self.resume(exchange, *suspended, Outcome::Abandoned, turn);
                }
            }
        }
    }
}

fn request<'a>(exchange: &Exchange, message: &Message<'a>, caller: &'a Caller) -> Request<'a> {
    Request {
        code: message.code,
        options: message.options,
        payload: message.payload,
        caller,
        confirmable: exchange.to.is_confirmable(),
        observe: exchange.observe,
    }
}

/// Why a request is not for the resources.
fn refusal(
    message: &Message<'_>,
    directions: &Directions<'_>,
    caller: &Caller,
    forwards: bool,
) -> Option<Response> {
    if directions.for_proxy && !forwards {
        return Some(Response::new(Code::PROXYING_NOT_SUPPORTED));
    }
    if !(Code::GET.0..=Code::IPATCH.0).contains(&message.code.0) {
        return Some(Response::new(Code::METHOD_NOT_ALLOWED));
    }
    // Credentials may stand in the query; the resources look at them.
    if !caller.admitted && !message.options.contains(Number::URI_QUERY) {
        return Some(Response::new(Code::UNAUTHORIZED));
    }
    None
}

fn internal_error() -> Answer {
    tracing::error!("internal error while working on a CoAP request; please report this");
    Answer::Now(Response::new(Code::INTERNAL_SERVER_ERROR))
}
