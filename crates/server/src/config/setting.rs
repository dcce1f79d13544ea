//! How one value is read from TOML or text and written back, for every type the schema uses.
//!
//! A TOML value and the text of an environment variable or flag go through the same parser of the type,
//! so that both accept the same spellings and give the same errors.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use toml::de::DeValue;

/// A parsed TOML value with its byte range in the source.
pub type TomlValue<'a> = toml::Spanned<DeValue<'a>>;

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong with it and what is expected.
    pub what: String,
    /// How to repair it.
    pub hint: Option<String>,
    /// Where inside the value, when narrower than all of it.
    pub span: Option<Range<usize>>,
}

impl Fault {
    /// A fault about the whole value.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, span: None }
    }

    /// Adds how to repair it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The value has another TOML type than the one expected.
    pub fn wrong_type(expected: &str, found: &DeValue<'_>) -> Self {
        Self::new(format!("expected {expected}, found {}", describe(found)))
    }
}

/// A type that a configuration key can have.
pub trait Setting: Sized + Clone + PartialEq {
    /// Its name for people, with an article where English wants one ("a duration").
    fn kind() -> String;

    /// Reads the text form.
    fn from_text(text: &str) -> Result<Self, Fault>;

    /// Reads a TOML value; types written as TOML strings need only [`Setting::from_text`].
    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::String(text) => Self::from_text(text),
            other => Err(Fault::wrong_type(&Self::kind(), other)),
        }
    }

    /// The value as a TOML literal; `None` when it is unset.
    fn to_toml(&self) -> Option<String>;
}

/// "a string", "the integer 5": what was found, for error messages.
pub fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 40 => format!("the string {}", quote(text)),
        DeValue::String(_) => "a string".into(),
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("the boolean {value}"),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// `text` as a TOML basic string.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Refuses a value outside `range`.
pub fn check_range<T: Setting + PartialOrd>(value: &T, range: &RangeInclusive<T>) -> Result<(), Fault> {
    if range.contains(value) {
        return Ok(());
    }
    let given = value.to_toml().unwrap_or_default();
    Err(Fault::new(format!("{given} is out of range: it must be {}", describe_range(range))))
}

/// "between 1 and 200".
pub fn describe_range<T: Setting>(range: &RangeInclusive<T>) -> String {
    let text = |value: &T| value.to_toml().unwrap_or_default();
    format!("between {} and {}", text(range.start()), text(range.end()))
}

impl Setting for bool {
    fn kind() -> String {
        "true or false".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            other => Err(Fault::new(format!("expected true or false, found {}", quote(other)))),
        }
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(Fault::wrong_type("true or false", other)),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Reads a whole number and checks it against the bounds of its type.
fn whole_number(text: &str, radix: u32, low: u64, high: u64) -> Result<u64, Fault> {
    let digits = text.replace('_', "");
    let out_of_range = || Fault::new(format!("{text} is out of range: it must be between {low} and {high}"));
    match i128::from_str_radix(&digits, radix) {
        Ok(number) => {
            u64::try_from(number).ok().filter(|n| (low..=high).contains(n)).ok_or_else(out_of_range)
        }
        Err(error)
            if matches!(
                error.kind(),
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow
            ) =>
        {
            Err(out_of_range())
        }
        Err(_) => Err(Fault::new(format!("expected a whole number, found {}", quote(text)))),
    }
}

fn whole_number_toml(value: &TomlValue<'_>, low: u64, high: u64) -> Result<u64, Fault> {
    match value.get_ref() {
        DeValue::Integer(number) => whole_number(number.as_str(), number.radix(), low, high),
        DeValue::String(text) if text.parse::<u64>().is_ok() => {
            Err(Fault::wrong_type("a whole number", value.get_ref())
                .hint(format!("write it without quotes: {text}")))
        }
        other => Err(Fault::wrong_type("a whole number", other)),
    }
}

macro_rules! whole_numbers {
    ($($ty:ty: $low:expr, $high:expr, $from:expr;)*) => {$(
        impl Setting for $ty {
            fn kind() -> String {
                "a whole number".into()
            }

            fn from_text(text: &str) -> Result<Self, Fault> {
                let number = whole_number(text, 10, $low, $high)?;
                $from(number).ok_or_else(|| Fault::new(format!("{number} is out of range")))
            }

            fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
                let number = whole_number_toml(value, $low, $high)?;
                $from(number).ok_or_else(|| Fault::new(format!("{number} is out of range")))
            }

            fn to_toml(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

whole_numbers! {
    u8: 0, u64::from(u8::MAX), |n| u8::try_from(n).ok();
    u16: 0, u64::from(u16::MAX), |n| u16::try_from(n).ok();
    u32: 0, u64::from(u32::MAX), |n| u32::try_from(n).ok();
    u64: 0, i64::MAX as u64, Some;
    NonZeroU16: 1, u64::from(u16::MAX), |n| u16::try_from(n).ok().and_then(NonZeroU16::new);
    NonZeroU32: 1, u64::from(u32::MAX), |n| u32::try_from(n).ok().and_then(NonZeroU32::new);
    NonZeroU64: 1, i64::MAX as u64, NonZeroU64::new;
    NonZeroUsize: 1, i64::MAX as u64, |n| usize::try_from(n).ok().and_then(NonZeroUsize::new);
}

impl Setting for String {
    fn kind() -> String {
        "a string".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(self))
    }
}

impl Setting for PathBuf {
    fn kind() -> String {
        "a path".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the path is empty"));
        }
        Ok(Self::from(text))
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&self.to_string_lossy()))
    }
}

/// A key that may be left out.
impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        T::from_text(text).map(Some)
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        T::from_toml(value).map(Some)
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(T::to_toml)
    }
}

