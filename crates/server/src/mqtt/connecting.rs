//! CONNECT, authentication and CONNACK.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tercet_broker::access::{ConnectionPermit, DEFAULT_VHOST};
use tercet_broker::filter::is_own_topic;
use tercet_broker::journal::Admission;
use tercet_broker::message::PropertyEncoding;
use tercet_broker::vhost::connection::{Connect as CoreConnect, NoSession};
use tercet_broker::will::Will as CoreWill;
use tercet_mqtt::property::{AuthProperties, ConnAckProperties};
use tercet_mqtt::{
    Auth, ConnAck, Connect, ErrorKind, Packet, PacketType, QoS, ReasonCode, Version, Will, decode,
};

use crate::auth::{
    AuthRequest, CertifiedUser, Denial, EnhancedAuth, EnhancedRefusal, Identity, PeerOrigin, Secret,
    Step as ExchangeStep, Verdict,
};
use crate::config::CertificateUser as NamePart;
use crate::logging::CONNECTIONS;
use crate::mqtt::connection::{Client, Confirming, End, MqttConnection, State, answer};
use crate::mqtt::outbox::{MqttOutbox, to_core};
use crate::mqtt::publishing::{Inflow, will_properties};
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::{FaceContext, Step};
use crate::reactor::inbox::Command;

/// A CONNECT whose client is being authenticated: what will be needed if it is let in.
pub(super) struct PendingConnect {
    version: Version,
    clean_start: bool,
    keep_alive: u16,
    client_id: Arc<str>,
    assigned: bool,
    will: Option<Box<CoreWill>>,
    session_expiry: u32,
    receive_maximum: u16,
    maximum_packet_size: Option<u32>,
    topic_alias_maximum: u16,
    wants_response_information: bool,
    method: Option<Box<str>>,
    exchange: Option<Box<dyn EnhancedAuth>>,
}

