//! From a request message to its answer, whatever the transport: options, body, route, handler, representation, block.
//!
//! The order is that of the rules: options that must be understood come before everything (RFC 7252 §5.4.1), the body
//! is whole before a handler sees it (RFC 7959 §2.5), and only what is sent is cut into blocks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tercet_coap::block::{Block, Carrier};
use tercet_coap::option::Judgement;
use tercet_coap::oscore::{self, Header, UnprotectError};
use tercet_coap::{Code, Number, Options, Token};
use tokio::time::Instant;

use super::super::message::Message;
use super::super::oscore::Oscore;
use super::blocks::{Assembled, Blocks, slice};
use super::handler::Erased;
use super::method_router::{Description, MethodRouter};
use super::relation::Relation;
use super::reply::Reply;
use super::request::{Peer, Request};
use super::router::Router;
use super::well_known;

/// What a server does with requests.
pub(super) struct Service {
    router: Router,
    /// Security contexts of clients (RFC 8613).
    contexts: Vec<Oscore>,
    blocks: Mutex<Blocks>,
    observers: Arc<AtomicUsize>,
    max_observers: usize,
    sequence: AtomicU32,
    start: Instant,
}

/// How much a server takes.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of the body of a request.
    pub(super) body: usize,
    /// Observers altogether.
    pub(super) observers: usize,
}

/// What a request leads to.
pub(super) enum Outcome {
    Answer(Message),
    /// The answer begins an observation.
    Observe(Message, Box<Relation>),
    /// The client wants to hear nothing (RFC 7967).
    Silence,
}

/// What a relation or a request needs to make a representation.
#[derive(Clone)]
pub(super) struct Resource {
    pub(super) request: Request,
    handler: Erased<()>,
    carrier: Carrier,
}

impl Service {
    pub(super) fn new(router: Router, contexts: Vec<Oscore>, bounds: Bounds, key: [u64; 2]) -> Self {
        Self {
            router,
            contexts,
            blocks: Mutex::new(Blocks::new(bounds.body, key)),
            observers: Arc::new(AtomicUsize::new(0)),
            max_observers: bounds.observers,
            sequence: AtomicU32::new(1),
            start: Instant::now(),
        }
    }

    /// Answers a request, protected if it is.
    pub(super) async fn answer(
        self: &Arc<Self>,
        peer: &Peer,
        token: &Token,
        message: Message,
        carrier: Carrier,
    ) -> Outcome {
        let (oscore, opened) = match message.options().get(Number::OSCORE) {
            Some(option) if !self.contexts.is_empty() => match self.open(option, &message) {
                Ok(opened) => opened,
                Err(error) => return Outcome::Answer(Message::from_owned(error.response(token))),
            },
            _ => return self.answer_plain(peer, token, message, carrier).await,
        };
        let (inner, mut exchange) = match opened {
            oscore::Request::Fresh(inner, exchange) => (Message::from_owned(inner), exchange),
            oscore::Request::Challenge(challenge) => return Outcome::Answer(Message::from_owned(challenge)),
        };
        let protect = |exchange: &mut oscore::Exchange, answer: &Message| {
            // Without sequence numbers there is no answer that the client would take.
            oscore
                .protect_response(exchange, answer)
                .unwrap_or_else(|_| Message::new(Code::INTERNAL_SERVER_ERROR))
        };
        match self.answer_plain(peer, token, inner, carrier).await {
            Outcome::Silence => Outcome::Silence,
            Outcome::Answer(answer) => Outcome::Answer(protect(&mut exchange, &answer)),
            Outcome::Observe(answer, relation) => {
                let answer = protect(&mut exchange, &answer);
                Outcome::Observe(answer, Box::new(relation.protected(oscore, exchange)))
            }
        }
    }

    /// The context of a protected request, and what the request says.
    fn open(&self, option: &[u8], message: &Message) -> Result<(Oscore, oscore::Request), UnprotectError> {
        let header = Header::decode(option)?;
        let oscore = self.contexts.iter().find(|context| context.is_for(&header));
        let oscore = oscore.ok_or(UnprotectError::NoContext)?;
        Ok((oscore.clone(), oscore.unprotect_request(message)?))
    }

