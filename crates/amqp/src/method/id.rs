//! What is known of a method apart from its arguments.

use core::fmt;

use crate::method::definitions;

/// The numbers of a class and of a method in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId {
    /// The class.
    pub class: u16,
    /// The method in its class.
    pub method: u16,
}

impl MethodId {
    /// What is known of the method, if there is one with these numbers.
    pub const fn info(self) -> Option<&'static MethodInfo> {
        definitions::info(self.class, self.method)
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info() {
            Some(info) => f.write_str(info.name),
            None => write!(f, "{}.{}", self.class, self.method),
        }
    }
}

/// Which side sends a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Only the client.
    Client,
    /// Only the server.
    Server,
    /// Either.
    Both,
}

/// What is known of a method apart from its arguments.
#[derive(Debug)]
pub struct MethodInfo {
    /// Its numbers.
    pub id: MethodId,
    /// Its name, such as `basic.get-ok`.
    pub name: &'static str,
    /// Which side sends it.
    pub sender: Sender,
    /// A content header and a body follow it.
    pub has_content: bool,
    /// The methods of the same class that answer it; empty for asynchronous ones and for answers.
    pub answers: &'static [u16],
    /// It answers another method.
    pub is_answer: bool,
    /// Its arguments in their order, reserved ones too.
    pub fields: &'static [FieldInfo],
}

/// Every answer, and nothing else, is called `-ok` or `get-empty`; a test compares this with the table.
pub(crate) const fn named_as_answer(name: &str) -> bool {
    matches!(name.as_bytes(), [.., b'-', b'o', b'k'] | b"get-empty")
}

/// An argument of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name; `None` for a reserved one.
    pub name: Option<&'static str>,
    /// Its type.
    pub kind: FieldKind,
}

/// The type of an argument (§4.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A bit; consecutive ones share octets.
    Bit,
    /// 8 bits.
    Octet,
    /// 16 bits.
    Short,
    /// 32 bits.
    Long,
    /// 64 bits.
    LongLong,
    /// Up to 255 bytes of UTF-8.
    ShortStr,
    /// Up to 4 GiB of anything.
    LongStr,
    /// A field table.
    Table,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::method::METHODS;

    #[test]
    fn answers_are_those_that_requests_name() {
        let named: HashSet<MethodId> = METHODS
            .iter()
            .flat_map(|info| info.answers.iter().map(|&method| MethodId { method, ..info.id }))
            .collect();
        for info in METHODS {
            assert_eq!(info.is_answer, named.contains(&info.id), "{}", info.name);
            assert!(!info.is_answer || info.answers.is_empty(), "{}", info.name);
        }
        assert!(named.iter().all(|id| id.info().is_some()));
    }

    #[test]
    fn numbers_and_names_are_unique() {
        let ids: HashSet<_> = METHODS.iter().map(|info| info.id).collect();
        let names: HashSet<_> = METHODS.iter().map(|info| info.name).collect();
        assert_eq!((ids.len(), names.len()), (METHODS.len(), METHODS.len()));
        assert_eq!(METHODS.len(), 66);
        assert_eq!(MethodId { class: 60, method: 71 }.to_string(), "basic.get-ok");
        assert_eq!(MethodId { class: 61, method: 1 }.to_string(), "61.1");
    }

    #[test]
    fn content_follows_exactly_these() {
        let names: Vec<_> = METHODS.iter().filter(|info| info.has_content).map(|info| info.name).collect();
        assert_eq!(names, ["basic.publish", "basic.return", "basic.deliver", "basic.get-ok"]);
    }
}
