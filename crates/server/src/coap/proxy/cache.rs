//! Answers that may be given again (RFC 7252 §5.6).

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use tercet_coap::{Code, Number, OptionBuf};

use super::target::Target;
use crate::coap::response::Response;

/// What two requests must have in common for the same answer: RFC 7252 §5.6, RFC 8132 §2.2 for the payload of FETCH.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    uri: String,
    method: u8,
    options: Vec<u8>,
    payload: Vec<u8>,
}

/// Responses 2.05, the oldest forgotten first when there are too many bytes.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// Each key once, the oldest entry first.
    order: VecDeque<Key>,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    response: Response,
    stored: Instant,
    fresh_for: u32,
}

/// What the cache knows about a request.
#[derive(Debug)]
pub(super) enum Found {
    /// This answer.
    Fresh(Response),
    /// An answer that the server may confirm by its ETag.
    Stale(Vec<u8>),
    /// Nothing.
    Nothing,
}

/// Max-Age of a response that does not say (RFC 7252 §5.10.5).
const FRESH_FOR: u32 = 60;
/// What an entry takes beside its text and body.
const OVERHEAD: usize = 256;

impl Key {
    /// The key of a request; `None` when its answer cannot be used again.
    pub(super) fn of(target: &Target) -> Option<Self> {
        let message = &target.message;
        let is_conditional = [Number::ETAG, Number::IF_MATCH, Number::IF_NONE_MATCH, Number::OSCORE]
            .iter()
            .any(|number| message.options.as_options().contains(*number));
        if !matches!(message.code, Code::GET | Code::FETCH) || is_conditional {
            return None;
        }
        let mut options = OptionBuf::new();
        for (number, value) in message.options.as_options() {
            if number.is_cache_key() && number != Number::HOP_LIMIT {
                options.add(number, value);
            }
        }
        Some(Key {
            uri: target.uri.to_string(),
            method: message.code.0,
            options: options.as_options().as_bytes().to_vec(),
            payload: message.payload.clone(),
        })
    }

    fn size(&self) -> usize {
        2 * (self.uri.len() + self.options.len() + self.payload.len()) + OVERHEAD
    }
}

impl Cache {
    /// A cache of at most `most` bytes; none with 0.
    pub(super) fn new(most: usize) -> Self {
        Cache { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, most }
    }

