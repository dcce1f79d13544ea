//! OSCORE contexts (RFC 8613), and where their sequence numbers are kept.
//!
//! A sequence number must never be used twice with one key, however often the program is started. Numbers are reserved
//! in a file before they are used, many at a time (RFC 8613 Appendix B.1.1).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tercet_coap::oscore::{self, Context, Exchange, Parameters, Sequence, UnprotectError};

use super::error::{Error, Result};
use super::message::Message;

/// Numbers reserved at once: so many may be lost when the program ends.
const RESERVED: u64 = 1024;

/// A context and the file of its sequence. Clones share both.
#[derive(Clone)]
pub struct Oscore {
    shared: Arc<Shared>,
}

struct Shared {
    context: Mutex<Context>,
    state: PathBuf,
}

impl Oscore {
    /// A context whose sequence numbers are kept in the file `state`, which is made if it does not exist. No two programs
    /// may use the file, or the parameters, at the same time.
    ///
    /// # Errors
    /// [`Error::Oscore`]: parameters that make no context, and a file that cannot be read or written.
    pub fn new(parameters: &Parameters, state: impl Into<PathBuf>) -> Result<Self> {
        let state = state.into();
        let stored = read(&state).map_err(|error| file_error(&state, &error))?;
        let context = Context::new(parameters, Sequence::starting_at(stored.unwrap_or(0)));
        let mut context = context.map_err(|error| Error::Oscore(error.to_string()))?;
        if stored.is_some() {
            // What was received before is not known any more: the first request has to prove that it is fresh.
            let mut echo = [0; 8];
            getrandom::fill(&mut echo).map_err(|error| Error::Oscore(format!("no randomness: {error}")))?;
            context.after_restart(echo);
        }
        Ok(Self { shared: Arc::new(Shared { context: Mutex::new(context), state }) })
    }

    /// Reads the parameters from a file as libcoap has it (`master_secret,hex,"…"` and so on), and keeps the sequence
    /// numbers beside it, in a file of the same name with `.seq` behind it.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and a file with a mistake.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
        let contexts = oscore::parse_conf(&text)
            .map_err(|error| Error::Oscore(format!("{}: {error}", path.display())))?;
        let [parameters] = contexts.as_slice() else {
            return Err(Error::Oscore(format!("{} has not exactly one context", path.display())));
        };
        let mut state = path.as_os_str().to_owned();
        state.push(".seq");
        Self::new(parameters, PathBuf::from(state))
    }

    /// The message as it goes to the server, and what reads its answers.
    pub(super) fn protect_request(&self, message: &Message) -> Result<(Message, Exchange)> {
        let mut context = self.reserved()?;
        let (protected, exchange) =
            context.protect_request(&message.as_wire()).map_err(|error| Error::Oscore(error.to_string()))?;
        Ok((Message::from_owned(protected), exchange))
    }

    /// What an answer says.
    pub(super) fn unprotect_response(&self, exchange: &mut Exchange, message: &Message) -> Result<Message> {
        let inner = self.lock().unprotect_response(exchange, &message.as_wire());
        inner.map(Message::from_owned).map_err(|error| Error::Oscore(error.to_string()))
    }

    /// Whether the context is the one that a request was protected with.
    pub(super) fn is_for(&self, header: &oscore::Header<'_>) -> bool {
        self.lock().recipient(header).is_some()
    }

    /// What a request says.
    pub(super) fn unprotect_request(&self, message: &Message) -> Result<oscore::Request, UnprotectError> {
        match self.reserved() {
            Ok(mut context) => context.unprotect_request(&message.as_wire()),
            Err(_) => Err(UnprotectError::NoContext),
        }
    }

    /// The answer as it goes to the client.
    pub(super) fn protect_response(&self, exchange: &mut Exchange, message: &Message) -> Result<Message> {
        let protected = self.reserved()?.protect_response(exchange, &message.as_wire());
        protected.map(Message::from_owned).map_err(|error| Error::Oscore(error.to_string()))
    }

    /// The context with at least one number that may be used: a bound is stored before it is granted.
    fn reserved(&self) -> Result<MutexGuard<'_, Context>> {
        let mut context = self.lock();
        let sequence = &mut context.sequence;
        if sequence.left() == 0 {
            let bound = sequence.bound() + RESERVED;
            write(&self.shared.state, bound).map_err(|error| file_error(&self.shared.state, &error))?;
            sequence.grant(bound);
        }
        Ok(context)
    }

    fn lock(&self) -> MutexGuard<'_, Context> {
        self.shared.context.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bound that was stored; `None` if there is no file yet.
fn read(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| io::Error::other("not a sequence number")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a bound so that it is there after a power failure.
fn write(path: &Path, bound: u64) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{bound}")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn file_error(path: &Path, error: &io::Error) -> Error {
    Error::Oscore(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_twice_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let parameters = Parameters::new(b"0123456789abcdef", b"c", b"s");
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let oscore = Oscore::new(&parameters, &state).unwrap();
            for _ in 0..RESERVED + 10 {
                let (protected, _) = oscore.protect_request(&Message::new(tercet_coap::Code::GET)).unwrap();
                let option = protected.options().get(tercet_coap::Number::OSCORE).unwrap().to_vec();
                assert!(seen.insert(option));
            }
        }
        std::fs::write(&state, "nonsense").unwrap();
        assert!(Oscore::new(&parameters, &state).is_err());
    }
}