/// A list; as text, its items are separated by commas.
impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        format!("a list, each item {}", T::kind())
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::from_text).collect()
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        let DeValue::Array(items) = value.get_ref() else {
            let fault = Fault::wrong_type(&Self::kind(), value.get_ref());
            return Err(match value.get_ref() {
                DeValue::String(text) => fault.hint(format!("write [{}]", quote(text))),
                _ => fault,
            });
        };
        items
            .iter()
            .map(|item| {
                T::from_toml(item).map_err(|mut fault| {
                    fault.span.get_or_insert_with(|| item.span());
                    fault
                })
            })
            .collect()
    }

    fn to_toml(&self) -> Option<String> {
        let items: Vec<_> = self.iter().filter_map(T::to_toml).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// A limit that can be switched off: `"off"` or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    /// No limit.
    Off,
    /// Limited to this.
    At(T),
}

impl<T: Copy> Limit<T> {
    /// The limit, `None` when off.
    pub fn get(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::At(value) => Some(value),
        }
    }
}

impl<T: Setting> Setting for Limit<T> {
    fn kind() -> String {
        format!("{} or \"off\"", T::kind())
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "off" | "0" => Ok(Self::Off),
            text => T::from_text(text).map(Self::At),
        }
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::String(text) if text == "off" => Ok(Self::Off),
            DeValue::Integer(number) if number.as_str() == "0" => Ok(Self::Off),
            DeValue::String(_) | DeValue::Integer(_) => T::from_toml(value).map(Self::At),
            other => Err(Fault::wrong_type(&Self::kind(), other)),
        }
    }

    fn to_toml(&self) -> Option<String> {
        match self {
            Self::Off => Some(quote("off")),
            Self::At(value) => value.to_toml(),
        }
    }
}

/// A value that the server chooses by itself unless it is set: `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    /// Chosen by the server, as the key's documentation says.
    Auto,
    /// Set to this.
    Set(T),
}

impl<T: Setting> Setting for Auto<T> {
    fn kind() -> String {
        format!("{} or \"auto\"", T::kind())
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "auto" => Ok(Self::Auto),
            text => T::from_text(text).map(Self::Set),
        }
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::String(text) if text == "auto" => Ok(Self::Auto),
            DeValue::String(_) | DeValue::Integer(_) => T::from_toml(value).map(Self::Set),
            other => Err(Fault::wrong_type(&Self::kind(), other)),
        }
    }

    fn to_toml(&self) -> Option<String> {
        match self {
            Self::Auto => Some(quote("auto")),
            Self::Set(value) => value.to_toml(),
        }
    }
}
