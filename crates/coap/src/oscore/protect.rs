//! Protecting messages (RFC 8613 §8.1, §8.3).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::class::Class;
use super::context::{Context, Exchange, Recipient};
use super::crypto::{self, Nonce};
use super::error::ProtectError;
use super::header::Header;
use crate::code::Code;
use crate::message::{Message, OwnedMessage, Token};
use crate::option::wire::PAYLOAD_MARKER;
use crate::option::{Number, OptionBuf, Options};
use crate::uri::{Host, Uri};

impl Context {
    /// Protects a request to the first recipient of the context.
    pub fn protect_request(
        &mut self,
        request: &Message<'_>,
    ) -> Result<(OwnedMessage, Exchange), ProtectError> {
        let options = without_proxy_uri(request.options)?;
        let options = options.as_ref().map_or(request.options, OptionBuf::as_options);
        let sealed = Parts::split(request.code, options, request.payload, options.get(Number::OBSERVE))?;
        let number = self.sequence.take()?;
        let exchange = Exchange::new(Recipient(0), self.sender_id.clone(), number);
        let partial_iv = crypto::partial_iv(number);
        let header = Header {
            partial_iv: Some(&partial_iv),
            kid_context: self.id_context.as_deref(),
            kid: Some(&self.sender_id),
        };
        // RFC 8613 §4.2: with Observe, so that proxies let notifications through.
        let code = if sealed.observes { Code::FETCH } else { Code::POST };
        let nonce = exchange.nonce(&self.common_iv);
        let message = self.seal(sealed, code, request.token, &header, &nonce, &exchange.aad())?;
        Ok((message, exchange))
    }

    /// Protects a response. The first one of an exchange that is no notification uses the nonce of the request, any
    /// other a sequence number.
    pub fn protect_response(
        &mut self,
        exchange: &mut Exchange,
        response: &Message<'_>,
    ) -> Result<OwnedMessage, ProtectError> {
        // RFC 8613 §4.1.3.5: inside it is only there, outside it is a number for proxies.
        let is_notification = response.options.contains(Number::OBSERVE);
        let sealed =
            Parts::split(response.code, response.options, response.payload, is_notification.then_some(&[]))?;
        let code = if is_notification { Code::CONTENT } else { Code::CHANGED };
        if exchange.is_nonce_free && !is_notification {
            let nonce = exchange.nonce(&self.common_iv);
            let message =
                self.seal(sealed, code, response.token, &Header::default(), &nonce, &exchange.aad())?;
            exchange.is_nonce_free = false;
            return Ok(message);
        }
        let number = self.sequence.take()?;
        exchange.is_nonce_free = false;
        let partial_iv = crypto::partial_iv(number);
        let header = Header { partial_iv: Some(&partial_iv), ..Header::default() };
        let nonce = crypto::nonce(&self.common_iv, &self.sender_id, number);
        self.seal(sealed, code, response.token, &header, &nonce, &exchange.aad())
    }

    fn seal(
        &self,
        parts: Parts,
        code: Code,
        token: &[u8],
        header: &Header<'_>,
        nonce: &Nonce,
        aad: &[u8],
    ) -> Result<OwnedMessage, ProtectError> {
        let mut value = Vec::new();
        header.encode(&mut value);
        let mut message = OwnedMessage::new(code);
        message.token = Token::of_message(token);
        message.options = parts.outer;
        message.set(Number::OSCORE, &value);
        message.payload = self.sender.encrypt(nonce, aad, &parts.plaintext)?;
        Ok(message)
    }
}

/// A message taken apart.
struct Parts {
    outer: OptionBuf,
    /// Code, inner options and payload.
    plaintext: Vec<u8>,
    observes: bool,
}

impl Parts {
    /// `inner_observe` is what the Observe option says inside.
    fn split(
        code: Code,
        options: Options<'_>,
        payload: &[u8],
        inner_observe: Option<&[u8]>,
    ) -> Result<Self, ProtectError> {
        let (mut outer, mut inner) = (OptionBuf::new(), OptionBuf::new());
        for (number, value) in options {
            match Class::of(number) {
                Class::Oscore => return Err(ProtectError::Message),
                Class::Outer => {
                    outer.add(number, value);
                }
                Class::Encrypted if number == Number::OBSERVE => {
                    if let Some(inner_value) = inner_observe {
                        inner.set(number, inner_value);
                        outer.set(number, value);
                    }
                }
                Class::Encrypted => {
                    inner.add(number, value);
                }
            }
        }
        let mut plaintext = alloc::vec![code.0];
        plaintext.extend_from_slice(inner.as_options().as_bytes());
        if !payload.is_empty() {
            plaintext.push(PAYLOAD_MARKER);
            plaintext.extend_from_slice(payload);
        }
        Ok(Self { outer, plaintext, observes: inner_observe.is_some() })
    }
}

/// RFC 8613 §4.1.3.3: of a Proxy-Uri, only scheme, host and port may be seen by the proxy.
fn without_proxy_uri(options: Options<'_>) -> Result<Option<OptionBuf>, ProtectError> {
    let Some(uri) = options.text(Number::PROXY_URI) else { return Ok(None) };
    let uri: Uri = uri.parse().map_err(|_| ProtectError::Message)?;
    let mut split = OptionBuf::from_options(options);
    for number in [Number::PROXY_URI, Number::URI_HOST, Number::URI_PORT, Number::URI_PATH, Number::URI_QUERY]
    {
        split.remove(number);
    }
    uri.add_to(&mut split);
    let host: Cow<'_, str> = match &uri.host {
        Host::Name(name) => name.into(),
        address => alloc::string::ToString::to_string(address).into(),
    };
    split.set(Number::URI_HOST, host.as_bytes()).set(Number::PROXY_SCHEME, uri.scheme.as_str().as_bytes());
    if let Some(port) = uri.port {
        split.set_uint(Number::URI_PORT, port.into());
    }
    Ok(Some(split))
}
