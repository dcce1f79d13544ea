//! Topic names and topic filters (MQTT 5.0 §4.7, §4.8).

mod filter;
mod matching;
mod name;

pub use filter::{Share, TopicFilter};
pub use matching::filter_matches;
pub(crate) use name::parse_name;
pub use name::{TopicName, validate_name};

use crate::error::ErrorKind;
use crate::reason::ReasonCode;

/// Why text is not a topic name or a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} ({})", .kind.section())]
pub struct TopicError {
    /// The rule that was violated.
    pub kind: ErrorKind,
}

impl TopicError {
    /// The reason code to answer with.
    pub const fn reason(self) -> ReasonCode {
        self.kind.reason()
    }
}

impl From<ErrorKind> for TopicError {
    fn from(kind: ErrorKind) -> Self {
        Self { kind }
    }
}
