//! MQTT 5 enhanced authentication (§4.12): an exchange of messages instead of one password.

use super::authenticator::Shared;
use super::directory::{Directory, Stored};
use super::failure_limiter::PeerKey;
use super::identity::{Denial, Identity, PeerOrigin, Proof};
use std::mem;
use std::sync::Arc;
use std::time::Instant;
use tercet_scram::{Challenge, ClientFirst, METHOD, ScramError};

/// One exchange, for a new connection or for a re-authentication. It does no slow work: each step is answered at
/// once.
pub trait EnhancedAuth: Send {
    /// Name of the method, to be sent back as Authentication Method.
    fn method(&self) -> &str;

    /// Takes the client's Authentication Data (empty if it sent none) and says how to go on. After anything but
    /// [`Step::Continue`] the exchange is over.
    fn step(&mut self, client_data: &[u8]) -> Step;
}

/// How an exchange goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these data with AUTH and reason code 0x18, and wait for the client's answer.
    Continue(Vec<u8>),
    /// The client is who it says. Send these data with CONNACK, or with AUTH and reason code 0x00.
    Done(Identity, Vec<u8>),
    /// Refuse the client.
    Fail(Denial),
}

/// Why an exchange cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnhancedRefusal {
    /// The method is not known, or no user can log in by it. MQTT 5: 0x8C.
    BadMethod,
    /// The client is refused.
    Denied(Denial),
}

impl Shared {
    /// Begins an exchange. `known` is the present identity when a connection re-authenticates: only the same user
    /// may do that.
    pub(super) fn start_enhanced(
        self: &Arc<Self>,
        method: &str,
        peer: PeerOrigin,
        known: Option<&Identity>,
    ) -> Result<Box<dyn EnhancedAuth>, EnhancedRefusal> {
        let users = self.users();
        if method != METHOD || !self.offers_scram() || !users.has_scram() {
            return Err(EnhancedRefusal::BadMethod);
        }
        let is_local = peer.is_local;
        let peer = PeerKey::from(peer);
        if self.failures().is_exhausted(peer, Instant::now()) {
            return Err(EnhancedRefusal::Denied(Denial::Banned));
        }
        let shared = Arc::clone(self);
        Ok(Box::new(ScramExchange {
            shared,
            users,
            peer,
            is_local,
            known: known.cloned(),
            state: State::Begun,
        }))
    }
}

struct ScramExchange {
    shared: Arc<Shared>,
    /// The users as they were when the exchange began; a reload in between does not tear it.
    users: Arc<Directory>,
    peer: PeerKey,
    is_local: bool,
    known: Option<Identity>,
    state: State,
}

enum State {
    /// Nothing was received.
    Begun,
    /// The client began without data and was asked for its first message (RFC 4422 §3).
    Prompted,
    /// The client must prove itself. No identity: the user does not exist, and no proof will fit.
    Challenged(Challenge, Option<Identity>),
    Over,
}

impl EnhancedAuth for ScramExchange {
    fn method(&self) -> &str {
        METHOD
    }

    fn step(&mut self, client_data: &[u8]) -> Step {
        let outcome = match mem::replace(&mut self.state, State::Over) {
            State::Begun if client_data.is_empty() => {
                self.state = State::Prompted;
                return Step::Continue(Vec::new());
            }
            State::Begun | State::Prompted => self.challenge(client_data),
            State::Challenged(challenge, identity) => self.finish(challenge, identity, client_data),
            State::Over => Err(Denial::NotAuthorized),
        };
        outcome.unwrap_or_else(|denial| {
            if denial == Denial::BadCredentials {
                self.shared.failures().record_failure(self.peer, Instant::now());
            }
            Step::Fail(denial)
        })
    }
}

impl ScramExchange {
    fn challenge(&mut self, client_first: &[u8]) -> Result<Step, Denial> {
        let first = ClientFirst::parse(client_first).map_err(denial)?;
        let found = self.users.find(first.user()).filter(|known| self.is_local || !known.loopback_only);
        let stored = found.and_then(|known| match known.stored {
            Stored::Credentials(credentials) => Some((known.name, credentials.scram.clone()?)),
            Stored::BuiltIn => None,
        });
        let (identity, credentials) = match stored {
            Some((name, scram)) => (Some(Identity::user(name, Proof::Scram)), scram),
            None => (None, self.users.decoy_scram(first.user())),
        };
        let (challenge, message) = first.challenge(credentials).map_err(denial)?;
        self.state = State::Challenged(challenge, identity);
        Ok(Step::Continue(message))
    }

    fn finish(
        &self,
        challenge: Challenge,
        identity: Option<Identity>,
        client_final: &[u8],
    ) -> Result<Step, Denial> {
        let message = challenge.verify(client_final).map_err(denial)?;
        let identity = identity.ok_or(Denial::BadCredentials)?;
        let same_user = self.known.as_ref().is_none_or(|known| known.name() == identity.name());
        if same_user { Ok(Step::Done(identity, message)) } else { Err(Denial::NotAuthorized) }
    }
}

fn denial(error: ScramError) -> Denial {
    match error {
        ScramError::Proof => Denial::BadCredentials,
        _ => Denial::NotAuthorized,
    }
}
