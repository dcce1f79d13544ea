//! Where a consumer of a stream stands, and what of the stream it wants.

use smallvec::SmallVec;
use tercet_amqp::content;
use tercet_amqp::field::{Table, Value};

use crate::clock::Now;
use crate::message::{Message, PropertyEncoding};
use crate::refusal::Refusal;

/// Arguments of basic.consume.
const OFFSET: &str = "x-stream-offset";
const FILTER: &str = "x-stream-filter";
const UNFILTERED: &str = "x-stream-match-unfiltered";
/// The header that filters look at.
const FILTER_VALUE: &str = "x-stream-filter-value";

/// Values that a filter may have: bounds the work for each message.
const MOST_VALUES: usize = 256;

/// Where a consumer begins (`x-stream-offset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::named_queue) enum Start {
    /// With the oldest message there is.
    First,
    /// With the last one.
    Last,
    /// With the next one to come.
    Next,
    /// With the one of this offset, or the next there is.
    Offset(u64),
    /// With the first one that came at this time or later, UTC milliseconds.
    Time(u64),
}

impl Start {
    /// What the arguments of basic.consume say.
    ///
    /// # Errors
    /// The value, if it says nothing.
    fn parse<'a>(arguments: &Table<'a>, now: Now) -> Result<Self, Value<'a>> {
        let Some(value) = arguments.get(OFFSET) else { return Ok(Self::Next) };
        let start = match value {
            Value::Timestamp(seconds) => Some(Self::Time(seconds.saturating_mul(1000))),
            Value::LongStr(b"first") => Some(Self::First),
            Value::LongStr(b"last") => Some(Self::Last),
            Value::LongStr(b"next") => Some(Self::Next),
            Value::LongStr(_) => {
                let interval = value.as_str().and_then(crate::policy::max_age_ms);
                interval.map(|ms| Self::Time(now.utc_ms.saturating_sub(ms)))
            }
            _ => value.as_i64().and_then(|offset| u64::try_from(offset).ok()).map(Self::Offset),
        };
        start.ok_or(value)
    }
}

/// Which messages a consumer wants (`x-stream-filter`).
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    values: SmallVec<[Box<[u8]>; 1]>,
    /// Whether those without a value are wanted as well.
    unfiltered: bool,
}

impl Filter {
    fn parse(arguments: &Table<'_>) -> Result<Option<Self>, &'static str> {
        let values = match arguments.get(FILTER) {
            None => return Ok(None),
            Some(Value::LongStr(value)) => SmallVec::from_iter([Box::from(value)]),
            Some(Value::Array(values)) => {
                let texts = values.iter().map(|value| match value {
                    Value::LongStr(text) => Some(Box::from(text)),
                    _ => None,
                });
                texts.take(MOST_VALUES + 1).collect::<Option<SmallVec<_>>>().ok_or(FILTER)?
            }
            Some(_) => return Err(FILTER),
        };
        if values.is_empty() || values.len() > MOST_VALUES {
            return Err(FILTER);
        }
        let unfiltered = match arguments.get(UNFILTERED) {
            None => false,
            Some(Value::Bool(unfiltered)) => unfiltered,
            Some(_) => return Err(UNFILTERED),
        };
        Ok(Some(Self { values, unfiltered }))
    }

    fn matches(&self, message: &Message) -> bool {
        let properties = match message.encoding {
            PropertyEncoding::Amqp => content::Properties::from_bytes(&message.properties),
            PropertyEncoding::None | PropertyEncoding::Mqtt5 | PropertyEncoding::Coap => None,
        };
        let headers = properties.and_then(|properties| properties.headers().ok().flatten());
        match headers.and_then(|headers| headers.get(FILTER_VALUE)) {
            Some(Value::LongStr(value)) => self.values.iter().any(|wanted| **wanted == *value),
            _ => self.unfiltered,
        }
    }
}

/// What a consumer asks of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::named_queue) struct Request {
    pub start: Start,
    filter: Option<Filter>,
}

