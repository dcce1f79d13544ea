//! One association, of either side.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use dimpl::{Dtls, Output};
use rustls::server::danger::ClientCertVerifier;

use super::client::DtlsClientConfig;
use super::error::DtlsError;
use super::hello::{ClientHello, Proof};
use super::provider::{presenting, take_resolved};
use super::record::{Handshake, clear_alert, holds, is_oversized};
use super::server::{DtlsServerConfig, verify_client};
use crate::tls::{CertificateIdentity, certificate_identity};

/// Room for one plaintext or one datagram; the engine says when it needs more.
const SCRATCH: usize = 20 * 1024;

/// Who a peer has proven to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtlsIdentity {
    /// The owner of a pre-shared key, by the name of that key.
    PreSharedKey(Arc<str>),
    /// The owner of a certificate that was found good.
    Certificate(Arc<CertificateIdentity>),
    /// Nobody asked.
    Unproven,
}

/// What a session has for its caller.
#[derive(Debug)]
pub enum SessionEvent<'a> {
    /// Send this datagram to the peer.
    Transmit(&'a [u8]),
    /// The handshake is over; [`DtlsSession::identity`] says who the peer is.
    Connected,
    /// What the peer sent, decrypted: one whole record, which is one CoAP message.
    Plaintext(&'a [u8]),
    /// The peer closed the session.
    Closed,
}

/// One DTLS association. Feed it datagrams and the passing of time; it hands events to a callback. A method that
/// returns an error has ended the session.
///
/// The engine takes 7 KiB for an established session; this adds less than 200 bytes.
pub struct DtlsSession {
    engine: Box<Dtls>,
    phase: Phase,
    identity: DtlsIdentity,
    due: Option<Instant>,
}

enum Phase {
    Accepting(Option<Arc<dyn ClientCertVerifier>>),
    Connecting(Box<DtlsClientConfig>),
    Connected,
    Closed,
}

impl DtlsSession {
    /// Begins a handshake with a server; the callback gets the first ClientHello.
    ///
    /// # Errors
    /// [`DtlsError`] if the engine cannot begin.
    pub fn connect(
        config: &DtlsClientConfig,
        now: Instant,
        on: &mut dyn FnMut(SessionEvent<'_>),
    ) -> Result<Self, DtlsError> {
        let phase = Phase::Connecting(Box::new(config.clone()));
        let mut session = Self::new(config.engine(now), phase);
        session.run_due(now, on)?;
        Ok(session)
    }

    /// Goes on with a client whose cookie was found valid.
    pub(super) fn accept(
        config: &DtlsServerConfig,
        proof: Proof,
        hello: &ClientHello<'_>,
        datagram: &[u8],
        now: Instant,
        on: &mut dyn FnMut(SessionEvent<'_>),
    ) -> Result<Self, DtlsError> {
        let engine = config.engine(proof, now).ok_or(DtlsError::Engine)?;
        let cookie = hello.cookie.try_into().map_err(|_| DtlsError::Engine)?;
        let clients = (proof == Proof::Certificate).then(|| config.clients()).flatten();
        let mut session = Self::new(engine, Phase::Accepting(clients));
        presenting(*hello.random, cookie, || {
            session.drive(now, |engine| engine.handle_timeout(now), &mut |_| {})?;
            // The engine has to have asked for the cookie itself, as often as the client was asked, for its numbers
            // of messages to be those that the client expects.
            for sequence in 0..hello.message_sequence {
                let before = hello.without_cookie(sequence);
                session.drive(now, |engine| engine.handle_packet(&before), &mut |_| {})?;
            }
            session.receive(datagram, now, on)
        })?;
        Ok(session)
    }

    fn new(engine: Dtls, phase: Phase) -> Self {
        Self { engine: Box::new(engine), phase, identity: DtlsIdentity::Unproven, due: None }
    }

    /// A datagram from the peer has arrived.
    ///
    /// # Errors
    /// [`DtlsError`]: the session has ended, and the callback had the alert to send, if there is one.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        now: Instant,
        on: &mut dyn FnMut(SessionEvent<'_>),
    ) -> Result<(), DtlsError> {
        if is_oversized(datagram) {
            return Ok(());
        }
        if let Phase::Connecting(config) = &self.phase
            && config.proof().is_some_and(|proof| !proof.has_certificate)
            && holds(datagram, Handshake::CERTIFICATE_REQUEST)
        {
            return self.fail(DtlsError::CertificateWanted, on);
        }
        self.drive(now, |engine| engine.handle_timeout(now).and_then(|()| engine.handle_packet(datagram)), on)
    }

    /// When [`run_due`](Self::run_due) is to be called: while the handshake goes on.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Retransmits, or gives up, when it is time for it.
    ///
    /// # Errors
    /// [`DtlsError::TimedOut`] when the peer has not answered in time.
    pub fn run_due(&mut self, now: Instant, on: &mut dyn FnMut(SessionEvent<'_>)) -> Result<(), DtlsError> {
        self.drive(now, |engine| engine.handle_timeout(now), on)
    }

    /// Sends a message as one record; before the handshake is over it is kept until then.
    ///
    /// # Errors
    /// [`DtlsError`]: the session has ended.
    pub fn send(
        &mut self,
        plaintext: &[u8],
        now: Instant,
        on: &mut dyn FnMut(SessionEvent<'_>),
    ) -> Result<(), DtlsError> {
        self.drive(now, |engine| engine.send_application_data(plaintext).map(drop), on)
    }

    /// Says goodbye (`close_notify`). The session has ended.
    pub fn close(&mut self, now: Instant, on: &mut dyn FnMut(SessionEvent<'_>)) {
        // It is over either way.
        let _ = self.drive(now, Dtls::close, on);
        self.phase = Phase::Closed;
        self.due = None;
    }

    /// Whether the handshake is over and the session stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Who the peer has proven to be; [`DtlsIdentity::Unproven`] until the handshake is over.
    #[must_use]
    pub fn identity(&self) -> &DtlsIdentity {
        // A certificate is known before its owner has signed with it, a key's name before the key was used.
        if self.is_connected() { &self.identity } else { &DtlsIdentity::Unproven }
    }

    /// Lets the engine work and hands out what comes of it.
    fn drive(
        &mut self,
        now: Instant,
        work: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>,
        on: &mut dyn FnMut(SessionEvent<'_>),
    ) -> Result<(), DtlsError> {
        if matches!(self.phase, Phase::Closed) {
            return Err(DtlsError::Closed);
        }
        let worked = contain(|| work(&mut self.engine));
        let result = match worked {
            Ok(Ok(())) => self.drain(now, on),
            Ok(Err(error)) => Err(DtlsError::of(&error)),
            Err(error) => Err(error),
        };
        result.or_else(|error| self.fail(error, on))
    }

    fn drain(&mut self, now: Instant, on: &mut dyn FnMut(SessionEvent<'_>)) -> Result<(), DtlsError> {
        let mut scratch = take_scratch();
        let result = self.drain_into(&mut scratch, now, on);
        SHARED_SCRATCH.set(scratch);
        result
    }

    fn drain_into(
        &mut self,
        scratch: &mut Vec<u8>,
        now: Instant,
        on: &mut dyn FnMut(SessionEvent<'_>),
    ) -> Result<(), DtlsError> {
        if let Some(name) = take_resolved() {
            self.identity = DtlsIdentity::PreSharedKey(name);
        }
        loop {
            let (engine, buffer) = (&mut self.engine, &mut scratch[..]);
            match contain(move || engine.poll_output(buffer))? {
                Output::Packet(datagram) => on(SessionEvent::Transmit(datagram)),
                Output::ApplicationData(plaintext) => on(SessionEvent::Plaintext(plaintext)),
                Output::BufferTooSmall { needed } => scratch.resize(needed, 0),
                Output::PeerCert(der) => self.identity = self.phase.verify(der)?,
                Output::Connected => {
                    self.phase = Phase::Connected;
                    on(SessionEvent::Connected);
                }
                Output::CloseNotify => on(SessionEvent::Closed),
                Output::Timeout(at) => {
                    self.due = (!self.is_connected()).then_some(at.max(now));
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    fn fail(&mut self, error: DtlsError, on: &mut dyn FnMut(SessionEvent<'_>)) -> Result<(), DtlsError> {
        // Without keys an alert cannot be protected; with them the peer would not believe one that is not.
        if !self.is_connected()
            && let Some(description) = error.alert()
        {
            on(SessionEvent::Transmit(&clear_alert(description)));
        }
        self.phase = Phase::Closed;
        self.due = None;
        Err(error)
    }
}

impl Phase {
    /// Judges the certificate that the peer shows.
    fn verify(&self, der: &[u8]) -> Result<DtlsIdentity, DtlsError> {
        match self {
            Self::Accepting(Some(clients)) => verify_client(clients.as_ref(), der)?,
            Self::Connecting(config) => config.proof().ok_or(DtlsError::Engine)?.verify(der)?,
            Self::Accepting(None) | Self::Connected | Self::Closed => return Err(DtlsError::Engine),
        }
        Ok(DtlsIdentity::Certificate(Arc::new(certificate_identity(der)?)))
    }
}

/// Lets the engine work. Whatever it makes of hostile input, it must not take more than its session with it.
fn contain<R>(work: impl FnOnce() -> R) -> Result<R, DtlsError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| DtlsError::Engine)
}

thread_local! {
    /// One buffer serves all sessions of a thread. It is away while in use: a callback may use another session.
    static SHARED_SCRATCH: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn take_scratch() -> Vec<u8> {
    let mut scratch = SHARED_SCRATCH.take();
    if scratch.len() < SCRATCH {
        scratch.resize(SCRATCH, 0);
    }
    scratch
}
