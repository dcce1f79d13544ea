//! The notation of the malformed packet table: hexadecimal bytes with a little help, so that a case shows what is
//! wrong instead of hiding it among lengths.
//!
//! | written | meaning |
//! |---|---|
//! | `10 00ff` | bytes |
//! | `'abc'` | the text's bytes |
//! | `"abc"` | the text with its two byte length before it |
//! | `( ... )` | the content with its variable byte integer length before it |
//! | `2f*65400`, `'ab'*3`, `( ... )*2` | what stands before the star, repeated |

/// Reads the notation.
///
/// # Panics
/// If it is not well-formed; the text says where.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let mut reader = Reader { text, rest: text };
    let out = reader.sequence(false);
    assert!(reader.rest.is_empty(), "unbalanced parentheses in {text}");
    out
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn sequence(&mut self, nested: bool) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else {
                assert!(!nested, "a parenthesis is open in {}", self.text);
                return out;
            };
            let item = match first {
                ')' if nested => {
                    self.rest = &self.rest[1..];
                    return out;
                }
                '(' => {
                    self.rest = &self.rest[1..];
                    let body = self.sequence(true);
                    let mut item = Vec::new();
                    crate::property::write_variable(u32::try_from(body.len()).unwrap(), &mut item);
                    item.extend_from_slice(&body);
                    item
                }
                '"' => {
                    let mut item = Vec::new();
                    crate::property::write_string(self.quoted('"').as_bytes(), &mut item);
                    item
                }
                '\'' => self.quoted('\'').into_bytes(),
                _ => vec![self.byte()],
            };
            let times = self.times();
            for _ in 0..times {
                out.extend_from_slice(&item);
            }
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        let body = &self.rest[1..];
        let end = body.find(quote).unwrap_or_else(|| panic!("a quote is open in {}", self.text));
        self.rest = &body[end + 1..];
        body[..end].to_owned()
    }

    fn byte(&mut self) -> u8 {
        let digits = self.rest.get(..2).unwrap_or_else(|| panic!("half a byte at the end of {}", self.text));
        self.rest = &self.rest[2..];
        u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{digits:?} is no byte in {}", self.text))
    }

    fn times(&mut self) -> usize {
        let Some(rest) = self.rest.strip_prefix('*') else { return 1 };
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        rest[..end].parse().unwrap_or_else(|_| panic!("no count after a star in {}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn reads_what_it_promises() {
        assert_eq!(bytes("10 00ff"), [0x10, 0, 0xff]);
        assert_eq!(bytes("'ab' \"c\""), [b'a', b'b', 0, 1, b'c']);
        assert_eq!(bytes("30 (\"t\" (01 00) 'x')"), [0x30, 7, 0, 1, b't', 2, 1, 0, b'x']);
        assert_eq!(bytes("(2f*128)").len(), 130);
        assert_eq!(bytes("(00)*2"), [1, 0, 1, 0]);
    }
}