impl MqttConnection {
    /// The next packet of a connection whose client is not connected yet.
    pub(super) fn next_before_connected(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<Option<(usize, Step)>, End> {
        match &mut self.state {
            State::Fresh => self.first_packet(input, out, cx),
            State::Authenticating(pending) if pending.exchange.is_some() => {
                let decoded = decode(input, Version::V5, &self.settings.connect_limits);
                match decoded {
                    Ok(None) => Ok(None),
                    Ok(Some((Packet::Auth(auth), used)))
                        if auth.reason == ReasonCode::ContinueAuthentication
                            && auth.properties.authentication_method == pending.method.as_deref() =>
                    {
                        let data = auth.properties.authentication_data.unwrap_or_default();
                        Ok(Some((used, self.exchange(data, out, cx))))
                    }
                    Ok(Some((Packet::Disconnect(_), used))) => Ok(Some((used, Step::Close))),
                    // Nothing else may come before CONNACK [MQTT-3.1.2-30].
                    Ok(Some((_, used))) => {
                        Ok(Some((used, self.refuse(Version::V5, ReasonCode::ProtocolError, out, cx))))
                    }
                    Err(error) => Ok(Some((input.len(), self.refuse(Version::V5, error.reason, out, cx)))),
                }
            }
            // The verdict is under way; the input waits.
            _ => Ok(Some((0, Step::Hold))),
        }
    }

    fn first_packet(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<Option<(usize, Step)>, End> {
        // The first packet has to be a CONNECT [MQTT-3.1.0-1]; the first byte tells.
        let is_connect = input.first().is_some_and(|byte| byte >> 4 == PacketType::Connect as u8);
        if !is_connect {
            return Err(End::Fault(ReasonCode::ProtocolError, "MQTT-3.1.0-1"));
        }
        match decode(input, Version::V5, &self.settings.connect_limits) {
            Ok(None) => Ok(None),
            Ok(Some((Packet::Connect(connect), used))) => Ok(Some((used, self.connect(&connect, out, cx)))),
            Ok(Some(_)) => Err(End::Fault(ReasonCode::ProtocolError, "MQTT-3.1.0-1")),
            Err(error) => {
                let worth_telling = matches!(
                    error.kind,
                    ErrorKind::UnsupportedProtocolName | ErrorKind::UnsupportedProtocolLevel(_)
                ) || error.reason == ReasonCode::ClientIdentifierNotValid;
                if let Some(version) = error.connect
                    && (version == Version::V5 || worth_telling)
                {
                    answer(&Packet::ConnAck(ConnAck::refusal(error.reason)), version, out);
                }
                Err(error.into())
            }
        }
    }

    fn connect(&mut self, connect: &Connect<'_>, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let settings = Arc::clone(&self.settings);
        if let Some((reference, permanent)) = &settings.redirect {
            return self.redirect(connect.version, reference, *permanent, out, cx);
        }
        if let Err(reason) = acceptable(connect, &settings) {
            return self.refuse(connect.version, reason, out, cx);
        }
        let Some(pending) = PendingConnect::new(connect, &settings) else {
            return self.refuse(connect.version, ReasonCode::ServerUnavailable, out, cx);
        };
        let peer = PeerOrigin::of(cx.transport.peer());
        if let Some(method) = connect.properties.authentication_method {
            return self.start_exchange(pending, method, connect, peer, out, cx);
        }
        let request = AuthRequest {
            user: connect.username.map(Box::from),
            password: connect.password.map(|password| Secret::new(password.to_vec())),
            peer,
            certificate: certificate_user(cx, &settings),
            anonymous: settings.anonymous,
        };
        let inbox = cx.shared.reactors.get(usize::from(cx.connection.reactor)).cloned();
        let connection = cx.connection;
        let verdict = cx.shared.authenticator.begin(request, move |verdict| {
            if let Some(inbox) = inbox {
                inbox.send(Command::Verdict(connection, verdict));
            }
        });
        match verdict {
            Some(verdict) => self.admit(pending, verdict, &[], out, cx),
            None => {
                self.state = State::Authenticating(Box::new(pending));
                Step::Hold
            }
        }
    }

    fn start_exchange(
        &mut self,
        mut pending: PendingConnect,
        method: &str,
        connect: &Connect<'_>,
        peer: PeerOrigin,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        let started = match self.settings.features.scram {
            true => cx.shared.authenticator.start_enhanced(method, peer, None),
            false => Err(EnhancedRefusal::BadMethod),
        };
        match started {
            Ok(exchange) => {
                pending.method = Some(method.into());
                pending.exchange = Some(exchange);
                self.state = State::Authenticating(Box::new(pending));
                self.exchange(connect.properties.authentication_data.unwrap_or_default(), out, cx)
            }
            Err(EnhancedRefusal::BadMethod) => {
                self.refuse(connect.version, ReasonCode::BadAuthenticationMethod, out, cx)
            }
            Err(EnhancedRefusal::Denied(denial)) => {
                self.refuse(connect.version, refusal_code(denial), out, cx)
            }
        }
    }

    /// One step of the exchange before CONNACK.
    fn exchange(&mut self, data: &[u8], out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let State::Authenticating(pending) = &mut self.state else { return Step::Close };
        let Some(exchange) = &mut pending.exchange else { return Step::Close };
        match exchange.step(data) {
            ExchangeStep::Continue(data) => {
                challenge(exchange.method(), ReasonCode::ContinueAuthentication, &data, out);
                Step::Continue
            }
            ExchangeStep::Done(identity, data) => match std::mem::replace(&mut self.state, State::Over) {
                State::Authenticating(pending) => {
                    self.admit(*pending, Verdict::Granted(identity), &data, out, cx)
                }
                _ => Step::Close,
            },
            ExchangeStep::Fail(denial) => self.refuse(Version::V5, refusal_code(denial), out, cx),
        }
    }

    /// Lets the client in, or not.
    pub(super) fn admit(
        &mut self,
        pending: PendingConnect,
        verdict: Verdict,
        auth_data: &[u8],
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        let identity = match verdict {
            Verdict::Granted(identity) => identity,
            Verdict::Denied(denial) => return self.refuse(pending.version, refusal_code(denial), out, cx),
            Verdict::Busy => return self.refuse(pending.version, ReasonCode::ServerBusy, out, cx),
        };
        let permit = match permit(&identity, cx) {
            Ok(permit) => permit,
            Err(reason) => return self.refuse(pending.version, reason, out, cx),
        };
        let outbox = MqttOutbox::new(
            cx.connection,
            pending.version,
            pending.maximum_packet_size,
            pending.topic_alias_maximum,
            &self.settings,
        );
        let request = CoreConnect {
            client_id: Arc::clone(&pending.client_id),
            user: identity.name().cloned(),
            clean_start: pending.clean_start,
            expiry: pending.session_expiry,
            window: pending.receive_maximum,
            will: pending.will.clone(),
            outbox: Box::new(outbox),
        };
        let connected = match cx.shared.vhost.connect(request, cx.now, cx.effects) {
            Ok(connected) => connected,
            Err(refusal) => {
                cx.effects.counters.refused_sessions += u64::from(refusal == NoSession::TooMany);
                return self.refuse(pending.version, ReasonCode::QuotaExceeded, out, cx);
            }
        };
        let keep_alive = self.keep_alive(&pending);
        let (position, session_present) = (connected.position, connected.session_present);
        // A session that was there before is given out also while the log is stuck: those who consume make room.
        let stuck = session_present && cx.shared.vhost.admission() >= Admission::Full;
        let waits = position > cx.shared.vhost.durable() && !stuck;
        let mut connack = Vec::new();
        let answers = if waits { &mut connack } else { &mut *out };
        self.connack(&pending, session_present, keep_alive, auth_data, answers);
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
            client_id = %pending.client_id, user = identity.name().map(|name| &**name),
            version = ?pending.version, keep_alive, session_present = connected.session_present,
            "connected");
        let unreleased = cx.shared.vhost.unreleased(&connected.attachment);
        let client = Client {
            version: pending.version,
            attachment: connected.attachment,
            identity,
            permit,
            silence: (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 1500)),
            session_expiry: pending.session_expiry,
            inflow: Inflow::new(unreleased, &self.settings, cx.now.monotonic),
            aliases: None,
            method: pending.method,
            exchange: None,
            acknowledgements: SmallVec::new(),
        };
        if waits {
            let confirming = Confirming { client, connack, position, session_present };
            self.state = State::Confirming(Box::new(confirming));
            self.last_packet = cx.now.monotonic;
            self.limit_changed = true;
            return Step::Hold;
        }
        self.connected(client, cx);
        Step::Continue
    }

