//! Bindings that look at the headers of a message.

use tercet_amqp::field::{Table, TableBuf, Value};

use crate::refusal::Refusal;

/// How the conditions of a binding go together (`x-match`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// All of them; without any condition everything matches.
    All,
    /// At least one; without any condition nothing matches.
    Any,
}

/// What a binding asks of the headers: its arguments, without those that do not count.
#[derive(Clone, Debug)]
pub(crate) struct HeaderMatch {
    mode: Mode,
    conditions: TableBuf,
}

impl HeaderMatch {
    /// Reads the arguments of a binding.
    ///
    /// # Errors
    /// 406 if `x-match` is none of `all`, `any`, `all-with-x`, `any-with-x`.
    pub(crate) fn parse(arguments: &Table<'_>) -> Result<Self, Refusal> {
        let (mode, with_x) = match arguments.get("x-match") {
            None => (Mode::All, false),
            Some(Value::LongStr(text)) => match text {
                b"all" => (Mode::All, false),
                b"any" => (Mode::Any, false),
                b"all-with-x" => (Mode::All, true),
                b"any-with-x" => (Mode::Any, true),
                other => {
                    return Err(Refusal::precondition_failed(format!(
                        "Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, or any-with-x",
                        String::from_utf8_lossy(other)
                    )));
                }
            },
            Some(other) => {
                return Err(Refusal::precondition_failed(format!(
                    "Invalid x-match field type {} (value {}); expected longstr",
                    super::kind::type_name(&other),
                    super::equivalence::shown(&other)
                )));
            }
        };
        let counts = |name: &[u8]| name != b"x-match" && (with_x || !name.starts_with(b"x-"));
        let mut conditions = TableBuf::new();
        for (name, value) in arguments.iter().filter(|(name, _)| counts(name)) {
            // What was decoded can be encoded.
            let _ = conditions.put(name, value);
        }
        Ok(Self { mode, conditions })
    }

    /// Whether headers are as the binding asks.
    pub(crate) fn matches(&self, headers: &Table<'_>) -> bool {
        let conditions = self.conditions.as_table();
        let holds = |(name, wanted): (&[u8], Value<'_>)| {
            headers.get(name).is_some_and(|found| wanted == Value::Void || is_same(&wanted, &found))
        };
        match self.mode {
            Mode::All => conditions.iter().all(holds),
            Mode::Any => conditions.iter().any(holds),
        }
    }
}

/// Whether two values are the same, whatever the width of integers; a float is no integer.
pub(crate) fn is_same(a: &Value<'_>, b: &Value<'_>) -> bool {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a == b;
    }
    match (*a, *b) {
        (Value::F32(a), Value::F64(b)) | (Value::F64(b), Value::F32(a)) => f64::from(a) == b,
        (Value::LongStr(a) | Value::Bytes(a), Value::LongStr(b) | Value::Bytes(b)) => a == b,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(fields: &[(&str, Value<'_>)]) -> TableBuf {
        let mut table = TableBuf::new();
        for (name, value) in fields {
            table.put(name, *value).expect("short");
        }
        table
    }

    fn matches(binding: &[(&str, Value<'_>)], headers: &[(&str, Value<'_>)]) -> bool {
        let binding = HeaderMatch::parse(&table(binding).as_table()).expect("valid");
        binding.matches(&table(headers).as_table())
    }

    #[test]
    fn the_four_ways_to_match() {
        let (one, two) = (("a", Value::I32(1)), ("b", Value::I32(2)));
        let (x, other) = (("x-c", Value::I32(3)), ("a", Value::I32(9)));
        let mode = |text: &'static str| ("x-match", Value::from(text));
        let headers = [one, two];
        for (binding, expected) in [
            (vec![one, two], true),
            (vec![one, ("c", Value::I32(1))], false),
            (vec![mode("all"), one, two], true),
            (vec![mode("all"), one, x], true),
            (vec![mode("all-with-x"), one, x], false),
            (vec![mode("any"), other, two], true),
            (vec![mode("any"), other], false),
            (vec![mode("any"), x], false),
            (vec![mode("any-with-x"), x], false),
            (vec![mode("all")], true),
            (vec![], true),
            (vec![mode("any")], false),
            (vec![mode("all-with-x")], true),
            (vec![mode("any-with-x")], false),
        ] {
            assert_eq!(matches(&binding, &headers), expected, "{binding:?}");
        }
        assert!(matches(&[mode("any-with-x"), x], &[x]));
        assert!(matches(&[mode("all-with-x"), one, x], &[one, x]));
    }

    #[test]
    fn values_are_compared_by_value() {
        for (wanted, found, expected) in [
            (Value::I16(5), Value::I64(5), true),
            (Value::U8(5), Value::U32(5), true),
            (Value::I32(5), Value::F64(5.0), false),
            (Value::I32(5), Value::from("5"), false),
            (Value::F32(0.5), Value::F64(0.5), true),
            (Value::Void, Value::from("anything"), true),
            (Value::Bool(true), Value::Bool(false), false),
            (Value::from("a"), Value::from("A"), false),
        ] {
            assert_eq!(matches(&[("k", wanted)], &[("k", found)]), expected, "{wanted:?} {found:?}");
        }
        assert!(!matches(&[("k", Value::Void)], &[("l", Value::Void)]), "it has to be there");
    }

    #[test]
    fn any_other_x_match_is_refused() {
        let parse = |value: Value<'_>| {
            HeaderMatch::parse(&table(&[("x-match", value)]).as_table()).map(drop).map_err(|e| e.text)
        };
        assert_eq!(
            parse(Value::from("some")).unwrap_err(),
            "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"
        );
        assert_eq!(
            parse(Value::I32(1)).unwrap_err(),
            "Invalid x-match field type signedint (value 1); expected longstr"
        );
    }

    fn field() -> impl Strategy<Value = (String, Option<i64>)> {
        ("(x-)?[ab]{1,2}", prop::option::weighted(0.8, 0_i64..3))
    }

    fn built(fields: &[(String, Option<i64>)]) -> TableBuf {
        let mut table = TableBuf::new();
        for (name, value) in fields {
            table.put(name, value.map_or(Value::Void, Value::I64)).expect("short");
        }
        table
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_reading_of_the_rules(
            binding in prop::collection::vec(field(), 0..4),
            headers in prop::collection::vec(field(), 0..5),
            any in any::<bool>(),
            with_x in any::<bool>(),
        ) {
            let mut arguments = built(&binding);
            let mode = format!("{}{}", if any { "any" } else { "all" }, if with_x { "-with-x" } else { "" });
            arguments.put("x-match", mode.as_str()).expect("short");
            let parsed = HeaderMatch::parse(&arguments.as_table()).expect("valid");
            let counted = binding.iter().filter(|(name, _)| with_x || !name.starts_with("x-"));
            let mut holds = counted.map(|(name, wanted)| {
                let found = headers.iter().find(|(header, _)| header == name).map(|(_, value)| value);
                found.is_some_and(|found| wanted.is_none() || wanted == found)
            });
            let expected = if any { holds.any(|holds| holds) } else { holds.all(|holds| holds) };
            prop_assert_eq!(parsed.matches(&built(&headers).as_table()), expected);
        }
    }
}
