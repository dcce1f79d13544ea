//! Links in the CoRE link format (RFC 6690), Content-Format 40.

mod filter;
mod parse;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use thiserror::Error;

pub use filter::Filter;
pub use parse::parse;

/// A link: where it points and what is said about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The target, a URI or a reference relative to where the links were found.
    pub target: Cow<'a, str>,
    /// The attributes in order: names, and values where there are any.
    pub attributes: Vec<Attribute<'a>>,
}

/// An attribute of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value, without quotes; `None` for an attribute that is only there, as `obs`.
    pub value: Option<Cow<'a, str>>,
}

/// Text that is not in the link format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not in the link format at byte {at}")]
pub struct LinkError {
    /// Where it stops making sense.
    pub at: usize,
}

impl<'a> Link<'a> {
    /// A link without attributes.
    pub fn new(target: impl Into<Cow<'a, str>>) -> Self {
        Self { target: target.into(), attributes: Vec::new() }
    }

    /// The link with one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.attributes.push(Attribute { name: name.into(), value: Some(value.into()) });
        self
    }

    /// The link with one more attribute that has no value.
    #[must_use]
    pub fn flag(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.attributes.push(Attribute { name: name.into(), value: None });
        self
    }

    /// The value of the first attribute of this name; empty when it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let attribute = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Some(attribute.value.as_deref().unwrap_or_default())
    }

    /// The link, owning what it has.
    pub fn into_owned(self) -> Link<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let attributes = self.attributes.into_iter();
        Link {
            target: owned(self.target),
            attributes: attributes
                .map(|attribute| Attribute { name: owned(attribute.name), value: attribute.value.map(owned) })
                .collect(),
        }
    }
}

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.target)?;
        for Attribute { name, value } in &self.attributes {
            write!(f, ";{name}")?;
            match value {
                None => {}
                // RFC 6690 §2: numbers go without quotes, and so do extended values (RFC 5987).
                Some(value) if name.ends_with('*') || is_number(value) => write!(f, "={value}")?,
                Some(value) => {
                    f.write_str("=\"")?;
                    for c in value.chars() {
                        if matches!(c, '"' | '\\') {
                            f.write_char('\\')?;
                        }
                        f.write_char(c)?;
                    }
                    f.write_char('"')?;
                }
            }
        }
        Ok(())
    }
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Appends links, separated by commas.
pub fn write<'l, 'a: 'l>(links: impl IntoIterator<Item = &'l Link<'a>>, out: &mut String) {
    for (position, link) in links.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "{link}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let links = [
            Link::new("/sensors").with("ct", "40").with("title", "Sensor \"Index\" \\"),
            Link::new("/sensors/temp").with("rt", "temperature-c outdoor").with("if", "sensor").flag("obs"),
            Link::new("http://example.com/a,b;c").with("anchor", "/x").with("rel", "describedby"),
            Link::new("").with("title*", "UTF-8''%e2%82%ac"),
        ];
        let mut text = String::new();
        write(&links, &mut text);
        assert_eq!(
            text,
            "</sensors>;ct=40;title=\"Sensor \\\"Index\\\" \\\\\",\
             </sensors/temp>;rt=\"temperature-c outdoor\";if=\"sensor\";obs,\
             <http://example.com/a,b;c>;anchor=\"/x\";rel=\"describedby\",<>;title*=UTF-8''%e2%82%ac"
        );
        assert_eq!(parse(&text), Ok(links.to_vec()));
        assert_eq!(links[1].get("obs"), Some(""));
        assert_eq!((links[0].get("ct"), links[0].get("rt")), (Some("40"), None));
    }
}
