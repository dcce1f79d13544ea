//! From the protocol header to connection.open-ok.
//!
//! Nobody is trusted yet: frames are at most 8 KiB, there is one time limit for all of it, and who fails waits three seconds
//! before the stream is closed, so that guessing passwords over one connection after the other is slow. What a client did
//! wrong is told only where that helps it: a protocol version, credentials (if it says that it understands that),
//! parameters that were not offered, a virtual host.

use tercet_amqp::field::{Table, TableBuf, Value};
use tercet_amqp::method::connection::{Open, OpenOk, Start, StartOk, TuneOk};
use tercet_amqp::state::{Connection as Protocol, Role};
use tercet_amqp::{Method, Opening, PROTOCOL_HEADER, Tuning};

use crate::amqp::connection::{AmqpConnection, Stage};
use crate::amqp::content::put;
use crate::amqp::fault::Fault;
use crate::amqp::session::Session;
use crate::auth::{CertifiedUser, Identity, PeerOrigin, SaslOffer, Verdict, login_refused};
use crate::config::CertificateUser;
use crate::logging::CONNECTIONS;
use crate::reactor::face::{FaceContext, Step};
use crate::reactor::inbox::Command;

/// A client that is being let in.
pub(super) struct Handshake {
    offer: SaslOffer,
    /// The mechanism that it has chosen.
    mechanism: Box<str>,
    /// What it says of itself, encoded.
    pub(super) client: TableBuf,
    pub(super) capabilities: Capabilities,
    identity: Option<Identity>,
    tuning: Tuning,
}

/// What a client says that it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// connection.close after wrong credentials.
    pub(super) authentication_failure_close: bool,
    /// basic.cancel from the server.
    pub(super) consumer_cancel_notify: bool,
    /// connection.blocked and unblocked.
    pub(super) blocked: bool,
}

impl Capabilities {
    fn of(client: Table<'_>) -> Self {
        let Some(Value::Table(named)) = client.get("capabilities") else { return Self::default() };
        let has = |name: &str| named.get(name) == Some(Value::Bool(true));
        Self {
            authentication_failure_close: has("authentication_failure_close"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            blocked: has("connection.blocked"),
        }
    }
}

/// What the server says that it can.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

impl AmqpConnection {
    /// The protocol header. `None` while it is not complete.
    pub(super) fn opening(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Option<(usize, Step)> {
        let what = match Opening::parse(input) {
            Opening::Incomplete => return None,
            Opening::Accepted => {
                self.start(out, cx);
                return Some((PROTOCOL_HEADER.len(), Step::Continue));
            }
            Opening::OtherVersion => "a version of AMQP other than 0-9-1",
            Opening::Tls => "TLS, on a listener without it",
            Opening::Http => "HTTP",
            Opening::Unknown => "something other than AMQP",
        };
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(), what,
            "connection closed: the client speaks another protocol");
        out.extend_from_slice(&PROTOCOL_HEADER);
        self.stage = Stage::Over;
        Some((input.len(), Step::Close))
    }

    fn start(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) {
        let offer = SaslOffer {
            certificate: match self.settings.certificate_user {
                CertificateUser::Off => CertifiedUser::NotUsed,
                part => {
                    let identity = cx.transport.tls_info().and_then(|info| info.identity);
                    CertifiedUser::choose(part, identity.as_ref())
                }
            },
            peer: PeerOrigin::of(cx.transport.peer()),
            anonymous: self.settings.anonymous,
        };
        let mechanisms = cx.shared.authenticator.sasl_mechanisms(&offer);
        let mechanisms = mechanisms.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(" ");
        let properties = self.server_properties();
        let start = Start {
            version_major: 0,
            version_minor: 9,
            server_properties: properties.as_table(),
            mechanisms: mechanisms.as_bytes(),
            locales: b"en_US",
        };
        put(&start.into(), 0, out);
        self.protocol = Protocol::new(Role::Server);
        self.stage = Stage::Handshake(Box::new(Handshake {
            offer,
            mechanism: Box::default(),
            client: TableBuf::new(),
            capabilities: Capabilities::default(),
            identity: None,
            tuning: self.settings.amqp.tuning,
        }));
    }

    fn server_properties(&self) -> TableBuf {
        let amqp = &self.settings.amqp;
        let (mut capabilities, mut properties) = (TableBuf::new(), TableBuf::new());
        // Names and values of ours fit their lengths; those of the configuration are checked there.
        for name in CAPABILITIES {
            let _ = capabilities.put(name, true);
        }
        let _ = properties.put("capabilities", capabilities.as_table());
        for (name, value) in [
            ("cluster_name", "tercet"),
            ("copyright", "The Tercet contributors"),
            ("information", "Licensed under MIT or Apache-2.0"),
            ("platform", "Rust"),
            ("product", &amqp.product),
            ("version", &amqp.version),
        ] {
            let _ = properties.put(name, value);
        }
        properties
    }