    /// The client knows that it is connected.
    fn connected(&mut self, client: Client, cx: &mut FaceContext<'_>) {
        cx.shared.vhost.start_redelivery(&client.attachment, cx.now, cx.effects);
        self.state = State::Connected(Box::new(client));
        self.last_packet = cx.now.monotonic;
        self.limit_changed = true;
    }

    /// What the client is to be told is durable.
    pub(super) fn confirmed(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Confirming(confirming) => {
                out.extend_from_slice(&confirming.connack);
                self.connected(confirming.client, cx);
            }
            other => self.state = other,
        }
    }

    /// The log has not confirmed the session in time. One that was there before is given out all the same.
    pub(super) fn give_up_confirming(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        if let State::Confirming(confirming) = &self.state
            && confirming.session_present
        {
            self.confirmed(out, cx);
            return Step::Continue;
        }
        self.lost(Some(&std::io::ErrorKind::TimedOut.into()), cx.shared, cx.now, cx.effects);
        Step::Close
    }

    /// The keep alive that holds, in seconds.
    fn keep_alive(&self, pending: &PendingConnect) -> u16 {
        match self.settings.max_keep_alive {
            Some(most) if pending.keep_alive == 0 || pending.keep_alive > most => most,
            _ => pending.keep_alive,
        }
    }

    fn connack(
        &self,
        pending: &PendingConnect,
        session_present: bool,
        keep_alive: u16,
        auth_data: &[u8],
        out: &mut Vec<u8>,
    ) {
        let settings = &self.settings;
        let features = &settings.features;
        let response_information = match &features.response_information {
            Some(prefix) if pending.wants_response_information => {
                Some(format!("{prefix}{}", pending.client_id))
            }
            _ => None,
        };
        let told = settings.max_session_expiry.is_some_and(|most| pending.session_expiry == most);
        let properties = ConnAckProperties {
            session_expiry: told.then_some(pending.session_expiry),
            receive_maximum: std::num::NonZeroU16::new(settings.receive_maximum),
            maximum_qos: (features.max_qos < QoS::ExactlyOnce).then_some(features.max_qos),
            retain_available: features.retain,
            maximum_packet_size: std::num::NonZeroU32::new(settings.limits.max_packet_size),
            assigned_client_id: pending.assigned.then_some(&*pending.client_id),
            topic_alias_maximum: settings.topic_alias_maximum,
            wildcard_subscription_available: features.wildcards,
            subscription_ids_available: features.subscription_ids,
            shared_subscription_available: features.shared,
            server_keep_alive: (keep_alive != pending.keep_alive).then_some(keep_alive),
            response_information: response_information.as_deref(),
            authentication_method: pending.method.as_deref(),
            authentication_data: pending.method.as_ref().map(|_| auth_data),
            ..ConnAckProperties::default()
        };
        let connack = ConnAck { session_present, reason: ReasonCode::Success, properties };
        answer(&Packet::ConnAck(connack), pending.version, out);
    }

    /// Refuses a client and closes.
    fn refuse(
        &mut self,
        version: Version,
        reason: ReasonCode,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        cx.effects.counters.connects_refused += 1;
        tracing::info!(target: CONNECTIONS, listener = %self.settings.name, peer = %cx.transport.peer(),
            code = format_args!("{:#04x}", reason as u8), %reason, "connection refused");
        answer(&Packet::ConnAck(ConnAck::refusal(reason)), version, out);
        self.state = State::Over;
        Step::Close
    }

    fn redirect(
        &mut self,
        version: Version,
        reference: &str,
        permanent: bool,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        if version != Version::V5 {
            return self.refuse(version, ReasonCode::ServerUnavailable, out, cx);
        }
        cx.effects.counters.connects_refused += 1;
        let reason = if permanent { ReasonCode::ServerMoved } else { ReasonCode::UseAnotherServer };
        let properties =
            ConnAckProperties { server_reference: Some(reference), ..ConnAckProperties::default() };
        answer(&Packet::ConnAck(ConnAck { session_present: false, reason, properties }), version, out);
        self.state = State::Over;
        Step::Close
    }
}

