//! Single messages to the peer and their answers, as the layers above see them: free of transport and of security.

use std::sync::{Mutex, PoisonError};

use tercet_coap::option::Judgement;
use tercet_coap::{Number, Token, oscore};

use super::error::{Error, Result};
use super::link::{Capacity, Event, Exchange, Link};
use super::message::Message;
use super::oscore::Oscore;

/// The way to the peer.
pub(super) struct Channel {
    link: Link,
    oscore: Option<Oscore>,
}

impl Channel {
    pub(super) fn new(link: Link, oscore: Option<Oscore>) -> Self {
        Self { link, oscore }
    }

    /// Sends a message; what happens to it comes from what is returned, until that is dropped.
    pub(super) fn send(&self, message: Message, confirmable: bool, token: Option<Token>) -> Result<Pending> {
        let Some(oscore) = &self.oscore else {
            return Ok(Pending { exchange: self.link.send(message, confirmable, token), security: None });
        };
        let (protected, ties) = oscore.protect_request(&message)?;
        let exchange = self.link.send(protected, confirmable, token);
        Ok(Pending { exchange, security: Some((oscore.clone(), Mutex::new(ties))) })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.link.capacity()
    }
}

/// A message that was sent.
pub(super) struct Pending {
    exchange: Exchange,
    security: Option<(Oscore, Mutex<oscore::Exchange>)>,
}

impl Pending {
    pub(super) fn token(&self) -> &Token {
        self.exchange.token()
    }

    /// Resolves when the peer has the message, or its answer; that answer is lost.
    pub(super) async fn delivered(&self) -> Result<()> {
        match self.exchange.next().await {
            Event::Delivered | Event::Response(_) => Ok(()),
            Event::Failed(error) => Err(error),
        }
    }

    /// The next response; an observed resource gives several.
    pub(super) async fn response(&self) -> Result<Message> {
        loop {
            match self.exchange.next().await {
                Event::Delivered => {}
                Event::Failed(error) => return Err(error),
                Event::Response(message) => return understood(self.open(message)?),
            }
        }
    }

    /// What a response says that may be protected. To a protected request only a protected answer counts.
    fn open(&self, message: Message) -> Result<Message> {
        match &self.security {
            None => Ok(message),
            Some((oscore, ties)) if message.options().contains(Number::OSCORE) => {
                let mut ties = ties.lock().unwrap_or_else(PoisonError::into_inner);
                oscore.unprotect_response(&mut ties, &message)
            }
            Some(_) => {
                let text = String::from_utf8_lossy(&message.payload);
                Err(Error::Oscore(format!("the server answers without protection: {} {text}", message.code)))
            }
        }
    }
}

/// RFC 7252 §5.4.1: a response with a critical option that is not understood is rejected.
fn understood(message: Message) -> Result<Message> {
    match message.options().judge() {
        Judgement::Acceptable => Ok(message),
        Judgement::BadOption(number) => {
            Err(Error::Protocol(format!("a response with the critical {number:?}")))
        }
    }
}