    async fn answer_plain(
        self: &Arc<Self>,
        peer: &Peer,
        token: &Token,
        message: Message,
        carrier: Carrier,
    ) -> Outcome {
        let silenced = message.options().uint(Number::NO_RESPONSE).unwrap_or(0);
        let outcome = match self.carry_out(peer, token, message, carrier).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Answer(error),
        };
        match &outcome {
            // RFC 7967 §2.1: bit n - 1 stands for class n.
            Outcome::Answer(answer) if silenced >> (answer.code.class() - 1) & 1 != 0 => Outcome::Silence,
            _ => outcome,
        }
    }

    async fn carry_out(
        self: &Arc<Self>,
        peer: &Peer,
        token: &Token,
        message: Message,
        carrier: Carrier,
    ) -> Result<Outcome, Message> {
        let path = understood(&message)?;
        if !message.options().contains(Number::BLOCK1)
            && let Some(kept) = self.lock().further_block(peer, &message, carrier, self.start.elapsed())
        {
            return kept.map(Outcome::Answer);
        }
        let (message, echo) = match self.lock().assemble(peer, message, carrier, self.start.elapsed())? {
            Assembled::Whole(message, echo) => (message, echo),
            Assembled::Partial(answer) => return Ok(Outcome::Answer(answer)),
        };
        if path.iter().map(String::as_str).eq(well_known::PATH) && !self.router.has(&path, message.code) {
            return self.core(peer, message, path, carrier).map(Outcome::Answer);
        }
        let current = self.current(peer, &message, &path, carrier);
        let (resource, description) = self.find(peer, message, path, carrier)?;
        if let Some(current) = current
            && !holds(resource.request.options(), &current.represent(self).await)
        {
            return Err(Message::new(Code::PRECONDITION_FAILED));
        }
        let code = resource.request.method();
        // Before the answer is made, so that no change after it is missed.
        let changes = description.trigger.map(|trigger| trigger.watch());
        let mut answer = resource.represent(self).await;
        if let Some(echo) = echo {
            answer.options.set_uint(Number::BLOCK1, Block::to_uint(echo));
        }
        let observe = resource.request.options().uint(Number::OBSERVE);
        let wanted = observe == Some(0) && matches!(code, Code::GET | Code::FETCH);
        match changes.filter(|_| wanted && answer.code.is_success()) {
            None => Ok(Outcome::Answer(answer)),
            Some(changes) => {
                let place = Relation::place(&self.observers, self.max_observers);
                // RFC 7641 §4.1: without room the request is answered as if it had not asked.
                let Some(place) = place else { return Ok(Outcome::Answer(answer)) };
                answer.options.set_uint(Number::OBSERVE, self.next_number());
                let relation = Relation::new(self.clone(), resource, changes, token.clone(), place);
                Ok(Outcome::Observe(answer, Box::new(relation)))
            }
        }
    }

    /// The resource that a request is for, if it can be asked so.
    fn find(
        &self,
        peer: &Peer,
        message: Message,
        path: Vec<String>,
        carrier: Carrier,
    ) -> Result<(Resource, Description), Message> {
        let found = self.router.find(&path).ok_or_else(|| Message::new(Code::NOT_FOUND))?;
        let methods: &MethodRouter = found.methods;
        let handler = methods.handler(message.code).ok_or_else(|| Message::new(Code::METHOD_NOT_ALLOWED))?;
        let description = methods.description().clone();
        let format = message.content_format(Number::CONTENT_FORMAT);
        if format
            .is_some_and(|format| !description.consumes.is_empty() && !description.consumes.contains(&format))
        {
            return Err(Message::new(Code::UNSUPPORTED_CONTENT_FORMAT));
        }
        let accept = message.content_format(Number::ACCEPT);
        if accept
            .is_some_and(|accept| !description.produces.is_empty() && !description.produces.contains(&accept))
        {
            return Err(Message::new(Code::NOT_ACCEPTABLE));
        }
        let handler = handler.clone();
        let request = Request::new(message, path, found.parameters, peer.clone());
        Ok((Resource { request, handler, carrier }, description))
    }

    /// What GET would give, if the request is to be carried out only in a certain state of the resource
    /// (RFC 7252 §5.10.8).
    fn current(&self, peer: &Peer, message: &Message, path: &[String], carrier: Carrier) -> Option<Resource> {
        let options = message.options();
        let is_conditional = options.contains(Number::IF_MATCH) || options.contains(Number::IF_NONE_MATCH);
        if message.code == Code::GET || !is_conditional {
            return None;
        }
        let mut read = Message::new(Code::GET);
        read.options = options.iter().filter(|(number, _)| is_of_uri(*number)).collect();
        self.find(peer, read, path.to_vec(), carrier).ok().map(|(resource, _)| resource)
    }

    /// `/.well-known/core`.
    fn core(
        &self,
        peer: &Peer,
        message: Message,
        path: Vec<String>,
        carrier: Carrier,
    ) -> Result<Message, Message> {
        if message.code != Code::GET {
            return Err(Message::new(Code::METHOD_NOT_ALLOWED));
        }
        let request = Request::new(message, path, Vec::new(), peer.clone());
        let reply = well_known::answer(&self.router, request.query());
        Ok(finish(&request, reply, carrier, self))
    }

    /// The number of the next notification: ever greater, with the wrap that 24 bits bring (RFC 7641 §4.4).
    pub(super) fn next_number(&self) -> u32 {
        self.sequence.fetch_add(1, Ordering::Relaxed) & 0x00FF_FFFF
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a body of which the client has the first block only.
    fn keep(&self, request: &Request, answer: Message) {
        self.lock().keep(request, answer, self.start.elapsed());
    }
}

