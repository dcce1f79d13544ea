//! Whether a message may be acted on, by its options.

use super::number::Number;
use super::registry::Format;
use super::view::Options;

/// What the options of a message say about acting on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Every critical option is understood.
    Acceptable,
    /// This critical option is not: it is unknown, has a wrong length, is not the text it should be, or occurs again
    /// though it may not. A Confirmable request is answered with 4.02, any other message rejected (RFC 7252 §5.4.1).
    BadOption(Number),
}

impl Options<'_> {
    /// Judges by the registry of this library, less EDHOC, which it does not implement.
    pub fn judge(self) -> Judgement {
        self.judge_by(|number| number != Number::EDHOC)
    }

    /// Judges by the registry, for one who understands only those of its critical options for which `understood` is
    /// true. This comes before looking for the resource, so that 4.04 and 4.05 cannot mask it.
    pub fn judge_by(self, understood: impl Fn(Number) -> bool) -> Judgement {
        let mut previous = None;
        for (number, value) in self {
            let again = previous == Some(number);
            previous = Some(number);
            if !number.is_critical() {
                continue;
            }
            let acceptable = number.definition().is_some_and(|definition| {
                definition.allows_len(value.len())
                    && (definition.repeatable || !again)
                    && (definition.format != Format::String || core::str::from_utf8(value).is_ok())
            });
            if !acceptable || !understood(number) {
                return Judgement::BadOption(number);
            }
        }
        Judgement::Acceptable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionBuf;

    /// Numbers and values.
    type Sent<'a> = &'a [(u16, &'a [u8])];

    fn judge(options: Sent<'_>) -> Judgement {
        let mut buffer = OptionBuf::new();
        for &(number, value) in options {
            buffer.add(Number(number), value);
        }
        buffer.as_options().judge()
    }

    #[test]
    fn critical_options_must_be_understood() {
        let fine: &[Sent<'_>] = &[
            &[],
            &[(11, b"a"), (11, b"b"), (15, b"x")],
            // Elective: unknown, of a wrong length, repeated.
            &[(10_000, b"")],
            &[(6, &[0; 4])],
            &[(14, &[1]), (14, &[2])],
            &[(1, b""), (1, b"12345678")],
            &[(7, &[0, 80])],
        ];
        for options in fine {
            assert_eq!(judge(options), Judgement::Acceptable, "{options:?}");
        }
        let bad: &[(Sent<'_>, u16)] = &[
            (&[(9999, b"")], 9999),
            (&[(7, &[80]), (7, &[80])], 7),
            (&[(7, &[0, 0, 80])], 7),
            (&[(3, b"")], 3),
            (&[(5, b"1")], 5),
            (&[(11, &[0xFF])], 11),
            (&[(23, &[0; 4])], 23),
            (&[(17, &[0; 3])], 17),
            (&[(21, b"")], 21),
        ];
        for &(options, number) in bad {
            assert_eq!(judge(options), Judgement::BadOption(Number(number)), "{options:?}");
        }
    }

    #[test]
    fn understanding_can_be_narrowed() {
        let mut options = OptionBuf::new();
        options.add(Number::PROXY_URI, b"coap://h");
        let judgement = options.as_options().judge_by(|number| number != Number::PROXY_URI);
        assert_eq!(judgement, Judgement::BadOption(Number::PROXY_URI));
    }
}
