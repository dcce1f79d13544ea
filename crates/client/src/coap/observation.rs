//! Observing a resource (RFC 7641): a stream that keeps itself alive.
//!
//! A task of its own registers, puts notifications into order, fetches the blocks that do not fit, and registers again
//! when nothing came for the time that a representation is fresh, when the connection was lost, or when the server says
//! that the relation is over by falling silent. When the stream is dropped it deregisters.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tercet_coap::observe::is_newer;
use tercet_coap::{Code, Number, Token};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::channel::Pending;
use super::client::Client;
use super::error::{Error, Result};
use super::inbox::{self, Receiver, Sender};
use super::message::Message;
use super::request::Manner;
use super::response::Response;

/// States that wait to be read; the oldest is forgotten for a newer one.
const STATES: usize = 16;
/// Waited beyond Max-Age before the registration is renewed, so that a notification in time is not missed.
const GRACE: Duration = Duration::from_secs(2);
/// The shortest wait before a registration is renewed, however short Max-Age is.
const SHORTEST: Duration = Duration::from_secs(5);
/// How long to wait for the answer to a deregistration.
const FAREWELL: Duration = Duration::from_secs(5);

/// The states of a resource, from the present one on, as a [`Stream`]; the newest if the reader is slow.
///
/// An error of the server ends it: it is the last item. Losing the connection does not. Dropping it deregisters.
pub struct Observation {
    states: Receiver<Result<Response>>,
    ended: bool,
    notifies: bool,
    task: JoinHandle<()>,
}

impl Observation {
    /// Registers in the caller's time, then hands over to a task.
    pub(super) async fn start(client: Client, request: Message, manner: Manner) -> Result<Self> {
        let (sender, states) = inbox::inbox(STATES);
        let mut observer = Observer {
            start: Instant::now(),
            client,
            request,
            manner,
            states: sender,
            last: None,
            etag: None,
            max_age: Duration::ZERO,
        };
        let (pending, notifies) = observer.register(None).await?;
        let task = tokio::spawn(observer.run(pending, notifies));
        Ok(Self { states, ended: false, notifies, task })
    }

    /// Whether the server agreed to notify. One that does not is asked again whenever its answer is no longer fresh.
    pub fn is_notified(&self) -> bool {
        self.notifies
    }

    /// Deregisters as dropping does, and waits until the server has answered; at most 5 s.
    pub async fn cancel(self) {
        let Self { states, task, .. } = self;
        drop(states);
        // It ends by itself, and a panic there has nothing to say here.
        let _ = task.await;
    }

    /// The next state; `None` after the error that ended it.
    pub async fn next(&mut self) -> Option<Result<Response>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Observation {
    type Item = Result<Response>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.states.poll_next(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.ended = true;
        }
        polled
    }
}

struct Observer {
    /// What arrivals are told by.
    start: Instant,
    client: Client,
    /// Without Observe.
    request: Message,
    manner: Manner,
    states: Sender<Result<Response>>,
    /// Number and arrival of the newest notification.
    last: Option<(u32, Duration)>,
    /// Of the newest representation: a server that still has it need not send it again.
    etag: Option<Vec<u8>>,
    /// How long the newest representation stays fresh.
    max_age: Duration,
}

/// What woke the observer.
enum Wake {
    Notified(Result<Message>),
    /// The representation is no longer fresh.
    Stale,
    /// Nobody reads.
    Dropped,
}

impl Observer {
    /// Registers, with the token of an earlier registration if there was one; the state at that moment goes to the
    /// reader. Tells whether the server will notify.
    async fn register(&mut self, token: Option<Token>) -> Result<(Pending, bool)> {
        let mut message = self.request.clone();
        message.options.set_uint(Number::OBSERVE, 0);
        if let Some(etag) = &self.etag {
            message.options.add(Number::ETAG, etag);
        }
        let mut token = token.or_else(|| self.manner.token.clone());
        for _ in 0..3 {
            let pending =
                self.client.channel().send(message.clone(), self.manner.confirmable, token.take())?;
            let first = match timeout(self.manner.timeout, pending.response()).await {
                Ok(first) => first?,
                Err(_) => {
                    let what = "the request to observe".into();
                    return Err(Error::Timeout { what, after: self.manner.timeout });
                }
            };
            if let (Code::UNAUTHORIZED, Some(echo)) = (first.code, first.options().get(Number::ECHO)) {
                message.options.set(Number::ECHO, echo);
                continue;
            }
            // A new registration begins with a new order.
            self.last = None;
            let notifies = first.options().contains(Number::OBSERVE);
            self.take(first).await?;
            return Ok((pending, notifies));
        }
        Err(Error::Protocol("the server does not accept its own Echo".into()))
    }