impl Resource {
    /// What the handler answers, as a message of which the payload fits.
    pub(super) async fn represent(&self, service: &Service) -> Message {
        let reply = (self.handler)(self.request.clone(), ()).await;
        finish(&self.request, reply, self.carrier, service)
    }
}

fn is_of_uri(number: Number) -> bool {
    matches!(number, Number::URI_HOST | Number::URI_PORT | Number::URI_PATH | Number::URI_QUERY)
}

/// Whether the resource is in the state that a request is for; an empty If-Match is for any.
fn holds(options: Options<'_>, current: &Message) -> bool {
    let exists = current.code.is_success();
    if exists && options.contains(Number::IF_NONE_MATCH) {
        return false;
    }
    let mut tags = options.all(Number::IF_MATCH).peekable();
    tags.peek().is_none() || tags.any(|tag| exists && (tag.is_empty() || current.etag() == Some(tag)))
}

/// The path, if every critical option is understood.
fn understood(message: &Message) -> Result<Vec<String>, Message> {
    let options = message.options();
    // RFC 7252 §5.10.2: a server that is no proxy says so, and not that it does not know the option.
    if options.contains(Number::PROXY_URI) || options.contains(Number::PROXY_SCHEME) {
        return Err(Message::new(Code::PROXYING_NOT_SUPPORTED));
    }
    let known =
        |number| !matches!(number, Number::OSCORE | Number::EDHOC | Number::Q_BLOCK1 | Number::Q_BLOCK2);
    if let Judgement::BadOption(number) = options.judge_by(known) {
        return Err(Message::diagnostic(Code::BAD_OPTION, format!("{number:?}")));
    }
    if message.code.name().is_none() {
        return Err(Message::new(Code::METHOD_NOT_ALLOWED));
    }
    Ok(options.texts(Number::URI_PATH).map(str::to_owned).collect())
}

/// The message that a reply means, with the block of the body that the client is to have.
fn finish(request: &Request, reply: Reply, carrier: Carrier, service: &Service) -> Message {
    let method = request.method();
    let code = reply.code.unwrap_or(match method {
        Code::GET | Code::FETCH => Code::CONTENT,
        Code::DELETE => Code::DELETED,
        _ => Code::CHANGED,
    });
    if code == Code::CONTENT
        && let (Some(accept), Some(format)) = (request.accept(), reply.content_format)
        && accept != format
    {
        return Message::new(Code::NOT_ACCEPTABLE);
    }
    let mut message = Message { payload: reply.payload, ..Message::new(code) };
    for (number, value) in &reply.options {
        message.options.add(*number, value);
    }
    if let Some(format) = reply.content_format {
        message.options.set_uint(Number::CONTENT_FORMAT, format.0.into());
    }
    if let Some(seconds) = reply.max_age {
        message.options.set_uint(Number::MAX_AGE, seconds);
    }
    if code == Code::CONTENT {
        let etag = reply.etag.unwrap_or_else(|| etag(&message));
        message.options.set(Number::ETAG, &etag);
        if request.options().all(Number::ETAG).any(|known| known == etag) {
            message.code = Code::VALID;
            message.payload = Bytes::new();
            message.options.remove(Number::CONTENT_FORMAT);
        }
    } else if let Some(etag) = &reply.etag {
        message.options.set(Number::ETAG, etag);
    }
    slice(request.options(), message.clone(), carrier).map_or_else(
        |refused| refused,
        |sliced| {
            // What GET gives can be made again; the result of a change cannot.
            if sliced.payload.len() < message.payload.len() && method != Code::GET {
                service.keep(request, message);
            }
            sliced
        },
    )
}

/// Eight bytes that change with the representation.
fn etag(message: &Message) -> Bytes {
    let mut hasher = DefaultHasher::new();
    message.options().uint(Number::CONTENT_FORMAT).hash(&mut hasher);
    message.payload.hash(&mut hasher);
    Bytes::copy_from_slice(&hasher.finish().to_be_bytes())
}