    pub(super) fn find(&self, key: &Key, now: Instant) -> Found {
        let Some(entry) = self.entries.get(key) else { return Found::Nothing };
        let age = u32::try_from(now.saturating_duration_since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        match entry.fresh_for.checked_sub(age).filter(|left| *left > 0) {
            Some(left) => Found::Fresh(entry.response.clone().fresh_for(left)),
            None => etag(&entry.response).map_or(Found::Nothing, |etag| Found::Stale(etag.to_vec())),
        }
    }

    /// Keeps a response, if it may be kept.
    pub(super) fn store(&mut self, key: Key, response: &Response, now: Instant) {
        let fresh_for = response.max_age.unwrap_or(FRESH_FOR);
        let size = key.size() + response.body.as_bytes().len();
        self.remove(&key);
        if response.code != Code::CONTENT || fresh_for == 0 || size > self.most {
            return;
        }
        while self.bytes + size > self.most {
            let Some(oldest) = self.order.front().cloned() else { return };
            self.remove(&oldest);
        }
        self.bytes += size;
        self.order.push_back(key.clone());
        self.entries.insert(key, Entry { response: response.clone(), stored: now, fresh_for });
    }

    /// The server confirmed what is kept (2.03), for as long as it says now.
    pub(super) fn confirm(&mut self, key: &Key, max_age: Option<u32>, now: Instant) -> Option<Response> {
        let entry = self.entries.get_mut(key)?;
        (entry.stored, entry.fresh_for) = (now, max_age.unwrap_or(FRESH_FOR));
        Some(entry.response.clone().fresh_for(entry.fresh_for))
    }

    /// Forgets what is known of a URI: something was done to it.
    pub(super) fn invalidate(&mut self, uri: &str) {
        let of_uri: Vec<Key> = self.entries.keys().filter(|key| key.uri == uri).cloned().collect();
        of_uri.iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.bytes -= key.size() + entry.response.body.as_bytes().len();
        self.order.retain(|kept| kept != key);
    }
}

/// The ETag of a response from another server, which is among its further options.
pub(super) fn etag(response: &Response) -> Option<&[u8]> {
    let found = response.options.iter().find(|(number, _)| *number == Number::ETAG);
    found.map(|(_, value)| value.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::proxy::policy::Allowed;
    use std::time::Duration;

    use tercet_coap::{ContentFormat, OwnedMessage};

    fn key(method: Code, uri: &str, options: &[(Number, u32)]) -> Option<Key> {
        let mut message = OwnedMessage::new(method);
        for (number, value) in options {
            message.set_uint(*number, *value);
        }
        Key::of(&Target { uri: uri.parse().unwrap(), allowed: Allowed::Named, message })
    }

    fn content(body: &'static str) -> Response {
        Response::content(ContentFormat::TEXT, body)
    }

    #[test]
    fn what_is_fresh_is_given_again_and_ages() {
        let mut cache = Cache::new(10_000);
        let now = Instant::now();
        let key = key(Code::GET, "coap://h/a", &[]).unwrap();
        cache.store(key.clone(), &content("x"), now);
        let later = |seconds| now + Duration::from_secs(seconds);
        let Found::Fresh(response) = cache.find(&key, later(20)) else { panic!("nothing") };
        assert_eq!((response.max_age, response.body.as_bytes()), (Some(40), &b"x"[..]));
        assert!(matches!(cache.find(&key, later(60)), Found::Nothing));
        cache.store(key.clone(), &content("x").with(Number::ETAG, &b"e"[..]).fresh_for(5), now);
        assert!(matches!(cache.find(&key, later(5)), Found::Stale(etag) if etag == b"e"));
        assert_eq!(cache.confirm(&key, None, later(5)).unwrap().max_age, Some(60));
        assert!(matches!(cache.find(&key, later(6)), Found::Fresh(_)));
        cache.invalidate("coap://h/a");
        assert!(matches!(cache.find(&key, later(6)), Found::Nothing));
    }

    #[test]
    fn keys_differ_by_what_the_answer_depends_on() {
        let plain = key(Code::GET, "coap://h/a", &[]);
        assert_ne!(plain, key(Code::GET, "coap://h/b", &[]));
        assert_ne!(plain, key(Code::FETCH, "coap://h/a", &[]));
        assert_ne!(plain, key(Code::GET, "coap://h/a", &[(Number::ACCEPT, 50)]));
        // NoCacheKey and hops make no difference.
        assert_eq!(plain, key(Code::GET, "coap://h/a", &[(Number::HOP_LIMIT, 3)]));
        for unusable in
            [key(Code::PUT, "coap://h/a", &[]), key(Code::GET, "coap://h/a", &[(Number::ETAG, 1)])]
        {
            assert_eq!(unusable, None);
        }
    }

    #[test]
    fn memory_is_bounded_and_what_may_not_be_kept_is_not() {
        let mut cache = Cache::new(1000);
        let now = Instant::now();
        let keys: Vec<Key> = (0..9).filter_map(|at| key(Code::GET, &format!("coap://h/{at}"), &[])).collect();
        keys.iter().for_each(|key| cache.store(key.clone(), &content("x"), now));
        assert!(cache.bytes <= 1000 && cache.entries.len() == cache.order.len());
        assert!(matches!(cache.find(&keys[0], now), Found::Nothing));
        assert!(matches!(cache.find(&keys[8], now), Found::Fresh(_)));
        cache.store(keys[8].clone(), &content("x").fresh_for(0), now);
        assert!(matches!(cache.find(&keys[8], now), Found::Nothing));
        cache.store(keys[7].clone(), &Response::new(Code::NOT_FOUND), now);
        assert!(matches!(cache.find(&keys[7], now), Found::Nothing));
        assert!(keys.iter().map(Key::size).sum::<usize>() > cache.bytes);
    }
}