    async fn run(mut self, mut pending: Pending, mut notifies: bool) {
        loop {
            let wake = self.wait(&pending).await;
            let error = match wake {
                Wake::Dropped => return self.deregister(pending, notifies).await,
                Wake::Notified(Ok(message)) => match self.notified(message).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Wake::Notified(Err(error)) => error,
                Wake::Stale => {
                    // The same token, so that a server that still notifies replaces the relation (RFC 7641 §3.3.1).
                    let token = pending.token().clone();
                    drop(pending);
                    match self.register(Some(token)).await {
                        Ok(renewed) => {
                            (pending, notifies) = renewed;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
            };
            match self.come_back(error).await {
                Some(renewed) => (pending, notifies) = renewed,
                None => return,
            }
        }
    }

    async fn wait(&self, pending: &Pending) -> Wake {
        let fresh = self.fresh();
        tokio::select! {
            message = pending.response() => Wake::Notified(message),
            () = sleep(fresh) => Wake::Stale,
            () = self.states.closed() => Wake::Dropped,
        }
    }

    /// Registers anew after a failure that passes, however often it takes; `None` when it is over.
    async fn come_back(&mut self, error: Error) -> Option<(Pending, bool)> {
        let mut error = error;
        let mut failures = 0;
        loop {
            failures += 1;
            let patience = self.client.settings().reconnect.delay(failures);
            let wait = match (passes(&error), patience) {
                (true, Some(wait)) => wait.max(error.retry_after().unwrap_or_default()),
                _ => {
                    self.states.push(Err(error));
                    return None;
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.states.closed() => return None,
            }
            match self.register(None).await {
                Ok(renewed) => return Some(renewed),
                Err(again) => error = again,
            }
        }
    }

    /// A notification: the reader gets it unless it is older than what is known.
    async fn notified(&mut self, message: Message) -> Result<()> {
        if let Some(number) = message.options().uint(Number::OBSERVE) {
            let now = self.start.elapsed();
            let newer = self.last.is_none_or(|last| is_newer(last, (number, now)));
            if !newer {
                return Ok(());
            }
            self.last = Some((number, now));
        }
        self.take(message).await
    }

    /// Completes a state and gives it to the reader.
    async fn take(&mut self, first: Message) -> Result<()> {
        if let Some(number) = first.options().uint(Number::OBSERVE) {
            self.last = Some((number, self.start.elapsed()));
        }
        let whole = self.client.transfer(&self.manner).complete(&self.request, first).await?;
        let response = Response::new(whole, self.client.peer());
        if !response.is_success() {
            return Err(Error::Answer(Box::new(response)));
        }
        self.max_age = response.max_age();
        if response.code() != Code::VALID {
            self.etag = response.etag().map(<[u8]>::to_vec);
            self.states.push(Ok(response));
        }
        Ok(())
    }

    /// How long to wait for a notification.
    fn fresh(&self) -> Duration {
        (self.max_age + GRACE).max(SHORTEST)
    }

    /// GET with Observe 1 and the token of the registration (RFC 7641 §3.6).
    async fn deregister(self, pending: Pending, notifies: bool) {
        if !notifies {
            return;
        }
        let mut message = self.request;
        message.options.set_uint(Number::OBSERVE, 1);
        let token = pending.token().clone();
        drop(pending);
        if let Ok(farewell) = self.client.channel().send(message, self.manner.confirmable, Some(token)) {
            // A server that does not answer will find out by itself.
            let _ = timeout(FAREWELL, farewell.response()).await;
        }
    }
}

/// Whether a failure is one of the way to the server, or of its load.
fn passes(error: &Error) -> bool {
    error.is_retryable() || matches!(error, Error::Reset(_))
}
