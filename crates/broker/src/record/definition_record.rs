//! What happened to definitions, to virtual hosts, and to the memory of messages that came before; and its bytes.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;

use crate::named_queue::QueueId;
use crate::record::RecordKind;
use crate::record::codec;
use crate::record::fields::{Fields, Malformed, put_bytes, put_number};

/// What happened to a definition. What classes there are and what values mean is the affair of those who put them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionRecord {
    /// It was made or replaced.
    Put {
        /// Its class.
        class: u8,
        /// Its name within the class.
        key: Arc<str>,
        /// What it says.
        value: Bytes,
    },
    /// It is gone.
    Removed {
        /// Its class.
        class: u8,
        /// Its name within the class.
        key: Arc<str>,
    },
}

impl DefinitionRecord {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Put { .. } => RecordKind::DefinitionPut,
            Self::Removed { .. } => RecordKind::DefinitionRemoved,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let (Self::Put { class, key, .. } | Self::Removed { class, key }) = self;
        out.push(*class);
        put_bytes(out, key.as_bytes());
        if let Self::Put { value, .. } = self {
            put_bytes(out, value);
        }
    }

    pub(super) fn read(kind: RecordKind, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (class, key) = (fields.byte()?, Arc::from(fields.text()?));
        Ok(match kind {
            RecordKind::DefinitionPut => {
                Self::Put { class, key, value: Bytes::copy_from_slice(fields.bytes()?) }
            }
            _ => Self::Removed { class, key },
        })
    }
}

/// What happened to the virtual host whose number the record bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRecord {
    /// It was made.
    Created {
        /// Its name.
        name: Arc<str>,
    },
    /// It is gone with everything in it.
    Deleted,
}

impl HostRecord {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Created { .. } => RecordKind::HostCreated,
            Self::Deleted => RecordKind::HostDeleted,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if let Self::Created { name } = self {
            put_bytes(out, name.as_bytes());
        }
    }

    pub(super) fn read(kind: RecordKind, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            RecordKind::HostCreated => Self::Created { name: Arc::from(fields.text()?) },
            _ => Self::Deleted,
        })
    }
}

/// Where a message is known by a key: a second one with that key is a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DuplicateScope {
    /// In what was published to the exchange of this name.
    Exchange(Arc<str>),
    /// In this queue.
    Queue(QueueId),
}

/// What happened to the memory of messages that came before. It ends with its exchange or queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DuplicateRecord {
    /// A message with this key came; another one is a duplicate until the memory expires.
    Remembered {
        /// Where.
        scope: DuplicateScope,
        /// The key.
        key: Arc<str>,
        /// When it expires, UTC milliseconds; `None` for never.
        expires_ms: Option<NonZeroU64>,
    },
    /// The next one with this key is no duplicate.
    Forgotten {
        /// Where.
        scope: DuplicateScope,
        /// The key.
        key: Arc<str>,
    },
}

impl DuplicateRecord {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Remembered { .. } => RecordKind::DuplicateRemembered,
            Self::Forgotten { .. } => RecordKind::DuplicateForgotten,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let (Self::Remembered { scope, key, .. } | Self::Forgotten { scope, key }) = self;
        put_scope(out, scope);
        put_bytes(out, key.as_bytes());
        if let Self::Remembered { expires_ms, .. } = self {
            put_number(out, expires_ms.map_or(0, NonZeroU64::get));
        }
    }

    pub(super) fn read(kind: RecordKind, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (scope, key) = (scope(fields)?, Arc::from(fields.text()?));
        Ok(match kind {
            RecordKind::DuplicateRemembered => {
                Self::Remembered { scope, key, expires_ms: NonZeroU64::new(fields.number()?) }
            }
            _ => Self::Forgotten { scope, key },
        })
    }
}

pub(super) fn put_scope(out: &mut Vec<u8>, scope: &DuplicateScope) {
    match scope {
        DuplicateScope::Exchange(name) => {
            out.push(0);
            put_bytes(out, name.as_bytes());
        }
        DuplicateScope::Queue(id) => {
            out.push(1);
            put_number(out, id.0);
        }
    }
}

pub(super) fn scope(fields: &mut Fields<'_>) -> Result<DuplicateScope, Malformed> {
    Ok(match codec::flag(fields)? {
        false => DuplicateScope::Exchange(Arc::from(fields.text()?)),
        true => DuplicateScope::Queue(QueueId(codec::count(fields)?)),
    })
}
