//! Reading protected messages (RFC 8613 §8.2, §8.4).

use super::class::Class;
use super::context::{Context, Exchange, Id, Recipient};
use super::crypto::{self, Nonce};
use super::error::UnprotectError;
use super::header::Header;
use super::{SEQUENCE_END, crypto::TAG};
use crate::code::Code;
use crate::message::{Message, OwnedMessage, Token};
use crate::option::{Number, OptionBuf, Options};

/// A request that was read.
#[derive(Debug)]
pub enum Request {
    /// Deal with it; the exchange protects what is answered.
    Fresh(OwnedMessage, Exchange),
    /// It may be a replay of one from before the restart: send this back, protected already, and do no more.
    Challenge(OwnedMessage),
}

impl Context {
    /// Reads a request, whose sender is one that [`recipient`](Self::recipient) found. A request is taken once: after
    /// its duplicates have been dropped by the message layer, a second one is a replay.
    pub fn unprotect_request(&mut self, request: &Message<'_>) -> Result<Request, UnprotectError> {
        let header = header(request)?;
        let (Some(partial_iv), Some(kid)) = (header.partial_iv, header.kid) else {
            return Err(UnprotectError::Cose);
        };
        let recipient = self.recipient(&header).ok_or(UnprotectError::NoContext)?;
        let number = crypto::number(partial_iv);
        let state = self.recipients.get(recipient.0).ok_or(UnprotectError::NoContext)?;
        if number >= SEQUENCE_END || state.challenge.is_none() && !state.window.is_new(number) {
            return Err(UnprotectError::Replay);
        }
        let mut exchange = Exchange::new(recipient, Id::from_slice(kid), number);
        let nonce = exchange.nonce(&self.common_iv);
        let mut inner = self.open(request, recipient, &nonce, &exchange)?;
        if !inner.code.is_request() {
            return Err(UnprotectError::Decryption);
        }
        take_outer_observe(&mut inner, request.options);
        let Some(state) = self.recipients.get_mut(recipient.0) else { return Err(UnprotectError::NoContext) };
        match state.challenge {
            None => state.window.take(number),
            Some(echo) if inner.options.as_options().get(Number::ECHO) == Some(&echo) => {
                state.window.begin_at(number);
                state.challenge = None;
            }
            Some(echo) => return self.challenge(&mut exchange, echo, request.token).map(Request::Challenge),
        }
        Ok(Request::Fresh(inner, exchange))
    }

    /// 4.01 with an Echo. It must not use the nonce of a request that may be a replay.
    fn challenge(
        &mut self,
        exchange: &mut Exchange,
        echo: [u8; 8],
        token: &[u8],
    ) -> Result<OwnedMessage, UnprotectError> {
        exchange.is_nonce_free = false;
        let mut answer = OwnedMessage::new(Code::UNAUTHORIZED);
        answer.token = Token::of_message(token);
        answer.set(Number::ECHO, &echo);
        // Without a sequence number there is no answer.
        self.protect_response(exchange, &answer.as_message()).map_err(|_| UnprotectError::Replay)
    }

    /// Reads a response. Its Observe option, if any, has the lowest 24 bits of its sequence number. A notification that
    /// is not newer than the last one is a replay.
    pub fn unprotect_response(
        &self,
        exchange: &mut Exchange,
        response: &Message<'_>,
    ) -> Result<OwnedMessage, UnprotectError> {
        let header = header(response)?;
        let recipient = self.recipients.get(exchange.recipient.0).ok_or(UnprotectError::NoContext)?;
        if header.kid.is_some_and(|kid| kid != recipient.id.as_slice()) {
            return Err(UnprotectError::NoContext);
        }
        let number = header.partial_iv.map(crypto::number);
        let nonce = match number {
            Some(number) => crypto::nonce(&self.common_iv, &recipient.id, number),
            None => exchange.nonce(&self.common_iv),
        };
        let mut inner = self.open(response, exchange.recipient, &nonce, exchange)?;
        if !inner.code.is_response() {
            return Err(UnprotectError::Decryption);
        }
        if inner.options.as_options().contains(Number::OBSERVE) {
            match (number, exchange.notified) {
                (Some(number), Some(last)) if number <= last => return Err(UnprotectError::Replay),
                (None, Some(_)) => return Err(UnprotectError::Replay),
                _ => exchange.notified = number.or(Some(0)),
            }
            inner.set_uint(Number::OBSERVE, (number.unwrap_or_default() & 0xFF_FFFF) as u32);
        }
        Ok(inner)
    }

    fn open(
        &self,
        message: &Message<'_>,
        recipient: Recipient,
        nonce: &Nonce,
        exchange: &Exchange,
    ) -> Result<OwnedMessage, UnprotectError> {
        let state = self.recipients.get(recipient.0).ok_or(UnprotectError::NoContext)?;
        // The tag and a code at least.
        if message.payload.len() <= TAG {
            return Err(UnprotectError::Decryption);
        }
        let plaintext = state.cipher.decrypt(nonce, &exchange.aad(), message.payload)?;
        merge(message, &plaintext)
    }
}

fn header<'a>(message: &Message<'a>) -> Result<Header<'a>, UnprotectError> {
    Header::decode(message.options.get(Number::OSCORE).ok_or(UnprotectError::Cose)?)
}

/// The original message: what was inside, and of what is outside those options that belong there.
fn merge(outer: &Message<'_>, plaintext: &[u8]) -> Result<OwnedMessage, UnprotectError> {
    let (&code, rest) = plaintext.split_first().ok_or(UnprotectError::Decryption)?;
    let (inner, payload) = Options::split(rest).map_err(|_| UnprotectError::Decryption)?;
    if payload == Some(&[]) || inner.contains(Number::OSCORE) {
        return Err(UnprotectError::Decryption);
    }
    let mut options = OptionBuf::new();
    for (number, value) in outer.options {
        if Class::of(number) == Class::Outer {
            options.add(number, value);
        }
    }
    for (number, value) in inner {
        if Class::of(number) == Class::Encrypted {
            options.add(number, value);
        }
    }
    let mut message = OwnedMessage::new(Code(code));
    message.token = Token::of_message(outer.token);
    message.options = options;
    message.payload = payload.unwrap_or_default().to_vec();
    Ok(message)
}

/// RFC 8613 §4.1.3.5.1: a request observes if it does so inside and outside; a proxy may have taken it off outside.
fn take_outer_observe(inner: &mut OwnedMessage, outer: Options<'_>) {
    if !outer.contains(Number::OBSERVE) {
        inner.remove(Number::OBSERVE);
    }
}
