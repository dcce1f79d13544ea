//! Putting the server together, and taking it down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mio::Poll;
use tercet_broker::access::{AccessStore, Outside};
use tercet_broker::clock::Now;
use tercet_broker::crossing::address::TopicMapping;
use tercet_broker::effects::Effects;
use tercet_broker::hosts::Hosts;
use tercet_broker::limits::{Limits, Overflow, SharedStrategy};
use tercet_broker::metrics::Metrics;
use tercet_broker::outbox::CloseReason;
use tercet_broker::permission::Permissions;
use tercet_net::ListenError;
use tercet_net::tls::TlsConfigError;

use crate::amqp::AmqpShared;
use crate::auth::{AuthFiles, AuthLoadError, AuthSettings, Authenticator};
use crate::coap::node::{DatagramDoor, Node};
use crate::coap::oscore::Contexts;
use crate::coap::oscore::security::Store;
use crate::coap::settings::{CoapSettings, CoapShared};
use crate::config::{self, Config, TopicForm};
use crate::event_log::EventLog;
use crate::housekeeping::{self, Housekeeping};
use crate::http::HttpServer;
use crate::http::health::Health;
use crate::listeners::{self, BoundListener, Doors, SettingsByName};
use crate::memory::Memory;
use crate::metrics::snapshot::CensusTaker;
use crate::mqtt::settings::ListenerSettings;
use crate::provisioning::{self, TopicRules};
use crate::reactor::acceptor::Acceptor;
use crate::reactor::event_loop::Reactor;
use crate::reactor::inbox::{Command, Inbox};
use crate::scheduler::Scheduler;
use crate::shared::Shared;
use crate::storage::{
    self, Reader, RecoverError, Recovery, RunningStorage, Storage, StorageError, StorageView,
};

/// Starts servers.
pub struct Server;

