//! The contexts of the server: the file that they come from, and which one is that of a request.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;
use tercet_coap::oscore::{Header, Parameters, UnprotectError, parse_conf};
use tercet_coap::{Message, Number};

use super::security::{Opened, Security, Store};
use crate::auth::FileProblem;

/// All contexts.
#[derive(Default)]
pub struct Contexts {
    all: Vec<Arc<Security>>,
    /// By identifiers of recipients; contexts with different ID Contexts may share one.
    by_kid: HashMap<Box<[u8]>, SmallVec<[Arc<Security>; 1]>>,
}

impl Contexts {
    /// Reads the file. Contexts that were there before go on as they are.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is wrong.
    pub fn load(path: Option<&Path>, before: &Self, store: &Store) -> Result<Self, FileProblem> {
        let Some(path) = path else {
            before.retire_all_but(&Self::default());
            return Ok(Self::default());
        };
        let problem = |line, message: String| FileProblem { path: path.to_owned(), line, message };
        let text =
            fs::read_to_string(path).map_err(|error| problem(None, format!("cannot be read: {error}")))?;
        let all = parse_conf(&text).map_err(|error| problem(Some(error.line), error.what))?;
        let mut contexts = Self::default();
        let mut fresh = Vec::new();
        for parameters in &all {
            let random = random().map_err(|error| problem(None, error.to_string()))?;
            let made =
                Security::new(parameters, random, store).map_err(|error| problem(None, error.to_string()))?;
            if contexts.all.iter().any(|other| other.has_key_of(&made)) {
                return Err(problem(None, "two contexts send with the same key".to_owned()));
            }
            let old = before.all.iter().find(|old| old.is_same(&made)).cloned();
            let security = old.unwrap_or_else(|| {
                let made = Arc::new(made);
                fresh.push(Arc::clone(&made));
                made
            });
            contexts.insert(parameters, security);
        }
        before.retire_all_but(&contexts);
        if let Some(last) = fresh.iter().map(|security| security.begin()).max() {
            store.wait(last);
        }
        Ok(contexts)
    }

