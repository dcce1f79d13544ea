//! Option numbers and what can be read from them alone.

use core::fmt;

use super::registry::{self, Definition};

/// The number of an option. Its lowest bits say how to treat it when it is not known (RFC 7252 §5.4.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u16);

impl Number {
    /// What the registry says about the option; `None` when it does not know it.
    #[inline]
    pub fn definition(self) -> Option<&'static Definition> {
        registry::lookup(self)
    }

    /// Who does not understand the option must not act on the message.
    #[inline]
    pub const fn is_critical(self) -> bool {
        self.0 & 1 != 0
    }

    /// A proxy that does not understand the option must not forward it (RFC 7252 §5.4.2).
    #[inline]
    pub const fn is_unsafe(self) -> bool {
        self.0 & 2 != 0
    }

    /// The option is part of a cache key: it is safe to forward and not marked NoCacheKey.
    #[inline]
    pub const fn is_cache_key(self) -> bool {
        !self.is_unsafe() && self.0 & 0x1E != 0x1C
    }

    /// One of the numbers that are kept for more Location options: a 2.01 that carries one has a location that this
    /// library cannot tell (RFC 7252 §5.10.7).
    pub const fn is_reserved_location(self) -> bool {
        matches!(self.0, 128 | 132 | 136 | 140)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.definition() {
            Some(definition) => f.write_str(definition.name),
            None => write!(f, "option {}", self.0),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn bits() {
        let bits = |n: Number| (n.is_critical(), n.is_unsafe(), n.is_cache_key());
        assert_eq!(bits(Number::IF_MATCH), (true, false, true));
        assert_eq!(bits(Number::URI_PATH), (true, true, false));
        assert_eq!(bits(Number::SIZE1), (false, false, false));
        assert_eq!(bits(Number::ECHO), (false, false, false));
        assert_eq!(bits(Number::ACCEPT), (true, false, true));
        assert_eq!(bits(Number::NO_RESPONSE), (false, true, false));
        assert_eq!(bits(Number::REQUEST_TAG), (false, false, true));
    }

    #[test]
    fn text() {
        assert_eq!(format!("{} {:?}", Number::URI_PATH, Number(9999)), "Uri-Path option 9999 (9999)");
    }
}
