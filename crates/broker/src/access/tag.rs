//! What a user may manage, beyond what it may do with messages.

use std::fmt;

/// Longest tag in bytes.
const MAX_TAG_BYTES: usize = 255;
/// Most tags of one user.
const MAX_TAGS: usize = 32;

/// A tag that means something to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// Everything.
    Administrator,
    /// Sees every connection and all virtual hosts.
    Monitoring,
    /// Manages policies where it has access.
    Policymaker,
    /// May use the control API where it has access.
    Management,
    /// May publish in the name of others.
    Impersonator,
}

impl Tag {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Monitoring => "monitoring",
            Self::Policymaker => "policymaker",
            Self::Management => "management",
            Self::Impersonator => "impersonator",
        }
    }
}

/// A tag that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag has 1 to 255 bytes without commas, spaces and control characters; a user has at most 32 of them"
)]
pub struct TagError;

/// The tags of one user. Those without a meaning here are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    names: Vec<Box<str>>,
}

impl Tags {
    /// No tags.
    #[must_use]
    pub const fn none() -> Self {
        Self { names: Vec::new() }
    }

    /// These tags.
    #[must_use]
    pub fn of(tags: &[Tag]) -> Self {
        Self { names: tags.iter().map(|tag| tag.name().into()).collect() }
    }

    /// Reads tags that are separated by commas; spaces around them do not count.
    ///
    /// # Errors
    /// When there are too many, or one of them is too long or has characters that no tag has.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        Self::from_names(text.split(',').map(str::trim).filter(|name| !name.is_empty()))
    }

    /// Takes tags by name, each once.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, TagError> {
        let mut tags = Self::none();
        for name in names {
            let allowed = !name.is_empty()
                && name.len() <= MAX_TAG_BYTES
                && !name.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control());
            if !allowed {
                return Err(TagError);
            }
            if !tags.names().any(|known| known == name) {
                tags.names.push(name.into());
            }
        }
        if tags.names.len() <= MAX_TAGS { Ok(tags) } else { Err(TagError) }
    }

    /// The names, in the order they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the tag is among them.
    #[must_use]
    pub fn contains(&self, tag: Tag) -> bool {
        self.names().any(|name| name == tag.name())
    }

    /// May manage users, virtual hosts, permissions and limits.
    #[must_use]
    pub fn may_administer(&self) -> bool {
        self.contains(Tag::Administrator)
    }

    /// May see what belongs to other users and virtual hosts.
    #[must_use]
    pub fn may_monitor(&self) -> bool {
        self.may_administer() || self.contains(Tag::Monitoring)
    }

    /// May manage policies where it has access.
    #[must_use]
    pub fn may_make_policies(&self) -> bool {
        self.may_administer() || self.contains(Tag::Policymaker)
    }

    /// May use the control API at all.
    #[must_use]
    pub fn may_manage(&self) -> bool {
        self.may_monitor() || self.may_make_policies() || self.contains(Tag::Management)
    }

    /// May publish in the name of others. Not implied by any other tag.
    #[must_use]
    pub fn may_impersonate(&self) -> bool {
        self.contains(Tag::Impersonator)
    }
}

/// The names, separated by commas.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tag_implies() {
        //           administer monitor policies manage impersonate
        let cases = [
            ("", [false, false, false, false, false]),
            ("administrator", [true, true, true, true, false]),
            ("monitoring", [false, true, false, true, false]),
            ("policymaker", [false, false, true, true, false]),
            ("management", [false, false, false, true, false]),
            ("impersonator", [false, false, false, false, true]),
            ("Administrator, blue", [false, false, false, false, false]),
        ];
        for (text, expected) in cases {
            let tags = Tags::parse(text).unwrap();
            let found = [
                tags.may_administer(),
                tags.may_monitor(),
                tags.may_make_policies(),
                tags.may_manage(),
                tags.may_impersonate(),
            ];
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn tags_are_read_once_each_and_shown_in_their_order() {
        assert_eq!(Tags::parse(" monitoring ,blue,monitoring,, ").unwrap().to_string(), "monitoring,blue");
        assert!(Tags::parse("").unwrap().is_empty());
        let long = "x".repeat(256);
        let many = (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        for text in ["a b", "a\nb", "\u{7f}", &long, &many] {
            assert_eq!(Tags::parse(text), Err(TagError), "{text}");
        }
    }
}