impl Request {
    /// What the arguments of basic.consume ask for. `what` names the queue for texts.
    ///
    /// # Errors
    /// 406: an argument says nothing.
    pub(in crate::named_queue) fn parse(
        arguments: &Table<'_>,
        what: &str,
        now: Now,
    ) -> Result<Self, Refusal> {
        let invalid =
            |name: &str| Refusal::precondition_failed(format!("invalid arg '{name}' for consumer of {what}"));
        Ok(Self {
            start: Start::parse(arguments, now).map_err(|_| invalid(OFFSET))?,
            filter: Filter::parse(arguments).map_err(invalid)?,
        })
    }
}

/// A consumer's place in a stream.
#[derive(Debug)]
pub(in crate::named_queue) struct Reader {
    /// The offset of the message it looks at next.
    pub next: u64,
    /// It wants nothing that came before, UTC milliseconds; until the first one that came later was met.
    from_ms: Option<u64>,
    filter: Option<Filter>,
}

impl Reader {
    /// A reader that begins at `next`.
    pub(in crate::named_queue) fn new(next: u64, request: Request) -> Self {
        let from_ms = match request.start {
            Start::Time(ms) => Some(ms),
            _ => None,
        };
        Self { next, from_ms, filter: request.filter }
    }

    /// Whether it wants a message that it has come to.
    pub(in crate::named_queue) fn wants(&mut self, message: &Message) -> bool {
        if self.from_ms.is_some_and(|from_ms| message.ingress_ms < from_ms) {
            return false;
        }
        self.from_ms = None;
        self.filter.as_ref().is_none_or(|filter| filter.matches(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::{ArrayBuf, TableBuf};

    fn parse(arguments: &[(&str, Value<'_>)], now: Now) -> Result<Request, String> {
        let mut table = TableBuf::new();
        for (name, value) in arguments {
            table.put(name, *value).expect("short");
        }
        Request::parse(&table.as_table(), "queue 's'", now).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_consumer_begins_where_its_argument_says() {
        let now = Now::read();
        let hour_ago = now.utc_ms - 3_600_000;
        let started = |value: Option<Value<'_>>| {
            parse(&value.map(|value| (OFFSET, value)).into_iter().collect::<Vec<_>>(), now)
                .map(|request| request.start)
        };
        for (value, start) in [
            (None, Start::Next),
            (Some("first".into()), Start::First),
            (Some("last".into()), Start::Last),
            (Some("next".into()), Start::Next),
            (Some(Value::I64(17)), Start::Offset(17)),
            (Some(Value::I16(0)), Start::Offset(0)),
            (Some(Value::Timestamp(12)), Start::Time(12_000)),
            (Some("1h".into()), Start::Time(hour_ago)),
        ] {
            assert_eq!(started(value), Ok(start), "{value:?}");
        }
        for value in ["latest".into(), "1w".into(), Value::I64(-1), Value::Bool(true), Value::F64(1.0)] {
            let error = "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for consumer of queue 's'";
            assert_eq!(started(Some(value)), Err(error.to_owned()), "{value:?}");
        }
    }

    #[test]
    fn a_filter_is_a_text_or_several() {
        let now = Now::read();
        let mut texts = ArrayBuf::new();
        texts.push("a").expect("short").push("b").expect("short");
        let mut mixed = ArrayBuf::new();
        mixed.push("a").expect("short").push(1).expect("short");
        assert!(parse(&[(FILTER, "a".into())], now).is_ok_and(|request| request.filter.is_some()));
        let both = [(FILTER, texts.as_array().into()), (UNFILTERED, Value::Bool(true))];
        let filter = parse(&both, now).expect("valid").filter.expect("there");
        assert_eq!((filter.values.len(), filter.unfiltered), (2, true));
        for bad in [
            &[(FILTER, mixed.as_array().into())][..],
            &[(FILTER, ArrayBuf::new().as_array().into())],
            &[(FILTER, Value::I32(1))],
            &[(FILTER, "a".into()), (UNFILTERED, "yes".into())],
        ] {
            assert!(parse(bad, now).is_err(), "{bad:?}");
        }
    }
}