impl Client {
    /// Re-authentication (MQTT 5 §4.12.1): with the method the client connected with, as the same user.
    pub(super) fn reauthenticate(
        &mut self,
        auth: &Auth<'_>,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), End> {
        let method = auth.properties.authentication_method;
        if self.method.is_none() || method != self.method.as_deref() {
            return Err(End::Fault(ReasonCode::ProtocolError, "MQTT-4.12.1-1"));
        }
        match (auth.reason, &self.exchange) {
            (ReasonCode::Reauthenticate, None) => {
                let peer = PeerOrigin::of(cx.transport.peer());
                let started = cx.shared.authenticator.start_enhanced(
                    method.unwrap_or_default(),
                    peer,
                    Some(&self.identity),
                );
                self.exchange =
                    Some(started.map_err(|_| End::Fault(ReasonCode::NotAuthorized, "MQTT-4.12.1-2"))?);
            }
            (ReasonCode::ContinueAuthentication, Some(_)) => {}
            _ => return Err(End::Fault(ReasonCode::ProtocolError, "MQTT-4.12.0-3")),
        }
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        match exchange.step(auth.properties.authentication_data.unwrap_or_default()) {
            ExchangeStep::Continue(data) => {
                challenge(exchange.method(), ReasonCode::ContinueAuthentication, &data, out);
            }
            ExchangeStep::Done(_, data) => {
                challenge(exchange.method(), ReasonCode::Success, &data, out);
                self.exchange = None;
            }
            // DISCONNECT has no code for wrong credentials (§3.14.2.1).
            ExchangeStep::Fail(_) => return Err(End::Fault(ReasonCode::NotAuthorized, "MQTT-4.12.1-2")),
        }
        Ok(())
    }
}

