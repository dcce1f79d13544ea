//! The task that owns a connection: it makes it, reads, writes, keeps it alive, and makes it again.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tercet_mqtt::keep_alive::{PingAction, PingSchedule};
use tercet_mqtt::property::DisconnectProperties;
use tercet_mqtt::session_expiry::SessionExpiry;
use tercet_mqtt::{Disconnect, Packet, decode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, Sleep};

use super::client::{ConnAck, State};
use super::command::{Command, Goodbye};
use super::dial::{Io, dial};
use super::endpoint::Endpoint;
use super::inbox::Sender;
use super::options::{Builder, Options};
use super::property::Properties;
use super::session::{self, Session, Violation};
use super::{Event, Limits, ReasonCode, wire};
use crate::{Error, Result};

/// Size of the read buffer; it grows for larger packets and shrinks again.
const READ: usize = 64 * 1024;
/// Operations taken from the handles at once.
const BATCH: usize = 256;
/// How long the last bytes may take to be written.
const FAREWELL: Duration = Duration::from_secs(5);
/// Least and longest wait for the answer to a PINGREQ; between them it is the keep alive.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// Most rounds of enhanced authentication.
const AUTH_ROUNDS: usize = 16;

pub(super) struct Task {
    endpoint: Endpoint,
    options: Options,
    session: Session,
    commands: mpsc::Receiver<Command>,
    goodbyes: mpsc::UnboundedReceiver<Goodbye>,
    events: broadcast::Sender<Event>,
    state: Arc<State>,
    link: Link,
    /// The client id in use, after the broker may have assigned one.
    client_id: String,
}

/// One connection and what was read from it but not used yet.
struct Link {
    io: Box<dyn Io>,
    input: Vec<u8>,
    filled: usize,
    pings: PingSchedule,
    /// When to look at the schedule again; `None` without a keep alive.
    timer: Option<Pin<Box<Sleep>>>,
    /// What outlives the connection, as the broker granted it.
    session_expiry: SessionExpiry,
    unflushed: bool,
}

/// Why the loop of one connection ended.
enum Exit {
    Lost(Error),
    Goodbye(Option<Goodbye>),
}

/// What the loop woke up for.
enum Wake {
    Read,
    Commands,
    AllHandlesGone,
    Goodbye(Goodbye),
    Timer,
    Room,
    Failed(io::Error),
}

impl Task {
    /// Makes the first connection.
    pub(super) async fn connect(
        builder: Builder,
        inbox: Option<Sender>,
        commands: mpsc::Receiver<Command>,
        goodbyes: mpsc::UnboundedReceiver<Goodbye>,
        events: broadcast::Sender<Event>,
        state: Arc<State>,
    ) -> Result<Self> {
        let Builder { endpoint, mut options } = builder;
        options.settle_login()?;
        session::defaults(&mut options.properties, options.version);
        let mut session = Session::new(&options, inbox);
        let (link, connack) = attempt(&endpoint, &options, &options.client_id, options.clean_start).await?;
        session.connected(&connack);
        let client_id = connack.client_id.clone();
        state.set_connack(connack);
        Ok(Self { endpoint, options, session, commands, goodbyes, events, state, link, client_id })
    }

