//! One security context: its lock, the users behind its recipients, and the storage of its sequence numbers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tercet_broker::definitions::Definitions;
use tercet_broker::journal::Position;
use tercet_broker::vhost::Vhost;
use tercet_coap::oscore::{
    Context, Exchange, Header, Parameters, ParametersError, ProtectError, Request, SEQUENCE_END, Sequence,
    UnprotectError,
};
use tercet_coap::{Message, OwnedMessage};

use super::protection::Protection;

/// Definitions that say up to which sequence number a context may have sent. Keys are names of its key.
const SEQUENCES: u8 = 20;
/// How many sequence numbers are reserved in one go. So many are lost with each restart, of 2^40.
const RESERVED: u64 = 4096;
/// 2025-01-01, as seconds since 1970: before any context was used.
const BEGINNING: u64 = 1_735_689_600;
/// How long the server waits for the log before it goes on without numbers, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);
/// No numbers at all.
const UNUSABLE: Sequence = Sequence::starting_at(SEQUENCE_END);

/// Where sequence numbers are stored.
#[derive(Clone)]
pub struct Store {
    /// The table that they stand in.
    pub definitions: Arc<Definitions>,
    /// Knows how far the log is durable.
    pub vhost: Arc<Vhost>,
    /// Whether there is a log. Without one, numbers begin at the clock, in milliseconds, so that they grow over restarts.
    pub is_durable: bool,
}

/// A security context.
pub struct Security {
    /// Who its recipients are, in their order: the text of their identifier, or its hexadecimal digits.
    users: Vec<Arc<str>>,
    /// Unpredictable: keeps its bodies under way apart from those of others.
    pub salt: u64,
    /// The nonce of a request may be used for its response: requests are known not to be replays.
    knows_replays: bool,
    store: Store,
    key: String,
    state: Mutex<State>,
}

struct State {
    context: Context,
    /// The bound that is on its way to the disk.
    storing: Option<(Position, u64)>,
}

/// A request that was read.
pub enum Opened {
    /// Deal with it.
    Request(OwnedMessage, Protection, Arc<str>),
    /// Send this back, and do no more.
    Challenge(OwnedMessage),
}

impl Security {
    /// Derives a context, which sends nothing before it [begins](Self::begin). `random` has to be unpredictable.
    ///
    /// # Errors
    /// The parameters make no sense.
    pub fn new(parameters: &Parameters, random: [u64; 2], store: &Store) -> Result<Self, ParametersError> {
        let mut context = Context::new(parameters, UNUSABLE)?;
        let key = hex(context.key_name());
        let [salt, echo] = random;
        if parameters.echo_after_restart {
            context.after_restart(echo.to_be_bytes());
        }
        Ok(Self {
            users: parameters.recipient_ids.iter().map(|id| user_of(id)).collect(),
            salt,
            knows_replays: parameters.echo_after_restart,
            store: store.clone(),
            key,
            state: Mutex::new(State { context, storing: None }),
        })
    }

    /// Begins to send where the last one with its key may have ended, once the log has the position that is returned.
    pub fn begin(&self) -> Position {
        let mut state = self.state.lock();
        state.context.sequence = self.store.begin(&self.key);
        self.reserve(&mut state);
        state.storing.map_or(Position::NONE, |(position, _)| position)
    }

    /// Sends no more: another context may use the key from now on.
    pub fn retire(&self) {
        let mut state = self.state.lock();
        state.context.sequence = UNUSABLE;
        state.storing = None;
    }

    /// Whether it is the same context as another, derived anew.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.has_key_of(other) && self.users == other.users && self.knows_replays == other.knows_replays
    }

    /// Whether it sends with the same key as another, which no two may do.
    #[must_use]
    pub fn has_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Whether a message with this header may be one of its own.
    #[must_use]
    pub fn fits(&self, header: &Header<'_>) -> bool {
        self.state.lock().context.recipient(header).is_some()
    }

    /// Reads a request.
    ///
    /// # Errors
    /// It is none of this context, or was seen before.
    pub fn open(self: &Arc<Self>, request: &Message<'_>) -> Result<Opened, UnprotectError> {
        let mut state = self.state.lock();
        self.reserve(&mut state);
        match state.context.unprotect_request(request)? {
            Request::Challenge(answer) => Ok(Opened::Challenge(answer)),
            Request::Fresh(message, exchange) => {
                let user = self.users.get(exchange.recipient().0).ok_or(UnprotectError::NoContext)?;
                let exchange = if self.knows_replays { exchange } else { exchange.for_notifications() };
                let protection = Protection { security: Arc::clone(self), exchange };
                Ok(Opened::Request(message, protection, Arc::clone(user)))
            }
        }
    }

    /// Protects a response.
    ///
    /// # Errors
    /// It takes a sequence number, and none may be used.
    pub fn protect(
        &self,
        exchange: &mut Exchange,
        response: &Message<'_>,
    ) -> Result<OwnedMessage, ProtectError> {
        let mut state = self.state.lock();
        self.reserve(&mut state);
        state.context.protect_response(exchange, response)
    }

    /// Lets those numbers be used that are stored, and has more stored when half of them are used.
    fn reserve(&self, state: &mut State) {
        if let Some((position, bound)) = state.storing
            && position <= self.store.vhost.durable()
        {
            state.context.sequence.grant(bound);
            state.storing = None;
        }
        let sequence = &state.context.sequence;
        if state.storing.is_none() && sequence.left() < RESERVED / 2 && sequence.bound() < SEQUENCE_END {
            let bound = sequence.bound() + RESERVED;
            state.storing = Some((self.store.put(&self.key, bound), bound));
        }
    }
}

impl Store {
    fn begin(&self, key: &str) -> Sequence {
        if self.is_durable {
            let stored = self.definitions.get(SEQUENCES, key);
            let bound = stored.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
            return Sequence::starting_at(bound);
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let passed = since_1970.as_millis().saturating_sub(u128::from(BEGINNING) * 1000);
        let mut sequence = Sequence::starting_at(u64::try_from(passed).unwrap_or(u64::MAX));
        sequence.grant(SEQUENCE_END);
        sequence
    }

    /// Waits until the log has this position, if that takes no longer than [`PATIENCE`]: who asks first is to be
    /// answered, and that may take a number.
    pub fn wait(&self, position: Position) {
        self.vhost.flush();
        let end = Instant::now() + PATIENCE;
        while self.vhost.durable() < position {
            if Instant::now() >= end {
                tracing::warn!(
                    "sequence numbers of OSCORE are not stored yet; until then clients are not answered"
                );
                return;
            }
            thread::sleep(LOOK);
        }
    }

    fn put(&self, key: &str, bound: u64) -> Position {
        self.definitions.put(SEQUENCES, key, &bound.to_be_bytes())
    }
}

/// What the client with this identifier is called: the identifier itself if it is text that is fit for a name.
fn user_of(id: &[u8]) -> Arc<str> {
    match std::str::from_utf8(id) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => text.into(),
        _ => hex(id).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients() {
        assert_eq!(&*user_of(b"client"), "client");
        assert_eq!((&*user_of(&[]), &*user_of(&[1, 0xFF])), ("", "01ff"));
        assert_eq!(&*user_of(b"a\n"), "610a");
    }
}