impl PendingConnect {
    /// Copies what is needed. `None` if no identifier can be made up for want of random numbers.
    fn new(connect: &Connect<'_>, settings: &ListenerSettings) -> Option<Self> {
        let properties = &connect.properties;
        let v5 = connect.version == Version::V5;
        let assigned = connect.client_id.is_empty();
        let client_id: Arc<str> = if assigned {
            let mut random = [0; 8];
            getrandom::fill(&mut random).ok()?;
            format!("{}{:016x}", settings.features.client_id_prefix, u64::from_le_bytes(random)).into()
        } else {
            connect.client_id.into()
        };
        let asked = match (v5, connect.clean_start) {
            (true, _) => properties.session_expiry.unwrap_or(0),
            (false, true) => 0,
            (false, false) => settings.persistent_expiry,
        };
        let receive_maximum = properties.receive_maximum.map(std::num::NonZeroU16::get);
        Some(Self {
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            client_id,
            assigned,
            will: connect.will.as_ref().map(core_will),
            session_expiry: asked.min(settings.max_session_expiry.unwrap_or(u32::MAX)),
            // MQTT 5 says that an absent Receive Maximum is 65,535; ours bounds what is under way to such a
            // client, as to one of MQTT 3.
            receive_maximum: receive_maximum.unwrap_or(settings.max_inflight),
            maximum_packet_size: properties.maximum_packet_size.map(std::num::NonZeroU32::get),
            topic_alias_maximum: properties.topic_alias_maximum,
            wants_response_information: properties.request_response_information,
            method: None,
            exchange: None,
        })
    }
}

/// Whether the broker offers what a CONNECT asks for.
fn acceptable(connect: &Connect<'_>, settings: &ListenerSettings) -> Result<(), ReasonCode> {
    if !settings.versions.contains(&connect.version) {
        return Err(ReasonCode::UnsupportedProtocolVersion);
    }
    if connect.client_id.is_empty() && !settings.features.empty_client_id {
        return Err(ReasonCode::ClientIdentifierNotValid);
    }
    if connect.username.is_some_and(|name| name.len() > settings.max_username) {
        return Err(ReasonCode::BadUserNameOrPassword);
    }
    if let Some(will) = &connect.will {
        if will.qos > settings.features.max_qos {
            return Err(ReasonCode::QosNotSupported);
        }
        if will.retain && !settings.features.retain {
            return Err(ReasonCode::RetainNotSupported);
        }
        if is_own_topic(will.topic) {
            return Err(ReasonCode::TopicNameInvalid);
        }
    }
    Ok(())
}

fn core_will(will: &Will<'_>) -> Box<CoreWill> {
    let properties = will_properties(&will.properties.to_publish());
    Box::new(CoreWill {
        topic: will.topic.into(),
        payload: bytes::Bytes::copy_from_slice(will.payload),
        encoding: if properties.is_empty() { PropertyEncoding::None } else { PropertyEncoding::Mqtt5 },
        properties: properties.into(),
        qos: to_core(will.qos),
        retain: will.retain,
        delay: will.properties.will_delay,
        expiry: will.properties.message_expiry,
    })
}

/// What the listener makes of the client's certificate.
fn certificate_user(cx: &FaceContext<'_>, settings: &ListenerSettings) -> CertifiedUser {
    if settings.certificate_user == NamePart::Off {
        return CertifiedUser::NotUsed;
    }
    let identity = cx.transport.tls_info().and_then(|info| info.identity);
    CertifiedUser::choose(settings.certificate_user, identity.as_ref())
}

/// Counts the connection of a user with a name against its limits and those of the virtual host, if it may be there.
fn permit(identity: &Identity, cx: &FaceContext<'_>) -> Result<Option<Box<ConnectionPermit>>, ReasonCode> {
    let Some(user) = identity.name() else { return Ok(None) };
    let access = cx.shared.authenticator.access();
    if !access.may_enter(user, DEFAULT_VHOST) {
        return Err(ReasonCode::NotAuthorized);
    }
    let permit = access.admit(user, cx.shared.vhost.name());
    permit.map(|permit| Some(Box::new(permit))).map_err(|_| ReasonCode::QuotaExceeded)
}

fn refusal_code(denial: Denial) -> ReasonCode {
    match denial {
        Denial::NotAuthorized | Denial::LoopbackOnly => ReasonCode::NotAuthorized,
        Denial::BadCredentials => ReasonCode::BadUserNameOrPassword,
        Denial::Banned => ReasonCode::Banned,
    }
}

fn challenge(method: &str, reason: ReasonCode, data: &[u8], out: &mut Vec<u8>) {
    let properties = AuthProperties {
        authentication_method: Some(method),
        authentication_data: Some(data),
        ..AuthProperties::default()
    };
    answer(&Packet::Auth(Auth { reason, properties }), Version::V5, out);
}
