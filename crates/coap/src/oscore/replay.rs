//! The window of sequence numbers that were received (RFC 8613 §7.4).

/// Which of the last numbers were seen. Looking comes before decryption, taking note after it, so that nobody without
/// the key can move the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplayWindow {
    /// The highest number seen.
    highest: Option<u64>,
    /// Bit n: `highest - n` was seen.
    seen: u64,
    /// How many numbers are told apart, 1 to 64.
    size: u8,
}

impl ReplayWindow {
    pub(super) const fn new(size: u8) -> Self {
        Self { highest: None, seen: 0, size }
    }

    /// The number is new, as far as can be told.
    pub(super) const fn is_new(&self, number: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        if number > highest {
            return true;
        }
        let behind = highest - number;
        behind < self.size as u64 && self.seen & 1 << behind == 0
    }

    /// Takes note of a number.
    pub(super) fn take(&mut self, number: u64) {
        let highest = self.highest.unwrap_or(number);
        if number >= highest {
            self.seen =
                u32::try_from(number - highest).ok().and_then(|by| self.seen.checked_shl(by)).unwrap_or(0)
                    | 1;
            self.highest = Some(number);
        } else if highest - number < 64 {
            self.seen |= 1 << (highest - number);
        }
    }

    /// Begins at a number: it and all before count as seen.
    pub(super) fn begin_at(&mut self, number: u64) {
        self.highest = Some(number);
        self.seen = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_once() {
        let mut window = ReplayWindow::new(32);
        for (number, is_new) in [
            (5, true),
            (5, false),
            (4, true),
            (4, false),
            (0, true),
            (36, true),
            (4, false),
            (5, false),
            (6, true),
            (100, true),
            (68, false),
            (69, true),
            (69, false),
            (36, false),
            (1 << 39, true),
            (100, false),
            ((1 << 39) - 31, true),
            ((1 << 39) - 32, false),
        ] {
            assert_eq!(window.is_new(number), is_new, "{number}");
            if is_new {
                window.take(number);
            }
        }
    }

    #[test]
    fn a_window_may_begin_anywhere() {
        let mut window = ReplayWindow::new(32);
        window.begin_at(1000);
        assert!(!window.is_new(1000) && !window.is_new(999) && window.is_new(1001));
        window.take(1001);
        assert!(!window.is_new(1000) && !window.is_new(1001) && window.is_new(1002));
    }
}
