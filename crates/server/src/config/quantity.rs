//! Sizes (`"8MiB"`, `"64k"`, bytes) and durations (`"10s"`, `"1h30m"`, `"500ms"`).

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::setting::{Fault, Setting, TomlValue, quote};

/// A number of bytes.
///
/// Units `k`, `M`, `G`, `T`, also written `KiB`, `MiB`, `GiB`, `TiB`, are powers of 1024; `kB`, `MB`,
/// `GB`, `TB` are powers of 1000. Fractions are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// Units from large to small; the first that divides a size without rest is used to write it.
const SIZE_UNITS: &[(&str, u64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `n` times 1024 bytes.
    pub const fn from_kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` times 1024 * 1024 bytes.
    pub const fn from_mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, as an index type; larger than the address space becomes its end.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn unit(text: &str) -> Option<u64> {
        Some(match text {
            "" | "B" | "b" => 1,
            "k" | "K" | "KiB" | "kib" | "Ki" => 1 << 10,
            "m" | "M" | "MiB" | "mib" | "Mi" => 1 << 20,
            "g" | "G" | "GiB" | "gib" | "Gi" => 1 << 30,
            "t" | "T" | "TiB" | "tib" | "Ti" => 1 << 40,
            "kB" | "KB" | "kb" => 1_000,
            "MB" | "mb" => 1_000_000,
            "GB" | "gb" => 1_000_000_000,
            "TB" | "tb" => 1_000_000_000_000,
            _ => return None,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Setting for Size {
    fn kind() -> String {
        "a size".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let refused = || Fault::new(format!("expected a size such as \"8MiB\", found {}", quote(text)));
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.replace('_', "").parse().map_err(|_| refused())?;
        let unit = Self::unit(unit.trim()).ok_or_else(|| {
            refused().hint("units are k, M, G, T (or KiB ...: powers of 1024) and kB, MB, GB, TB")
        })?;
        let bytes = number.checked_mul(unit).filter(|bytes| *bytes <= i64::MAX as u64);
        bytes.map(Self).ok_or_else(|| Fault::new(format!("{text} is too large for a size")))
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::String(text) => Self::from_text(text),
            DeValue::Integer(_) => u64::from_toml(value).map(Self),
            other => Err(Fault::wrong_type("a size such as \"8MiB\"", other)),
        }
    }

    fn to_toml(&self) -> Option<String> {
        let text = self.to_string();
        Some(if text.ends_with('B') { quote(&text) } else { text })
    }
}

/// Units of a duration, from large to small, in milliseconds.
const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Largest duration accepted: 100 years, far from every overflow of clocks and timers.
const MAX_DURATION_MS: u64 = 100 * 366 * 86_400_000;

/// Writes `duration` as the parser reads it: `1h30m`, `500ms`, `0s`.
pub fn render_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, unit) in DURATION_UNITS {
        if rest >= *unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

fn parse_duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0u64;
    let mut previous_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (name, tail) = tail.split_at(letters);
        let (_, unit) = DURATION_UNITS.iter().find(|(unit, _)| *unit == name)?;
        if *unit >= previous_unit {
            return None;
        }
        previous_unit = *unit;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*unit)?)?;
        rest = tail;
    }
    (previous_unit != u64::MAX).then_some(total)
}

impl Setting for Duration {
    fn kind() -> String {
        "a duration".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let refused = || {
            let fault = Fault::new(format!("expected a duration such as \"10s\", found {}", quote(text)));
            if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
                fault.hint(format!("add the unit: \"{text}s\""))
            } else {
                fault.hint("units are d, h, m, s, ms, from large to small: \"1h30m\"")
            }
        };
        let millis = parse_duration(text).ok_or_else(refused)?;
        if millis > MAX_DURATION_MS {
            return Err(Fault::new(format!("{text} is too long: the longest duration is 100 years")));
        }
        Ok(Self::from_millis(millis))
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::String(text) => Self::from_text(text),
            DeValue::Integer(number) if number.as_str() == "0" => Ok(Self::ZERO),
            DeValue::Integer(number) => {
                let fault = Fault::wrong_type("a duration such as \"10s\"", value.get_ref());
                Err(fault.hint(format!("add the unit: \"{}s\"", number.as_str())))
            }
            other => Err(Fault::wrong_type("a duration such as \"10s\"", other)),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(quote(&render_duration(*self)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "0"),
            ("1500", 1500, "1500"),
            ("1_000", 1000, "1000"),
            ("64k", 65_536, "\"64KiB\""),
            ("64 KiB", 65_536, "\"64KiB\""),
            ("8MiB", 8 << 20, "\"8MiB\""),
            ("1G", 1 << 30, "\"1GiB\""),
            ("2TB", 2_000_000_000_000, "\"1953125000KiB\""),
            ("1kB", 1000, "1000"),
        ] {
            let size = Size::from_text(text).unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_toml().unwrap(), written, "{text}");
        }
        for text in ["", "MiB", "-1", "1.5M", "8 miles", "99999999999999999999", "9999999999T", "1M1k"] {
            assert!(Size::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_and_written() {
        for (text, millis, written) in [
            ("0", 0, "\"0s\""),
            ("500ms", 500, "\"500ms\""),
            ("10s", 10_000, "\"10s\""),
            ("90s", 90_000, "\"1m30s\""),
            ("1h30m", 5_400_000, "\"1h30m\""),
            ("1d2h3m4s5ms", 93_784_005, "\"1d2h3m4s5ms\""),
        ] {
            let duration = Duration::from_text(text).unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(duration.to_toml().unwrap(), written, "{text}");
        }
        for text in
            ["", "10", "s", "10 s", "-1s", "1.5s", "30m1h", "1s1s", "5w", "99999999999999999999s", "99999d"]
        {
            assert!(Duration::from_text(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_size_survives_a_round_trip(bytes in 0..=i64::MAX as u64) {
            let size = Size::from_bytes(bytes);
            prop_assert_eq!(Size::from_text(&size.to_string()).unwrap(), size);
        }

        #[test]
        fn every_duration_survives_a_round_trip(millis in 0..=MAX_DURATION_MS) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(Duration::from_text(&render_duration(duration)).unwrap(), duration);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,24}") {
            let _ = Size::from_text(&text);
            let _ = Duration::from_text(&text);
        }
    }
}
