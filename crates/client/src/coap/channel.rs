//! Single messages to the peer and their answers, as the layers above see them: free of transport and of security.

use tercet_coap::Token;

use super::error::{Error, Result};
use super::link::{Capacity, Event, Exchange, Link};
use super::message::Message;

/// The way to the peer.
pub(super) struct Channel {
    link: Link,
}

impl Channel {
    pub(super) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Sends a message; what happens to it comes from what is returned, until that is dropped.
    pub(super) fn send(&self, message: Message, confirmable: bool, token: Option<Token>) -> Result<Pending> {
        Ok(Pending { exchange: self.link.send(message, confirmable, token) })
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
                Event::Response(message) => {
                    // RFC 7252 §5.4.1: a response with a critical option that is not understood is rejected.
                    return match message.options().judge() {
                        tercet_coap::option::Judgement::Acceptable => Ok(message),
                        tercet_coap::option::Judgement::BadOption(number) => {
                            Err(Error::Protocol(format!("a response with the critical {number:?}")))
                        }
                    };
                }
            }
        }
    }
}
