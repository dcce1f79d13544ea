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
        fresh.iter().for_each(|security| security.begin());
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