    /// Serves the connection, and further ones, until the end.
    pub(super) async fn run(mut self) {
        let end = loop {
            match self.serve().await {
                Exit::Goodbye(goodbye) => {
                    self.farewell(goodbye).await;
                    break Error::Closed;
                }
                Exit::Lost(error) => {
                    tracing::debug!(%error, "connection lost");
                    self.session.lost(&error);
                    match self.come_back(error).await {
                        Ok(()) => {}
                        Err(error) => break error,
                    }
                }
            }
        };
        self.state.set_end(end.clone());
        self.session.end(&end);
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            command.fail(end.clone());
        }
    }

    async fn serve(&mut self) -> Exit {
        let mut batch = Vec::with_capacity(BATCH);
        // Messages of an earlier session may have come together with the CONNACK.
        if let Err(exit) = self.consume() {
            return exit;
        }
        loop {
            let wake = poll_fn(|cx| self.poll_wake(cx, &mut batch)).await;
            match wake {
                Wake::Read => {
                    if let Err(exit) = self.consume() {
                        return exit;
                    }
                }
                Wake::Commands => batch.drain(..).for_each(|command| self.session.submit(command)),
                Wake::Room => {}
                Wake::Timer => {
                    if let Err(error) = self.keep_alive() {
                        return Exit::Lost(error);
                    }
                }
                Wake::Goodbye(goodbye) => return Exit::Goodbye(Some(goodbye)),
                Wake::AllHandlesGone => return Exit::Goodbye(None),
                Wake::Failed(error) => return Exit::Lost(self.lost(error)),
            }
        }
    }

    fn lost(&self, source: io::Error) -> Error {
        Error::Lost { url: self.endpoint.to_string(), source: Arc::new(source) }
    }

    /// Writes as much as possible, then waits for the first thing there is to do.
    fn poll_wake(&mut self, cx: &mut Context<'_>, batch: &mut Vec<Command>) -> Poll<Wake> {
        let _ = self.session.poll_waiting(cx);
        if let Poll::Ready(Err(error)) = self.link.poll_write(cx, &mut self.session) {
            return Poll::Ready(Wake::Failed(error));
        }
        if let Poll::Ready(Some(goodbye)) = self.goodbyes.poll_recv(cx) {
            return Poll::Ready(Wake::Goodbye(goodbye));
        }
        if self.session.may_read() {
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Wake::Read),
                Poll::Ready(Err(error)) => return Poll::Ready(Wake::Failed(error)),
                Poll::Pending => {}
            }
        }
        if self.session.has_room()
            && let Poll::Ready(n) = self.commands.poll_recv_many(cx, batch, BATCH)
        {
            return Poll::Ready(if n == 0 { Wake::AllHandlesGone } else { Wake::Commands });
        }
        // What poll_waiting moved may have opened the way for reading.
        if self.session.poll_waiting(cx).is_ready() {
            return Poll::Ready(Wake::Room);
        }
        if self.link.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Wake::Timer);
        }
        Poll::Pending
    }

    /// Handles every whole packet in the buffer.
    fn consume(&mut self) -> Result<(), Exit> {
        let version = self.options.version;
        let mut used = 0;
        // Anything that arrives shows that the broker lives.
        self.link.pings.pong_received();
        while let Some(rest) = self.link.input.get(used..self.link.filled).filter(|rest| !rest.is_empty()) {
            let failure = match decode(rest, version, &Limits::protocol()) {
                Ok(None) => break,
                Ok(Some((packet, size))) => {
                    used += size;
                    match self.session.packet(packet) {
                        Ok(()) => continue,
                        Err(Violation::Ended(error)) => return Err(Exit::Lost(error)),
                        Err(Violation::Broken(reason, text)) => (reason, text),
                    }
                }
                Err(error) => (error.reason, error.to_string()),
            };
            return Err(self.complain(failure.0, failure.1));
        }
        self.link.discard(used);
        Ok(())
    }

    /// Tells the broker what it did wrong, if the version has words for it.
    fn complain(&mut self, reason: ReasonCode, text: String) -> Exit {
        if self.options.version.is_v5()
            && wire::disconnect(reason, &Properties::new(), self.options.version, &mut self.session.out)
                .is_ok()
        {
            // As much as goes out at once; the connection ends either way.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let _ = self.link.poll_write(&mut cx, &mut self.session);
        }
        Exit::Lost(Error::Protocol(text))
    }

    fn keep_alive(&mut self) -> Result<()> {
        let now = Instant::now().into_std();
        match self.link.pings.poll(now) {
            PingAction::Wait(_) => {}
            // While the readers of messages are too slow, nothing is read and no answer seen. The broker must hear
            // of us all the same, or it ends the connection.
            PingAction::TimedOut if self.session.may_read() => {
                let silence = io::Error::new(io::ErrorKind::TimedOut, "the broker does not answer pings");
                return Err(self.lost(silence));
            }
            PingAction::SendPing | PingAction::TimedOut => {
                // PINGREQ (§3.12).
                self.session.out.extend_from_slice(&[0xC0, 0x00]);
                self.link.pings.ping_sent(now);
            }
        }
        self.link.set_timer();
        Ok(())
    }

    /// Writes what was handed over before, then DISCONNECT, and closes.
    async fn farewell(&mut self, goodbye: Option<Goodbye>) {
        let nothing = Properties::new();
        let (reason, properties) = goodbye
            .as_ref()
            .map_or((ReasonCode::Success, &nothing), |goodbye| (goodbye.reason, &goodbye.properties));
        let polite = async {
            while let Ok(command) = self.commands.try_recv() {
                self.session.submit(command);
            }
            let version = self.options.version;
            let properties = if self.link.may_ask(properties) { properties } else { &nothing };
            if wire::disconnect(reason, properties, version, &mut self.session.out).is_err() {
                // A property that cannot be sent must not keep the connection from ending well.
                let _ = wire::disconnect(reason, &nothing, version, &mut self.session.out);
            }
            poll_fn(|cx| self.link.poll_write(cx, &mut self.session)).await?;
            self.link.io.flush().await?;
            self.link.io.shutdown().await
        };
        match tokio::time::timeout(FAREWELL, polite).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection broke while it was closed"),
            Err(_) => tracing::debug!("the connection could not be closed in time"),
        }
        self.state.set_end(Error::Closed);
        if let Some(goodbye) = goodbye {
            // Nobody may be waiting any more.
            let _ = goodbye.done.send(());
        }
    }

    /// Connects again, as often as allowed.
    async fn come_back(&mut self, mut error: Error) -> Result<()> {
        let backoff = self.options.reconnect;
        let mut attempt_number = 0;
        loop {
            attempt_number += 1;
            let retry_in =
                backoff.filter(|_| error.is_retryable()).and_then(|backoff| backoff.delay(attempt_number));
            drop(self.events.send(Event::Disconnected { reason: error.clone(), retry_in }));
            let Some(delay) = retry_in else { return Err(error) };
            // Before MQTT 5 a clean session never outlives its connection; afterwards its expiry decides.
            let clean = self.options.clean_start && !self.options.version.is_v5();
            let again = async {
                tokio::time::sleep(delay).await;
                attempt(&self.endpoint, &self.options, &self.client_id, clean).await
            };
            tokio::select! {
                goodbye = self.goodbyes.recv() => {
                    if let Some(goodbye) = goodbye {
                        let _ = goodbye.done.send(());
                    }
                    return Err(Error::Closed);
                }
                outcome = again => match outcome {
                    Ok((link, connack)) => {
                        self.link = link;
                        let session_present = connack.session_present;
                        let resubscribed = self.session.connected(&connack);
                        self.state.set_connack(connack);
                        drop(self.events.send(Event::Connected { session_present, attempt: attempt_number }));
                        if resubscribed > 0 {
                            drop(self.events.send(Event::Resubscribed(resubscribed)));
                        }
                        return Ok(());
                    }
                    Err(failure) => error = failure,
                }
            }
        }
    }
}

