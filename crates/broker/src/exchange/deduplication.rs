//! Exchanges and queues that take a message once (`x-message-deduplication`).
//!
//! Messages are the same if they have the same value in a header, `x-deduplication-header` unless the argument of that
//! name names another; without it they are never. What
//! has come is remembered by the virtual host's [`crate::duplicates::Duplicates`]: a limited number, the latest, for a limited
//! time if one is said.

use std::num::NonZeroU64;

use tercet_amqp::content;
use tercet_amqp::field::{Table, Value};

use crate::message::{Properties, PropertyEncoding};
use crate::refusal::Refusal;

/// The type of an exchange that does nothing but this, and the argument by which any other does it too.
pub(crate) const DEDUPLICATION: &str = "x-message-deduplication";

const SIZE: &str = "x-cache-size";
const TTL: &str = "x-cache-ttl";
const KEY: &str = "x-deduplication-header";

/// Keys remembered if nothing is said, and at most.
const USUAL_SIZE: usize = 100_000;
const MOST_SIZE: i64 = 1_000_000;

/// Longest key, in bytes: bounds the memory that a client can ask for.
const LONGEST_KEY: usize = 1024;

/// What an exchange or queue remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deduplication {
    /// Keys at a time.
    pub most: usize,
    ttl_ms: Option<u64>,
    /// The header that tells messages apart.
    header: Box<str>,
}

impl Deduplication {
    /// What the arguments of an exchange or queue ask for; nothing, if it takes everything.
    ///
    /// # Errors
    /// 406: an argument is not a positive integer.
    pub(crate) fn parse(always: bool, arguments: &Table<'_>) -> Result<Option<Self>, Refusal> {
        if !always && arguments.get(DEDUPLICATION) != Some(Value::Bool(true)) {
            return Ok(None);
        }
        let positive = |name: &str| match arguments.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64().filter(|number| *number > 0) {
                Some(number) => Ok(Some(number)),
                None => Err(Refusal::precondition_failed(format!(
                    "Invalid argument, '{name}' must be a positive integer"
                ))),
            },
        };
        let most = positive(SIZE)?.map_or(USUAL_SIZE, |size| size.min(MOST_SIZE) as usize);
        let ttl_ms = positive(TTL)?.and_then(|ttl| u64::try_from(ttl).ok());
        let header = match arguments.get(KEY) {
            None => KEY,
            Some(name) => name.as_str().ok_or_else(|| {
                Refusal::precondition_failed(format!("Invalid argument, '{KEY}' must be a text"))
            })?,
        };
        Ok(Some(Self { most, ttl_ms, header: header.into() }))
    }

    /// What tells a message from others, and until when that is to be remembered; `None` for one that is like no other.
    pub(crate) fn key(
        &self,
        properties: Properties<'_>,
        now_ms: u64,
    ) -> Option<(String, Option<NonZeroU64>)> {
        if properties.encoding != PropertyEncoding::Amqp {
            return None;
        }
        let headers = content::Properties::from_bytes(properties.bytes)?.headers().ok().flatten()?;
        let key = match headers.get(&*self.header)? {
            value @ Value::LongStr(_) => value.as_str()?.to_owned(),
            value => value.as_i64()?.to_string(),
        };
        // The message may say for how long itself.
        let own = headers.get(TTL).and_then(|ttl| ttl.as_i64()).and_then(|ttl| u64::try_from(ttl).ok());
        let expires_ms =
            own.or(self.ttl_ms).and_then(|ttl| NonZeroU64::new(now_ms.saturating_add(ttl).max(1)));
        (key.len() <= LONGEST_KEY).then_some((key, expires_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::content::BasicProperties;
    use tercet_amqp::field::TableBuf;

    fn table(fields: &[(&str, Value<'_>)]) -> TableBuf {
        let mut table = TableBuf::new();
        for (name, value) in fields {
            table.put(name, *value).expect("short");
        }
        table
    }

    #[test]
    fn only_what_is_asked_for_is_remembered() {
        let parse = |always, fields: &[(&str, Value<'_>)]| {
            Deduplication::parse(always, &table(fields).as_table()).map_err(|refusal| refusal.text)
        };
        let on = (DEDUPLICATION, Value::Bool(true));
        assert_eq!(parse(false, &[]), Ok(None));
        assert_eq!(parse(false, &[(SIZE, Value::I32(-1))]), Ok(None), "it means nothing there");
        assert_eq!(
            parse(true, &[]),
            Ok(Some(Deduplication { most: USUAL_SIZE, ttl_ms: None, header: KEY.into() }))
        );
        let both = [on, (SIZE, Value::I64(i64::MAX)), (TTL, Value::I32(5)), (KEY, "order".into())];
        let header = "order".into();
        assert_eq!(parse(false, &both), Ok(Some(Deduplication { most: 1_000_000, ttl_ms: Some(5), header })));
        for bad in [(SIZE, Value::I32(0)), (TTL, Value::from("1"))] {
            let text = format!("Invalid argument, '{}' must be a positive integer", bad.0);
            assert_eq!(parse(true, &[bad]), Err(text));
        }
    }

    #[test]
    fn a_key_is_a_text_or_a_number() {
        let rules = Deduplication { most: 1, ttl_ms: Some(10), header: KEY.into() };
        let key = |fields: &[(&str, Value<'_>)]| {
            let headers = table(fields);
            let (mut list, mut bytes) = (Vec::new(), Vec::new());
            let properties =
                BasicProperties { headers: Some(headers.as_table()), ..BasicProperties::default() };
            properties.encode(&mut list).expect("fits").write(&mut bytes);
            rules.key(Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes }, 100)
        };
        let until = NonZeroU64::new;
        assert_eq!(key(&[(KEY, "a".into())]), Some(("a".to_owned(), until(110))));
        assert_eq!(
            key(&[(KEY, Value::I16(-7)), (TTL, Value::I32(500))]),
            Some(("-7".to_owned(), until(600)))
        );
        let long = "x".repeat(LONGEST_KEY + 1);
        for none in [&[][..], &[(KEY, Value::Void)], &[(KEY, long.as_str().into())]] {
            assert_eq!(key(none), None, "{none:?}");
        }
        assert_eq!(rules.key(Properties::NONE, 100), None);
    }
}
