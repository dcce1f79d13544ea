//! The way of a protected request into the face.

use std::sync::Arc;

use tercet_coap::{Message, Token};

use super::security::Opened;
use crate::auth::{Identity, Proof};
use crate::coap::caller::Caller;
use crate::coap::node::{Node, Turn};
use crate::coap::outlet::{ProtectedReply, ReplyTo};

impl Node {
    /// Reads a protected request, and deals with what was inside as with any other.
    pub(crate) fn protected_request(
        &mut self,
        to: ReplyTo,
        message: &Message<'_>,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        // RFC 8613 has no groups, and what was inside is protected only once.
        if to.is_multicast() || to.protection().is_some() {
            return self.outlet.suppress(to);
        }
        let opened = turn.shared.coap.oscore.load().open(message);
        match opened {
            Ok(Opened::Request(inner, protection, user)) => {
                let caller = Caller {
                    identity: Identity::user(Arc::clone(&user), Proof::PreSharedKey),
                    client_id: user,
                    admitted: true,
                    ..caller.clone()
                };
                let to = ReplyTo::Protected(Box::new(ProtectedReply { to, protection }));
                self.request(to, inner.as_message(), &caller, turn);
            }
            Ok(Opened::Challenge(answer)) => self.outlet.respond_with(to, &answer),
            Err(error) => {
                // A token that was received is none that is too long.
                let token = Token::new(message.token).unwrap_or_default();
                self.outlet.respond_with(to, &error.response(&token));
            }
        }
    }
}