/// One attempt to connect, from name lookup to CONNACK.
async fn attempt(
    endpoint: &Endpoint,
    options: &Options,
    client_id: &str,
    clean: bool,
) -> Result<(Link, ConnAck)> {
    let whole = async {
        let io = dial(endpoint, options).await?;
        let mut link = Link::new(io);
        let connack = link.shake_hands(endpoint, options, client_id, clean).await?;
        let keep_alive = connack.properties.server_keep_alive().unwrap_or(options.keep_alive);
        let patience = Duration::from_secs(keep_alive.into()).clamp(PATIENCE.0, PATIENCE.1);
        link.pings = PingSchedule::new(keep_alive, patience, Instant::now().into_std());
        link.set_timer();
        let granted = connack.properties.session_expiry_interval();
        let expiry = granted.or(options.properties.session_expiry_interval()).unwrap_or(0);
        link.session_expiry = SessionExpiry::from_interval(expiry);
        Ok((link, connack))
    };
    let after = options.connect_timeout;
    let late = || Error::Timeout { what: format!("the connection request to {endpoint}"), after };
    tokio::time::timeout(after, whole).await.unwrap_or_else(|_| Err(late()))
}

impl Link {
    fn new(io: Box<dyn Io>) -> Self {
        Self {
            io,
            input: vec![0; READ],
            filled: 0,
            pings: PingSchedule::new(0, Duration::ZERO, Instant::now().into_std()),
            timer: None,
            session_expiry: SessionExpiry::AtDisconnect,
            unflushed: false,
        }
    }

    /// Wakes the task when the schedule of pings has something to do.
    fn set_timer(&mut self) {
        let now = Instant::now();
        let due = match self.pings.poll(now.into_std()) {
            PingAction::Wait(due) => due.map(Instant::from_std),
            PingAction::SendPing | PingAction::TimedOut => Some(now),
        };
        match (&mut self.timer, due) {
            (Some(timer), Some(due)) => timer.as_mut().reset(due),
            (timer, due) => *timer = due.map(|due| Box::pin(tokio::time::sleep_until(due))),
        }
    }

    /// Whether a DISCONNECT may carry these properties: it cannot bring to life a session that was to end with the
    /// connection (§3.14.2.2.2).
    fn may_ask(&self, properties: &Properties) -> bool {
        let session_expiry = properties.session_expiry_interval();
        let properties = DisconnectProperties { session_expiry, ..DisconnectProperties::default() };
        let wanted = self.session_expiry.at_disconnect(&Disconnect { properties, ..Disconnect::default() });
        wanted.inspect_err(|error| tracing::warn!(%error, "left out")).is_ok()
    }