/// Why a server could not be started or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A certificate or key cannot be used.
    #[error("listener {listener}: {source}")]
    Tls {
        /// Name of the listener.
        listener: String,
        /// What is wrong.
        source: TlsConfigError,
    },
    /// The password or ACL file cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthLoadError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state in it cannot be rebuilt.
    #[error(transparent)]
    Recovery(#[from] RecoverError),
    /// The system refuses threads, polls or random numbers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A server that runs. Dropping it stops it at once; [`RunningServer::drain`] lets clients know first.
pub struct RunningServer {
    shared: Arc<Shared>,
    topic_rules: Arc<TopicRules>,
    listeners: Vec<BoundListener>,
    settings: SettingsByName,
    threads: Vec<JoinHandle<()>>,
    housekeeping: Option<Housekeeping>,
    scheduler: Option<Scheduler>,
    http: Option<HttpServer>,
    reader: Option<Reader>,
    storage: Option<RunningStorage>,
}

impl Server {
    /// Rebuilds the state that the data directory holds, binds every listener and starts serving.
    pub fn start(config: Config) -> Result<RunningServer, StartError> {
        let files = AuthFiles::from(&config.auth);
        let loaded = files.load()?;
        let metrics = Arc::new(Metrics::default());
        let storage = Storage::open(&config)?;
        let journal = storage.as_ref().map(Storage::journal);
        let limits = core_limits(&config);
        let hosts =
            Arc::new(Hosts::new(limits, Permissions::allow_all(), journal, Arc::new(EventLog), metrics));
        hosts.set_topic_mapping(match config.amqp.topic_mapping {
            TopicForm::Exact => TopicMapping::Exact,
            TopicForm::Rabbitmq => TopicMapping::Swap,
        });
        let vhost = Arc::clone(hosts.default_host());
        let mut effects = Effects::default();
        let recovery = storage.as_ref().map(|storage| storage.recover(&hosts, &mut effects)).transpose()?;
        let accounts = AccessStore::open(Arc::clone(hosts.definitions()) as _, Outside::default());
        let settings = AuthSettings::from(&config.auth);
        let authenticator = Authenticator::with_accounts(None, Arc::new(accounts), settings)?;
        authenticator.set_users(loaded.users, files.rules());
        authenticator.set_anonymous_user(config.auth.amqp_anonymous_user.as_deref());

        let reactors = config.server.thread_count();
        let first_of_coap = reactors - config.coap.reactor_count(reactors);
        let doors = Doors::open(&config, reactors - first_of_coap)?;
        let (polls, inboxes) = polls(reactors)?;
        let storage = match storage.zip(recovery) {
            None => None,
            Some((storage, recovery)) => {
                Some(storage.run(Arc::clone(&hosts), recovery, storage::wake_reactors(inboxes.clone()))?)
            }
        };
        let memory = Memory::new(config.limits.memory_budget().bytes());
        let contexts = load_contexts(&config, &Contexts::default(), &hosts, storage.is_some())?;
        let coap = CoapShared::new(&config, hosts.definitions(), contexts);
        let shared = Arc::new(Shared {
            coap,
            hosts,
            vhost,
            amqp: AmqpShared::default(),
            authenticator,
            reactors: inboxes.clone(),
            memory,
            listeners: doors.counters(),
            census: CensusTaker::default(),
            sys_interval: ArcSwap::from_pointee(config.server.sys_interval.get()),
            health: Health::starting(),
            storage: storage.as_ref().map(|storage| storage.view().clone()),
        });
        provisioning::put_in_force(&shared);
        let accounts = shared.authenticator.access();
        let topic_rules = TopicRules::follow(loaded.permissions, &shared.vhost, &accounts);
        housekeeping::catch_up(&shared, effects);
        let max_connections =
            config.limits.max_connections.get().map_or(usize::MAX, |most| most.get() as usize);
        let mut acceptor = Some(Acceptor::new(
            doors.streams,
            inboxes.clone(),
            max_connections,
            config.limits.connect_rate.get().map(|rate| rate.get()),
            Instant::now(),
        ));
        let mut datagrams = doors.datagrams;
        let mut threads = Vec::new();
        for (index, (poll, inbox)) in polls.into_iter().zip(inboxes).enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let reactor = {
                // The first reactor has the listeners of streams to look after.
                let serves = usize::from(index) >= first_of_coap;
                let doors = datagrams.iter_mut().filter(|_| serves).filter_map(|bound| {
                    let (socket, groups) = (bound.sockets.pop()?, std::mem::take(&mut bound.groups));
                    Some(DatagramDoor { socket, groups, settings: Arc::clone(&bound.settings) })
                });
                let node = Node::new(doors.collect(), &shared, Now::read())?;
                Reactor::new(index, poll, inbox, Arc::clone(&shared), acceptor.take(), node)?
            };
            threads
                .push(thread::Builder::new().name(format!("reactor-{index}")).spawn(move || reactor.run())?);
        }
        let housekeeping = Some(Housekeeping::start(Arc::clone(&shared))?);
        let scheduler = Some(Scheduler::start(&shared)?);
        let reader = Reader::start(&shared)?;
        let http = match doors.http.is_empty() {
            true => None,
            false => Some(HttpServer::start(doors.http, Arc::clone(&shared), max_connections)?),
        };
        shared.health.set_serving();
        let (listeners, settings) = (doors.listeners, doors.settings);
        Ok(RunningServer {
            shared,
            topic_rules,
            listeners,
            settings,
            threads,
            housekeeping,
            scheduler,
            http,
            reader,
            storage,
        })
    }
}

