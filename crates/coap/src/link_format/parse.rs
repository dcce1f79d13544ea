//! Reading the link format: RFC 6690 §2, with the space between parts that RFC 8288 allows.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Attribute, Link, LinkError};

/// Reads all links of a document. An empty document has none.
pub fn parse(text: &str) -> Result<Vec<Link<'_>>, LinkError> {
    let mut cursor = Cursor { text, at: 0 };
    let mut links = Vec::new();
    cursor.skip_space();
    if cursor.rest().is_empty() {
        return Ok(links);
    }
    loop {
        links.push(cursor.link()?);
        if cursor.rest().is_empty() {
            return Ok(links);
        }
        cursor.expect(',')?;
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    const fn error(&self) -> LinkError {
        LinkError { at: self.at }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, _) = self.rest().split_at_checked(len).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        self.take(rest.find(|c| !keep(c)).unwrap_or(rest.len()))
    }

    fn skip_space(&mut self) {
        self.take_while(|c| c.is_ascii_whitespace());
    }

    /// Takes a delimiter and the space around it, if it is next.
    fn accept(&mut self, delimiter: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(delimiter);
        if found {
            self.take(delimiter.len_utf8());
            self.skip_space();
        }
        found
    }

    fn expect(&mut self, delimiter: char) -> Result<(), LinkError> {
        if self.accept(delimiter) { Ok(()) } else { Err(self.error()) }
    }

    fn link(&mut self) -> Result<Link<'a>, LinkError> {
        self.expect('<')?;
        let target = self.take_while(|c| c != '>' && !c.is_control());
        if !self.rest().starts_with('>') {
            return Err(self.error());
        }
        self.take(1);
        let mut link = Link::new(target);
        while self.accept(';') {
            let attribute = self.attribute()?;
            link.attributes.push(attribute);
        }
        Ok(link)
    }

    fn attribute(&mut self) -> Result<Attribute<'a>, LinkError> {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || "!#$&+-.^_`|~*%'".contains(c));
        if name.is_empty() {
            return Err(self.error());
        }
        let value = if self.accept('=') { Some(self.value()?) } else { None };
        Ok(Attribute { name: name.into(), value })
    }

    fn value(&mut self) -> Result<Cow<'a, str>, LinkError> {
        if !self.rest().starts_with('"') {
            let value = self.take_while(|c| !c.is_control() && !" \";,<>".contains(c));
            return if value.is_empty() { Err(self.error()) } else { Ok(value.into()) };
        }
        self.take(1);
        let plain = self.take_while(|c| c != '"' && c != '\\');
        if self.rest().starts_with('"') {
            self.take(1);
            return Ok(plain.into());
        }
        let mut value = String::from(plain);
        loop {
            let mut chars = self.rest().chars();
            match (chars.next(), chars.next()) {
                (Some('"'), _) => {
                    self.take(1);
                    return Ok(value.into());
                }
                (Some('\\'), Some(escaped)) => {
                    self.take(1 + escaped.len_utf8());
                    value.push(escaped);
                }
                (None, _) | (Some('\\'), None) => return Err(self.error()),
                _ => value.push_str(self.take_while(|c| c != '"' && c != '\\')),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_others_write() {
        // RFC 6690 §5 and RFC 9176, with space and tokens.
        let cases = [
            ("", vec![]),
            (" ", vec![]),
            ("<>", vec![Link::new("")]),
            (
                "</sensors/temp>;if=sensor , </b> ; rt = \"x\" ;obs",
                vec![
                    Link::new("/sensors/temp").with("if", "sensor"),
                    Link::new("/b").with("rt", "x").flag("obs"),
                ],
            ),
            ("</a>;ct=\"0 50\";sz=3", vec![Link::new("/a").with("ct", "0 50").with("sz", "3")]),
            (
                "<coap://[::1]/x?a=1,2>;x=\"a,b;c<d>\"",
                vec![Link::new("coap://[::1]/x?a=1,2").with("x", "a,b;c<d>")],
            ),
            ("</ü>;title=\"ü\\ü\"", vec![Link::new("/ü").with("title", "üü")]),
        ];
        for (text, links) in cases {
            assert_eq!(parse(text), Ok(links), "{text}");
        }
    }

    #[test]
    fn where_it_stops_making_sense() {
        let cases = [
            ("x", 0),
            ("<", 1),
            ("</a", 3),
            ("</a>,", 5),
            ("</a>;", 5),
            ("</a>;=1", 5),
            ("</a>;a=", 7),
            ("</a>;a=\"x", 9),
            ("</a>;a=\"x\\", 9),
            ("</a></b>", 4),
            ("</a\n>", 3),
            ("</a>;a=b c", 9),
        ];
        for (text, at) in cases {
            assert_eq!(parse(text), Err(LinkError { at }), "{text}");
        }
    }
}