    async fn shake_hands(
        &mut self,
        endpoint: &Endpoint,
        options: &Options,
        client_id: &str,
        clean: bool,
    ) -> Result<ConnAck> {
        let lost = |source: io::Error| Error::Lost { url: endpoint.to_string(), source: Arc::new(source) };
        let authenticator = options.authenticator.as_deref();
        let first = authenticator.map(|authenticator| authenticator.start().map_err(Error::Invalid));
        let first = first.transpose()?.flatten();
        let auth = authenticator.map(|authenticator| (authenticator.method(), first.as_deref()));
        let mut out = Vec::with_capacity(256);
        wire::connect(options, client_id, clean, auth, &mut out)?;
        for _ in 0..AUTH_ROUNDS {
            self.io.write_all(&out).await.map_err(lost)?;
            self.io.flush().await.map_err(lost)?;
            out.clear();
            let size = loop {
                let received = self.input.get(..self.filled).unwrap_or(&[]);
                let decoded = decode(received, options.version, &Limits::protocol());
                if let Some((_, size)) = decoded.map_err(|error| Error::Protocol(error.to_string()))? {
                    break size;
                }
                poll_fn(|cx| self.poll_read(cx)).await.map_err(lost)?;
            };
            let received = self.input.get(..self.filled).unwrap_or(&[]);
            let decoded = decode(received, options.version, &Limits::protocol());
            let (packet, _) =
                decoded.ok().flatten().ok_or_else(|| Error::Protocol("unreadable answer".into()))?;
            let outcome = match (packet, authenticator) {
                (Packet::ConnAck(connack), _) => Some(accepted(&connack, endpoint, options, client_id)?),
                (Packet::Auth(auth), Some(authenticator)) => {
                    if auth.properties.authentication_method != Some(authenticator.method()) {
                        return Err(Error::Protocol("another authentication method than ours".into()));
                    }
                    let challenge = auth.properties.authentication_data.unwrap_or(&[]);
                    let answer = authenticator.challenge(challenge).map_err(Error::Protocol)?;
                    wire::auth(authenticator.method(), &answer, &mut out)?;
                    None
                }
                (other, _) => {
                    let text = format!("{:?} instead of CONNACK", other.packet_type());
                    return Err(Error::Protocol(text));
                }
            };
            self.discard(size);
            if let Some(connack) = outcome {
                return Ok(connack);
            }
        }
        Err(Error::Protocol("authentication does not come to an end".into()))
    }

    /// Writes what the session has to say. Ready when all of it is written and flushed.
    fn poll_write(&mut self, cx: &mut Context<'_>, session: &mut Session) -> Poll<io::Result<()>> {
        while !session.out.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &session.out)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => {
                    session.wrote(n);
                    self.pings.sent(Instant::now().into_std());
                    self.unflushed = true;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx)? {
                Poll::Ready(()) => self.unflushed = false,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the free part of the buffer, at least one byte.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.filled == self.input.len() {
            // A packet larger than the buffer; memory follows what has really arrived.
            self.input.resize(self.input.len() * 2, 0);
        }
        let mut free = ReadBuf::new(self.input.get_mut(self.filled..).unwrap_or(&mut []));
        match Pin::new(&mut self.io).poll_read(cx, &mut free)? {
            Poll::Ready(()) => match free.filled().len() {
                0 => Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the broker"))),
                n => {
                    self.filled += n;
                    Poll::Ready(Ok(()))
                }
            },
            Poll::Pending => Poll::Pending,
        }
    }

    /// Forgets the first `used` bytes of the buffer.
    fn discard(&mut self, used: usize) {
        if used == 0 {
            return;
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        if self.input.len() > READ && self.filled <= READ / 2 {
            self.input.truncate(READ);
            self.input.shrink_to_fit();
        }
    }
}

fn accepted(
    connack: &tercet_mqtt::ConnAck<'_>,
    endpoint: &Endpoint,
    options: &Options,
    client_id: &str,
) -> Result<ConnAck> {
    if connack.reason.is_error() {
        return Err(Error::Refused {
            url: endpoint.to_string(),
            code: connack.reason as u8,
            reason: connack.reason.name().into(),
            text: connack.properties.reason_string.map(Into::into),
        });
    }
    if let Some(authenticator) = &options.authenticator {
        let data = connack.properties.authentication_data.unwrap_or(&[]);
        authenticator.success(data).map_err(Error::Protocol)?;
    }
    let properties = wire::connack(&connack.properties);
    let client_id = properties.assigned_client_identifier().unwrap_or(client_id).to_owned();
    Ok(ConnAck { session_present: connack.session_present, client_id, properties })
}
