//! Credentials in the query of a request: `clientid`, `username` and `password`, or `clientid` and `token`.
//!
//! They are there for devices that bring them already; whoever can uses DTLS or OSCORE. Hashing is left to the authenticator's
//! threads; logins that were seen before are not hashed again.

use std::sync::Arc;

use tercet_coap::Code;
use tercet_scram::Secret;

use super::asked::Query;
use super::topic_data::unavailable;
use super::{Call, serve};
use crate::auth::{AnonymousPolicy, AuthRequest, CertifiedUser, Identity, Verdict};
use crate::coap::answer::{Answer, Later};
use crate::coap::caller::Caller;
use crate::coap::context::{CoapContext, Outcome};
use crate::coap::request::Request;
use crate::coap::response::Response;

impl Query<'_> {
    /// Whether the query says who asks.
    pub(super) fn has_credentials(&self) -> bool {
        self.client_id.is_some() || self.user.is_some() || self.password.is_some() || self.token.is_some()
    }
}

/// Serves a request as whoever its query says it comes from.
pub(super) fn serve_as_claimed(call: &Call<'_>, cx: &mut CoapContext<'_>) -> Answer {
    let query = &call.asked.query;
    let client_id = query.client_id.unwrap_or(&call.caller.client_id);
    if let Some(token) = query.token {
        return match cx.shared.coap.resources.connections.find(client_id, token, cx.now.monotonic) {
            Some((client_id, identity)) => serve_as(call, identity, client_id, cx),
            None => unauthorized("the connection is not known"),
        };
    }
    if query.user.is_none() && query.password.is_none() {
        return match call.caller.admitted {
            true => serve_as(call, call.caller.identity.clone(), client_id.into(), cx),
            false => unauthorized("clients without credentials are not served"),
        };
    }
    let ticket = cx.ticket();
    let shared = Arc::clone(cx.shared);
    let verdict = cx.shared.authenticator.begin(request(call), move |verdict| {
        ticket.answer(&shared, Outcome::Verdict(verdict));
    });
    if let Some(verdict) = verdict {
        return decided(call, verdict, client_id.into(), cx);
    }
    let (caller, client_id, since) = (call.caller.clone(), Arc::from(client_id), call.since);
    let then = move |outcome: Outcome, request: &Request<'_>, cx: &mut CoapContext<'_>| {
        let Outcome::Verdict(verdict) = outcome else {
            return unavailable("nobody checked the password in time");
        };
        match Call::new(request, &caller, since) {
            Ok(call) => decided(&call, verdict, client_id, cx),
            Err(response) => response.into(),
        }
    };
    Answer::Later(Later { ticket, then: Box::new(then) })
}

fn request(call: &Call<'_>) -> AuthRequest {
    let query = &call.asked.query;
    AuthRequest {
        user: query.user.map(Into::into),
        password: query.password.map(Secret::from),
        peer: call.caller.origin(),
        certificate: CertifiedUser::NotUsed,
        // Where no users are configured, names and passwords mean nothing.
        anonymous: if call.caller.admitted { AnonymousPolicy::Allow } else { AnonymousPolicy::Deny },
    }
}

fn decided(call: &Call<'_>, verdict: Verdict, client_id: Arc<str>, cx: &mut CoapContext<'_>) -> Answer {
    match verdict {
        Verdict::Granted(identity) => serve_as(call, identity, client_id, cx),
        Verdict::Denied(_) => unauthorized("user name or password is wrong, or not accepted here"),
        Verdict::Busy => unavailable("too many passwords wait to be checked"),
    }
}

fn serve_as(call: &Call<'_>, identity: Identity, client_id: Arc<str>, cx: &mut CoapContext<'_>) -> Answer {
    let caller = Caller { identity, client_id, admitted: true, ..call.caller.clone() };
    match Call::new(call.request, &caller, call.since) {
        Ok(call) => serve(&call, cx),
        Err(response) => response.into(),
    }
}

fn unauthorized(reason: &'static str) -> Answer {
    Response::diagnostic(Code::UNAUTHORIZED, reason).into()
}
