//! As much of a JSON reader (RFC 8259) as SenML needs: strict, and bounded in depth.

use alloc::borrow::Cow;
use alloc::string::String;

use super::SenmlError;

/// How deep values that are passed over may nest.
const DEPTH_MAX: u32 = 16;

/// Reads JSON from the front.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    /// Takes a byte that is next behind any space.
    pub(super) fn accept(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), SenmlError> {
        if self.accept(wanted) { Ok(()) } else { Err(SenmlError::Syntax) }
    }

    /// Reads entries between brackets that are separated by commas.
    pub(super) fn list(
        &mut self,
        open: u8,
        close: u8,
        mut entry: impl FnMut(&mut Self) -> Result<(), SenmlError>,
    ) -> Result<(), SenmlError> {
        self.expect(open)?;
        if self.accept(close) {
            return Ok(());
        }
        loop {
            entry(self)?;
            if !self.accept(b',') {
                return self.expect(close);
            }
        }
    }

    pub(super) fn bool(&mut self) -> Result<bool, SenmlError> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            _ => self.word("false").map(|()| false),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), SenmlError> {
        if !self.rest().starts_with(word) {
            return Err(SenmlError::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn number(&mut self) -> Result<f64, SenmlError> {
        self.peek();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
        let (text, _) = rest.split_at(end);
        if !is_number(text) {
            return Err(SenmlError::Syntax);
        }
        self.at += end;
        let number: f64 = text.parse().map_err(|_| SenmlError::Syntax)?;
        if number.is_finite() { Ok(number) } else { Err(SenmlError::Number) }
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, SenmlError> {
        self.expect(b'"')?;
        let plain = self.plain();
        if self.rest().starts_with('"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut out = String::from(plain);
        loop {
            match self.byte()? {
                b'"' => return Ok(Cow::Owned(out)),
                b'\\' => out.push(self.escape()?),
                _ => return Err(SenmlError::Syntax),
            }
            out.push_str(self.plain());
        }
    }

    /// Characters up to a quote, an escape or what a string cannot have.
    fn plain(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
        self.at += end;
        rest.split_at(end).0
    }

    fn byte(&mut self) -> Result<u8, SenmlError> {
        let byte = self.text.as_bytes().get(self.at).copied().ok_or(SenmlError::Syntax)?;
        self.at += 1;
        Ok(byte)
    }

    fn escape(&mut self) -> Result<char, SenmlError> {
        Ok(match self.byte()? {
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            c @ (b'"' | b'\\' | b'/') => char::from(c),
            b'u' => {
                let first = self.hex4()?;
                if (0xD800..0xDC00).contains(&first) {
                    if (self.byte()?, self.byte()?) != (b'\\', b'u') {
                        return Err(SenmlError::Syntax);
                    }
                    let second = self.hex4()?;
                    if !(0xDC00..0xE000).contains(&second) {
                        return Err(SenmlError::Syntax);
                    }
                    let c = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                    char::from_u32(c).ok_or(SenmlError::Syntax)?
                } else {
                    char::from_u32(first).ok_or(SenmlError::Syntax)?
                }
            }
            _ => return Err(SenmlError::Syntax),
        })
    }

    fn hex4(&mut self) -> Result<u32, SenmlError> {
        (0..4).try_fold(0, |sum, _| {
            let digit = char::from(self.byte()?).to_digit(16).ok_or(SenmlError::Syntax)?;
            Ok(sum << 4 | digit)
        })
    }

    /// Passes over any value.
    pub(super) fn skip(&mut self) -> Result<(), SenmlError> {
        self.skip_at(DEPTH_MAX)
    }

    fn skip_at(&mut self, depth: u32) -> Result<(), SenmlError> {
        let below = depth.checked_sub(1).ok_or(SenmlError::Syntax)?;
        match self.peek() {
            Some(b'{') => self.list(b'{', b'}', |reader| {
                reader.string()?;
                reader.expect(b':')?;
                reader.skip_at(below)
            }),
            Some(b'[') => self.list(b'[', b']', |reader| reader.skip_at(below)),
            Some(b'"') => self.string().map(drop),
            Some(b't' | b'f') => self.bool().map(drop),
            Some(b'n') => self.word("null"),
            _ => self.number().map(drop),
        }
    }
}

/// The grammar of RFC 8259 §6.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    digits(integer)
        && (integer == "0" || !integer.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
