//! The types of exchanges.

use tercet_amqp::field::{Table, Value};

use crate::exchange::deduplication::{DEDUPLICATION, Deduplication};
use crate::exchange::hashing::HashOn;
use crate::refusal::Refusal;

/// What an exchange does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// Binding key equals routing key.
    Direct,
    /// Everything to everybody.
    Fanout,
    /// Binding keys are patterns of words.
    Topic,
    /// Bindings look at the headers.
    Headers,
    /// One binding by the hash of the routing key or of a header, in proportion to the weights in the binding keys; others
    /// keep what they get when one comes or goes.
    ConsistentHash,
    /// One binding by the hash of the routing key.
    ModulusHash,
    /// One binding at random.
    Random,
    /// The same; its name in a cluster, where it prefers queues nearby.
    LocalRandom,
    /// As fanout, and the latest messages go to whoever binds.
    RecentHistory,
}

/// Header and argument names begin with this for everything that is not in the specification.
const DELAYED: &str = "x-delayed-message";

impl ExchangeKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::RecentHistory,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A type as it is declared: a kind, and whether messages with `x-delay` wait before they are routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeType {
    /// How messages are routed.
    pub kind: ExchangeKind,
    /// Whether it was declared as `x-delayed-message`, with the kind as `x-delayed-type`.
    pub delayed: bool,
    /// Whether it was declared as `x-message-deduplication`, which is a fanout.
    pub deduplicating: bool,
}

impl ExchangeType {
    /// A type of this kind that delays nothing.
    #[must_use]
    pub const fn of(kind: ExchangeKind) -> Self {
        Self { kind, delayed: false, deduplicating: false }
    }

    /// The name it is declared by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.delayed, self.deduplicating) {
            (true, _) => DELAYED,
            (false, true) => DEDUPLICATION,
            (false, false) => self.kind.name(),
        }
    }

    /// The type of this name.
    ///
    /// # Errors
    /// 406 if there is no such type, or if the type that is to be delayed is unknown.
    pub fn parse(name: &str, arguments: &Table<'_>) -> Result<Self, Refusal> {
        if name == DELAYED {
            let inner = arguments.get("x-delayed-type").and_then(|value| value.as_str());
            let kind = inner.and_then(ExchangeKind::from_name).ok_or_else(|| {
                Refusal::precondition_failed(
                    "Invalid argument, 'x-delayed-type' must be an existing exchange type",
                )
            })?;
            return Ok(Self { delayed: true, ..Self::of(kind) });
        }
        if name == DEDUPLICATION {
            return Ok(Self { deduplicating: true, ..Self::of(ExchangeKind::Fanout) });
        }
        let kind = ExchangeKind::from_name(name)
            .ok_or_else(|| Refusal::precondition_failed(format!("unknown exchange type '{name}'")))?;
        Ok(Self::of(kind))
    }

    /// Checks the arguments that this type knows.
    ///
    /// # Errors
    /// 406 in RabbitMQ's words.
    pub fn check(self, arguments: &Table<'_>) -> Result<(), Refusal> {
        Deduplication::parse(self.deduplicating, arguments)?;
        match self.kind {
            ExchangeKind::ConsistentHash => HashOn::parse(arguments).map(drop),
            ExchangeKind::RecentHistory => history_length(arguments).map(drop),
            _ => Ok(()),
        }
    }
}

/// Messages that an exchange with recent history keeps.
///
/// # Errors
/// 406 if the argument is not a positive integer.
pub fn history_length(arguments: &Table<'_>) -> Result<usize, Refusal> {
    const DEFAULT: usize = 20;
    /// Bounds what one exchange can make the server keep.
    const MOST: i64 = 100_000;
    let Some(value) = arguments.get("x-recent-history-length") else { return Ok(DEFAULT) };
    let length = value.as_i64().filter(|length| *length > 0).ok_or_else(|| {
        Refusal::precondition_failed("Invalid argument, 'x-recent-history-length' must be a positive integer")
    })?;
    Ok(usize::try_from(length.min(MOST)).unwrap_or(DEFAULT))
}

/// Text of an argument, if it is there.
///
/// # Errors
/// The name of its type, if that is not text.
pub(crate) fn text_argument<'a>(arguments: &Table<'a>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match arguments.get(name) {
        None => Ok(None),
        Some(value @ Value::LongStr(_)) => value.as_str().map(Some).ok_or("binary"),
        Some(other) => Err(type_name(&other)),
    }
}

/// The name of a value's type, as RabbitMQ's texts have it.
pub(crate) const fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::LongStr(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::Array(_) => "array",
        Value::Timestamp(_) => "timestamp",
        Value::Table(_) => "table",
        Value::Void => "void",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::TableBuf;

    #[test]
    fn types_have_the_names_they_are_declared_by() {
        let none = TableBuf::new();
        for kind in ExchangeKind::ALL {
            let parsed = ExchangeType::parse(kind.name(), &none.as_table());
            assert_eq!(parsed, Ok(ExchangeType::of(kind)));
        }
        let refused = ExchangeType::parse("nope", &none.as_table()).map_err(|refusal| refusal.to_string());
        assert_eq!(refused, Err("PRECONDITION_FAILED - unknown exchange type 'nope'".to_owned()));
    }

    #[test]
    fn a_delayed_exchange_has_the_kind_of_its_argument() {
        let mut arguments = TableBuf::new();
        assert!(ExchangeType::parse(DELAYED, &arguments.as_table()).is_err());
        arguments.put("x-delayed-type", "topic").expect("short");
        let parsed = ExchangeType::parse(DELAYED, &arguments.as_table()).expect("known");
        assert_eq!((parsed.kind, parsed.name()), (ExchangeKind::Topic, DELAYED));
        let mut nested = TableBuf::new();
        nested.put("x-delayed-type", DELAYED).expect("short");
        assert!(ExchangeType::parse(DELAYED, &nested.as_table()).is_err());
    }

    #[test]
    fn the_length_of_a_history_is_a_positive_integer() {
        let with = |value: Value<'_>| {
            let mut arguments = TableBuf::new();
            arguments.put("x-recent-history-length", value).expect("short");
            history_length(&arguments.as_table())
        };
        assert_eq!(history_length(&Table::default()), Ok(20));
        assert_eq!(with(Value::I32(3)), Ok(3));
        assert_eq!(with(Value::I64(i64::MAX)), Ok(100_000));
        for bad in [Value::I32(0), Value::I64(-1), Value::from("3"), Value::F64(3.0)] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }
}