impl RunningServer {
    /// The open listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[BoundListener] {
        &self.listeners
    }

    /// Connections open by the listener of this name; `None` when there is no such listener.
    pub fn open_connections(&self, listener: &str) -> Option<usize> {
        self.settings.get(listener).map(|(_, open)| open.load(Relaxed))
    }

    /// What was found in the data directory; `None` when everything is in memory.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.shared.storage.as_ref().map(StorageView::recovery)
    }

    /// What all threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Puts another configuration in force as far as that is possible without a restart. On an error nothing
    /// has changed but certificates that could be loaded.
    pub fn reload(&self, config: Config) -> Result<(), StartError> {
        let files = AuthFiles::from(&config.auth);
        let loaded = files.load()?;
        let mut fresh = Vec::new();
        for listener in &config.listeners {
            if let Some((current, open)) = self.settings.get(&listener.name) {
                let layers = listeners::layers(listener, Some(&current.load().layers))?;
                fresh.push((current, ListenerSettings::new(&config, listener, layers, Arc::clone(open))));
            }
        }
        let Shared { coap, hosts, storage, .. } = &*self.shared;
        let contexts = load_contexts(&config, &coap.oscore.load(), hosts, storage.is_some())?;
        for (current, settings) in fresh {
            current.store(Arc::new(settings));
        }
        coap.oscore.store(Arc::new(contexts));
        self.shared.sys_interval.store(Arc::new(config.server.sys_interval.get()));
        self.shared.coap.settings.store(Arc::new(CoapSettings::new(&config)));
        self.shared.hosts.set_limits(&core_limits(&config));
        // Rights first: a user who is new must not act under rules that do not know them yet.
        self.topic_rules.replace(loaded.permissions);
        self.shared.authenticator.set_users(loaded.users, files.rules());
        self.shared.authenticator.set_anonymous_user(config.auth.amqp_anonymous_user.as_deref());
        Ok(())
    }

    /// Tells every client that the server goes, waits until they are gone or `limit` has passed, and stops.
    pub fn drain(self, limit: Duration) {
        self.shared.health.set_draining();
        let end = Instant::now() + limit;
        for inbox in &self.shared.reactors {
            inbox.send(Command::CloseAll(CloseReason::ServerShuttingDown));
        }
        while Instant::now() < end
            && self.shared.reactors.iter().any(|inbox| inbox.connections.load(Relaxed) > 0)
        {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // First what hands work to reactors.
        self.http = None;
        self.housekeeping = None;
        self.scheduler = None;
        for inbox in &self.shared.reactors {
            inbox.send(Command::Stop);
        }
        for thread in self.threads.drain(..) {
            // A panic in a reactor has been printed; there is nothing else to learn from it here.
            let _ = thread.join();
        }
        self.reader = None;
        // Nothing changes any more: everything goes to the log, and a checkpoint makes the next start a short one.
        self.shared.vhost.write_behind(usize::MAX);
        self.storage = None;
    }
}

/// A poll for each reactor, with its inbox.
fn polls(count: usize) -> io::Result<(Vec<Poll>, Vec<Arc<Inbox>>)> {
    let mut polls = Vec::new();
    let mut inboxes = Vec::new();
    for _ in 0..count {
        let poll = Poll::new()?;
        inboxes.push(Arc::new(Inbox::new(&poll, Reactor::inbox_token())?));
        polls.push(poll);
    }
    Ok((polls, inboxes))
}

fn core_limits(config: &Config) -> Limits {
    let limits = &config.limits;
    let count =
        |limit: Option<u64>| limit.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    Limits {
        max_queued_messages: count(limits.max_queued_messages.get().map(|most| most.get())),
        max_queued_bytes: limits.max_queued_bytes.get().map_or(usize::MAX, |size| size.as_usize()),
        overflow: match limits.queue_overflow {
            config::Overflow::DropOldest => Overflow::DropOldest,
            config::Overflow::DropNewest => Overflow::DropNew,
        },
        max_subscriptions: limits.max_subscriptions.get().map_or(usize::MAX, |most| most.get() as usize),
        max_retained: count(limits.max_retained_messages.get().map(|most| most.get())),
        max_retained_bytes: limits.max_retained_bytes.get().map_or(usize::MAX, |size| size.as_usize()),
        message_memory: limits.message_memory_budget().as_usize(),
        max_sessions: limits.max_sessions.get().map_or(usize::MAX, |most| most.get() as usize),
        queue_qos0: false,
        shared_strategy: match config.mqtt.shared_strategy {
            config::SharedStrategy::RoundRobin => SharedStrategy::RoundRobin,
            config::SharedStrategy::Random => SharedStrategy::Random,
            config::SharedStrategy::Sticky => SharedStrategy::Sticky,
            config::SharedStrategy::LeastInflight => SharedStrategy::LeastInflight,
        },
    }
}

/// Loads the security contexts of OSCORE. Those of `before` that are still there go on.
fn load_contexts(
    config: &Config,
    before: &Contexts,
    hosts: &Hosts,
    is_durable: bool,
) -> Result<Contexts, AuthLoadError> {
    let (definitions, vhost) = (Arc::clone(hosts.definitions()), Arc::clone(hosts.default_host()));
    Contexts::load(config.coap.oscore_file.as_deref(), before, &Store { definitions, vhost, is_durable })
        .map_err(|problem| AuthLoadError { problems: vec![problem] })
}
