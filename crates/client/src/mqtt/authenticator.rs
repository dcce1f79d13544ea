//! Enhanced authentication (MQTT 5 §4.12): the hook for any method, and SCRAM-SHA-256.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tercet_scram::{METHOD, ScramClient, Secret, ServerCheck};

/// Answers the challenges of enhanced authentication (MQTT 5 §4.12).
///
/// For each connection: [`start`](Self::start) once, [`challenge`](Self::challenge) for each AUTH of the broker,
/// [`success`](Self::success) for its CONNACK. The texts of errors are told to whoever connects.
pub trait Authenticator: Send + Sync {
    /// The Authentication Method.
    fn method(&self) -> &str;

    /// The Authentication Data of CONNECT, at most 65,535 bytes. Whatever was begun before is over.
    ///
    /// # Errors
    /// Why there can be no login.
    fn start(&self) -> Result<Option<Bytes>, String>;

    /// The answer to a challenge.
    ///
    /// # Errors
    /// Why there is no answer; the connection then fails.
    fn challenge(&self, data: &[u8]) -> Result<Bytes, String>;

    /// Judges the data that the broker sent with its success (empty if none), such as its own proof.
    ///
    /// # Errors
    /// What is wrong with it; the connection then fails.
    fn success(&self, data: &[u8]) -> Result<(), String> {
        let _ = data;
        Ok(())
    }
}

/// SCRAM-SHA-256: the broker never sees the password, and proves in turn that it knows it.
///
/// [`Builder::scram_sha_256`](super::Builder::scram_sha_256) makes one of a builder's user name and password.
pub struct ScramSha256 {
    user: String,
    password: Secret,
    state: Mutex<State>,
}

/// What the next message of the broker is.
enum State {
    /// None is expected.
    Idle,
    Challenge(ScramClient),
    Proof(ServerCheck),
}

impl ScramSha256 {
    /// A login as `user`. The password is UTF-8 text, and its copy here is overwritten when it is dropped.
    pub fn new(user: impl Into<String>, password: impl AsRef<[u8]>) -> Self {
        let password = Secret::from(password.as_ref());
        Self { user: user.into(), password, state: Mutex::new(State::Idle) }
    }

    /// Leaves nothing to go on with, so that a step out of order fails.
    fn take(&self) -> State {
        std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Idle)
    }

    fn put(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Authenticator for ScramSha256 {
    fn method(&self) -> &str {
        METHOD
    }

    fn start(&self) -> Result<Option<Bytes>, String> {
        let started = ScramClient::new(&self.user, self.password.clone());
        let (client, message) = started.map_err(|error| error.to_string())?;
        self.put(State::Challenge(client));
        Ok(Some(message.into()))
    }

    fn challenge(&self, data: &[u8]) -> Result<Bytes, String> {
        let State::Challenge(client) = self.take() else {
            return Err("a challenge more than SCRAM has".into());
        };
        let (check, answer) = client.answer(data).map_err(|error| error.to_string())?;
        self.put(State::Proof(check));
        Ok(answer.into())
    }

    fn success(&self, data: &[u8]) -> Result<(), String> {
        let State::Proof(check) = self.take() else {
            return Err("the broker let us in without asking for a proof, nor giving its own".into());
        };
        check.verify(data).map_err(|error| format!("the broker does not prove itself: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_scram::{ClientFirst, MIN_ITERATIONS, ScramCredentials};

    #[test]
    fn both_sides_prove_themselves_on_every_connection() {
        let stored = ScramCredentials::derive(b"pencil", MIN_ITERATIONS).unwrap();
        let login = ScramSha256::new("ann", "pencil");
        for honest in [true, false, true] {
            let first = login.start().unwrap().unwrap();
            let (challenge, message) = ClientFirst::parse(&first).unwrap().challenge(stored.clone()).unwrap();
            let mut proof = challenge.verify(&login.challenge(&message).unwrap()).unwrap();
            if !honest {
                proof[5] ^= 1;
            }
            assert_eq!(login.success(&proof).is_ok(), honest);
            assert!(login.success(&proof).is_err(), "only once");
        }
    }

    #[test]
    fn a_broker_that_leaves_steps_out_is_not_believed() {
        let login = ScramSha256::new("ann", "pencil");
        assert!(login.challenge(b"").is_err() && login.success(b"").is_err());
        login.start().unwrap();
        assert!(login.success(b"").is_err());
        assert!(ScramSha256::new("", "x").start().is_err());
    }
}