    /// A method of channel 0 before the connection is open; the protocol's state has judged it.
    pub(super) fn handshake(
        &mut self,
        method: &Method<'_>,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        match method {
            Method::ConnectionStartOk(start_ok) => self.authenticate(start_ok, out, cx),
            Method::ConnectionTuneOk(tune_ok) => self.tuned(tune_ok, out, cx),
            Method::ConnectionOpen(open) => self.open(open, out, cx),
            _ => Step::Continue,
        }
    }

    fn authenticate(&mut self, start_ok: &StartOk<'_>, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let Stage::Handshake(handshake) = &mut self.stage else { return Step::Close };
        handshake.client = start_ok.client_properties.into();
        handshake.capabilities = Capabilities::of(start_ok.client_properties);
        handshake.mechanism = start_ok.mechanism.into();
        let inbox = cx.shared.reactors.get(usize::from(cx.connection.reactor)).cloned();
        let connection = cx.connection;
        let begun = cx.shared.authenticator.begin_sasl(
            start_ok.mechanism,
            start_ok.response,
            &handshake.offer,
            move |verdict| {
                if let Some(inbox) = inbox {
                    inbox.send(Command::Verdict(connection, verdict));
                }
            },
        );
        let verdict = match begun {
            Ok(verdict) => verdict,
            Err(refusal) => return self.refuse(&refusal.text, cx),
        };
        match verdict {
            Some(verdict) => self.decided(verdict, out, cx),
            None => Step::Hold,
        }
    }

    /// The authenticator has decided.
    pub fn decided(&mut self, verdict: Verdict, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        match verdict {
            Verdict::Granted(identity) => self.admit(identity, out),
            Verdict::Denied(_) | Verdict::Busy => self.denied(out, cx),
        }
    }

    fn admit(&mut self, identity: Identity, out: &mut Vec<u8>) -> Step {
        let Stage::Handshake(handshake) = &mut self.stage else { return Step::Continue };
        handshake.identity = Some(identity);
        let tune = handshake.tuning.offer().into();
        self.protocol.sent(&tune);
        put(&tune, 0, out);
        Step::Continue
    }

    /// Wrong credentials.
    fn denied(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let Stage::Handshake(handshake) = &self.stage else { return Step::Close };
        cx.effects.counters.connects_refused += 1;
        if handshake.capabilities.authentication_failure_close {
            let refusal = login_refused(&handshake.mechanism);
            let fault = Fault::of_connection(refusal.code, refusal.text);
            put(&fault.connection_close().into(), 0, out);
        }
        self.refuse("wrong credentials, or this user may not connect from there", cx)
    }

    /// Takes no notice of the client any more, and closes the stream later.
    pub(super) fn refuse(&mut self, why: &str, cx: &mut FaceContext<'_>) -> Step {
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(), why,
            "connection refused");
        self.enter(Stage::Refused, cx.now.monotonic);
        Step::Continue
    }

    fn tuned(&mut self, tune_ok: &TuneOk, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let Stage::Handshake(handshake) = &mut self.stage else { return Step::Close };
        match handshake.tuning.accept(tune_ok) {
            Ok(tuning) => {
                handshake.tuning = tuning;
                self.limits = self.settings.amqp.limits(&tuning);
                Step::Continue
            }
            Err(error) => self.close(&error.into(), out, cx),
        }
    }

    fn open(&mut self, open: &Open<'_>, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let Stage::Handshake(handshake) = &mut self.stage else { return Step::Close };
        let Some(identity) = handshake.identity.clone() else { return Step::Close };
        let tuning = handshake.tuning;
        let client = std::mem::take(&mut handshake.client);
        let capabilities = handshake.capabilities;
        let Some(user) = identity.name().cloned() else { return Step::Close };
        let session =
            match Session::begin(open.virtual_host, user, client, tuning, capabilities, &self.settings, cx) {
                Ok(session) => session,
                Err(refusal) => {
                    let fault = Fault::refused(&refusal, 0, Open::ID);
                    return self.close(&fault, out, cx);
                }
            };
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
            user = %session.parent.actor.user, vhost = %session.parent.actor.vhost, heartbeat = tuning.heartbeat,
            "AMQP connection open");
        let open_ok = OpenOk::default().into();
        self.protocol.sent(&open_ok);
        put(&open_ok, 0, out);
        self.running(session, tuning.heartbeat, cx);
        Step::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_that_are_true() {
        let (mut capabilities, mut client) = (TableBuf::new(), TableBuf::new());
        capabilities.put("connection.blocked", true).unwrap();
        capabilities.put("consumer_cancel_notify", false).unwrap();
        capabilities.put("authentication_failure_close", 1).unwrap();
        client.put("capabilities", capabilities.as_table()).unwrap();
        let expected = Capabilities { blocked: true, ..Capabilities::default() };
        assert_eq!(Capabilities::of(client.as_table()), expected);
        assert_eq!(Capabilities::of(Table::default()), Capabilities::default());
    }
}