    /// Reads a request, with the context that it names.
    ///
    /// # Errors
    /// It is not well-formed, or no context reads it.
    pub fn open(&self, request: &Message<'_>) -> Result<Opened, UnprotectError> {
        let value = request.options.get(Number::OSCORE).ok_or(UnprotectError::Cose)?;
        let header = Header::decode(value)?;
        let kid = header.kid.ok_or(UnprotectError::Cose)?;
        let candidates = self.by_kid.get(kid).ok_or(UnprotectError::NoContext)?;
        let mut outcome = Err(UnprotectError::NoContext);
        // Without an ID Context there may be several.
        for security in candidates.iter().filter(|security| security.fits(&header)) {
            outcome = security.open(request);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn insert(&mut self, parameters: &Parameters, security: Arc<Security>) {
        for id in &parameters.recipient_ids {
            self.by_kid.entry(id.clone().into_boxed_slice()).or_default().push(Arc::clone(&security));
        }
        self.all.push(security);
    }

    fn retire_all_but(&self, kept: &Self) {
        for old in &self.all {
            if !kept.all.iter().any(|security| Arc::ptr_eq(security, old)) {
                old.retire();
            }
        }
    }
}

fn random() -> io::Result<[u64; 2]> {
    let mut bytes = [[0; 8]; 2];
    getrandom::fill(bytes.as_flattened_mut()).map_err(io::Error::other)?;
    Ok(bytes.map(u64::from_ne_bytes))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tercet_broker::event::{Event, EventSink};
    use tercet_broker::hosts::Hosts;
    use tercet_broker::limits::Limits;
    use tercet_broker::metrics::Metrics;
    use tercet_broker::permission::Permissions;
    use tercet_coap::oscore::{Context, Sequence};
    use tercet_coap::{Code, OwnedMessage};

    use super::*;

    struct Nobody;

    impl EventSink for Nobody {
        fn event(&self, _event: Event) {}
    }

    const ONE: &str = "master_secret,ascii,\"one\"\nsender_id,ascii,\"s\"\nrecipient_id,ascii,\"ann\"\n\
                       rfc8613_b_1_2,bool,false\n";
    const OTHER: &str = "master_secret,ascii,\"other\"\nsender_id,ascii,\"s\"\nrecipient_id,ascii,\"bob\"\n";

    /// A file and where numbers are stored: in the table, which outlives contexts.
    struct Files {
        directory: tempfile::TempDir,
        store: Store,
    }

    impl Files {
        fn new() -> Self {
            let hosts = Hosts::new(
                Limits::default(),
                Permissions::allow_all(),
                None,
                Arc::new(Nobody),
                Arc::new(Metrics::default()),
            );
            let store = Store {
                definitions: Arc::clone(hosts.definitions()),
                vhost: Arc::clone(hosts.default_host()),
                is_durable: true,
            };
            Self { directory: tempfile::tempdir().unwrap(), store }
        }

        fn load(&self, text: &str, before: &Contexts) -> Result<Contexts, FileProblem> {
            let path: PathBuf = self.directory.path().join("contexts");
            fs::write(&path, text).unwrap();
            Contexts::load(Some(&path), before, &self.store)
        }
    }

    fn client(secret: &[u8], name: &[u8]) -> Context {
        Context::new(&Parameters::new(secret, name, b"s"), Sequence::volatile()).unwrap()
    }

    fn request(client: &mut Context) -> OwnedMessage {
        client.protect_request(&Message::new(Code::GET)).unwrap().0
    }

    /// The sequence number of a response that must not use the nonce of its request.
    fn number(opened: Opened) -> Option<Vec<u8>> {
        let Opened::Request(_, mut protection, _) = opened else { return None };
        let response = protection.protect(Code::CONTENT, b"", |_| {}).ok()?;
        Header::decode(response.options.as_options().get(Number::OSCORE)?)
            .ok()?
            .partial_iv
            .map(<[u8]>::to_vec)
    }

    #[test]
    fn requests_find_their_context() {
        let files = Files::new();
        let contexts = files.load(&[ONE, OTHER].concat(), &Contexts::default()).unwrap();
        let (mut ann, mut bob) = (client(b"one", b"ann"), client(b"other", b"bob"));
        let asked = request(&mut ann);
        match contexts.open(&asked.as_message()) {
            Ok(Opened::Request(message, _, user)) => assert_eq!((message.code, &*user), (Code::GET, "ann")),
            _ => panic!("not read"),
        }
        assert_eq!(contexts.open(&asked.as_message()).err(), Some(UnprotectError::Replay));
        // The other one has to show first that it is fresh.
        assert!(matches!(contexts.open(&request(&mut bob).as_message()), Ok(Opened::Challenge(_))));
        let strangers = [
            (&b"one"[..], &b"eve"[..], UnprotectError::NoContext),
            (b"x", b"bob", UnprotectError::Decryption),
        ];
        for (secret, name, error) in strangers {
            let asked = request(&mut client(secret, name));
            assert_eq!(contexts.open(&asked.as_message()).err(), Some(error));
        }
    }

    #[test]
    fn a_context_that_stays_goes_on_and_one_that_goes_sends_no_more() {
        let files = Files::new();
        let mut ann = client(b"one", b"ann");
        let mut ask = |contexts: &Contexts| contexts.open(&request(&mut ann).as_message()).unwrap();
        let first = files.load(ONE, &Contexts::default()).unwrap();
        assert_eq!((number(ask(&first)), number(ask(&first))), (Some(vec![0]), Some(vec![1])));
        let second = files.load(&[OTHER, ONE].concat(), &first).unwrap();
        assert_eq!(number(ask(&second)), Some(vec![2]));
        // The same key with one more recipient begins behind all that the old one may have used.
        let kept = ask(&second);
        let third = files.load(&[ONE, "recipient_id,ascii,\"cyd\"\n"].concat(), &second).unwrap();
        assert_eq!(number(ask(&third)), Some(vec![0x10, 0]));
        assert_eq!(number(kept), None);
        // So does a server that starts again.
        let restarted = files.load(ONE, &Contexts::default()).unwrap();
        assert_eq!(number(ask(&restarted)), Some(vec![0x20, 0]));
        let gone = Contexts::load(None, &restarted, &files.store).unwrap();
        assert_eq!(gone.open(&request(&mut ann).as_message()).err(), Some(UnprotectError::NoContext));
    }

    #[test]
    fn mistakes_have_a_place() {
        let files = Files::new();
        let problem = |text: &str| files.load(text, &Contexts::default()).err().map(|p| (p.line, p.message));
        assert_eq!(problem("nonsense\n").unwrap().0, Some(1));
        let twice = problem(&[ONE, "\n", ONE].concat());
        assert_eq!(twice, Some((None, "two contexts send with the same key".to_owned())));
        let missing = Contexts::load(Some(Path::new("/nowhere/at/all")), &Contexts::default(), &files.store);
        assert!(missing.err().unwrap().message.starts_with("cannot be read"));
    }
}
