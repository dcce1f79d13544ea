//! The resources above a core in memory, and somebody who asks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::hosts::Hosts;
use tercet_broker::limits::Limits;
use tercet_broker::message::Qos;
use tercet_broker::metrics::Metrics;
use tercet_broker::outbox::ConnectionRef;
use tercet_broker::permission::{Permissions, acl_file};
use tercet_broker::watch::Watch;
use tercet_coap::{Code, ContentFormat, Number, OptionBuf};

use crate::auth::{AuthSettings, Authenticator, Identity};
use crate::coap::answer::{Answer, Observation};
use crate::coap::caller::{Caller, Transport};
use crate::coap::context::CoapContext;
use crate::coap::request::{Observe, Request};
use crate::coap::resources::{Changes, Resources, dispatch, notification};
use crate::coap::response::Response;
use crate::coap::settings::{CoapSettings, CoapShared};
use crate::config::Config;
use crate::event_log::EventLog;
use crate::http::health::Health;
use crate::memory::Memory;
use crate::metrics::snapshot::CensusTaker;
use crate::shared::Shared;

/// A request that is put together word by word.
#[derive(Clone)]
pub(super) struct Ask {
    code: Code,
    options: OptionBuf,
    payload: Vec<u8>,
    confirmable: bool,
    observe: Option<Observe>,
}

impl Ask {
    /// A confirmable request for a path, whose segments are between slashes, and a query behind a question mark.
    pub(super) fn new(code: Code, path: &str) -> Self {
        let mut options = OptionBuf::new();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        for segment in path.strip_prefix('/').unwrap_or(path).split('/').filter(|_| path != "/") {
            options.add(Number::URI_PATH, segment.as_bytes());
        }
        for argument in query.into_iter().flat_map(|query| query.split('&')) {
            options.add(Number::URI_QUERY, argument.as_bytes());
        }
        Self { code, options, payload: Vec::new(), confirmable: true, observe: None }
    }

    pub(super) fn payload(self, payload: impl AsRef<[u8]>) -> Self {
        Self { payload: payload.as_ref().to_vec(), ..self }
    }

    pub(super) fn option(mut self, number: Number, value: &[u8]) -> Self {
        self.options.add(number, value);
        self
    }

    pub(super) fn format(mut self, format: u16) -> Self {
        self.options.add_uint(Number::CONTENT_FORMAT, format.into());
        self
    }

    pub(super) fn accept(mut self, format: u16) -> Self {
        self.options.add_uint(Number::ACCEPT, format.into());
        self
    }

    pub(super) fn max_age(mut self, seconds: u32) -> Self {
        self.options.add_uint(Number::MAX_AGE, seconds);
        self
    }

    pub(super) fn observing(self) -> Self {
        Self { observe: Some(Observe::Register), ..self }
    }

    pub(super) fn unconfirmed(self) -> Self {
        Self { confirmable: false, ..self }
    }
}

/// The resources of one reactor.
pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    pub(super) now: Now,
    pub(super) effects: Effects,
    pub(super) caller: Caller,
    resources: Resources,
    settings: CoapSettings,
    last_ticket: u32,
}

impl Default for World {
    fn default() -> Self {
        Self::with(Limits::default())
    }
}

impl World {
    pub(super) fn with(limits: Limits) -> Self {
        let config = Config::on_free_ports();
        let metrics = Arc::new(Metrics::default());
        let hosts = Hosts::new(limits, Permissions::allow_all(), None, Arc::new(EventLog), metrics);
        let shared = Shared {
            coap: CoapShared::new(&config, hosts.definitions(), crate::coap::oscore::Contexts::default()),
            vhost: Arc::clone(hosts.default_host()),
            hosts: Arc::new(hosts),
            amqp: crate::amqp::AmqpShared::default(),
            authenticator: Authenticator::new(None, AuthSettings::default()).unwrap(),
            reactors: Vec::new(),
            memory: Memory::new(u64::MAX),
            listeners: Vec::new(),
            census: CensusTaker::default(),
            sys_interval: ArcSwap::from_pointee(None),
            health: Health::starting(),
            storage: None,
        };
        let caller = Caller {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
            is_local: true,
            transport: Transport::Udp,
            identity: Identity::anonymous(),
            client_id: "".into(),
            admitted: true,
        };
        Self {
            shared: Arc::new(shared),
            now: Now::read(),
            effects: Effects::default(),
            caller,
            resources: Resources::default(),
            settings: CoapSettings::new(&config),
            last_ticket: 0,
        }
    }

    /// Puts the rules of an ACL file in force.
    pub(super) fn permit(&self, acl: &str) {
        let rules = acl_file::parse(acl).unwrap();
        self.shared.vhost.set_permissions(Permissions::new(&rules));
    }

    fn within<R>(&mut self, act: impl FnOnce(&mut CoapContext<'_>, &Caller) -> R) -> R {
        let mut cx = CoapContext {
            shared: &self.shared,
            settings: &self.settings,
            now: self.now,
            effects: &mut self.effects,
            resources: &mut self.resources,
            reactor: 0,
            last_ticket: &mut self.last_ticket,
        };
        act(&mut cx, &self.caller)
    }

    pub(super) fn answer(&mut self, ask: &Ask) -> Answer {
        self.within(|cx, caller| {
            let request = Request {
                code: ask.code,
                options: ask.options.as_options(),
                payload: &ask.payload,
                caller,
                confirmable: ask.confirmable,
                observe: ask.observe,
            };
            dispatch(&request, cx)
        })
    }

    /// The response to a request that needs nobody else.
    pub(super) fn ask(&mut self, ask: &Ask) -> Response {
        match self.answer(ask) {
            Answer::Now(response) | Answer::AfterLog(_, response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn code(&mut self, ask: &Ask) -> Code {
        self.ask(ask).code
    }

    /// The first answer to an observer and what it observes.
    pub(super) fn observe(&mut self, ask: Ask) -> (Response, Observation, Arc<Watch>) {
        match self.answer(&ask.observing()) {
            Answer::Observe(response, observation) => {
                let watch = self.shared.vhost.watch(&observation.filter, ConnectionRef::watch(0, 1));
                (response, observation, watch)
            }
            other => panic!("{other:?}"),
        }
    }

    /// What an observer is told now.
    pub(super) fn told(&mut self, observation: &Observation, watch: &Watch) -> Option<Response> {
        let mut topics = Vec::new();
        let taken = watch.take(|topic, change| topics.push((Arc::clone(topic), change)));
        let changes = Changes { filter: watch.filter(), topics: &topics, overflowed: taken.overflowed };
        let any = taken.topics > 0 || taken.overflowed;
        any.then(|| self.within(|cx, caller| notification(observation.form, &changes, caller, cx))).flatten()
    }

    /// Sets a value, as MQTT's retain does.
    pub(super) fn retain(&mut self, topic: &str, payload: &str) {
        let publication = tercet_broker::message::Publication {
            topic,
            payload: payload.as_bytes(),
            properties: tercet_broker::message::Properties::NONE,
            qos: Qos::AtMostOnce,
            retain: true,
            expiry: None,
            publisher: self.shared.vhost.publisher(),
        };
        self.shared.vhost.publish_own(&publication, self.now, &mut self.effects);
    }
}

/// A body as text.
pub(super) fn text(response: &Response) -> String {
    String::from_utf8_lossy(response.body.as_bytes()).into_owned()
}

/// A format by its number.
pub(super) fn format(number: u16) -> Option<ContentFormat> {
    Some(ContentFormat(number))
}
