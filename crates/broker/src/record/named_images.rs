//! Images of queues with names, exchanges, bindings, definitions and remembered duplicates, as a checkpoint has them.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use tercet_log::position::Place;

use crate::named_queue::QueueId;
use crate::record::checkpoint_record::{cut, put_cut, several};
use crate::record::fields::{Fields, Malformed, put_bytes, put_number};
use crate::record::{
    BindingKey, DuplicateScope, ExchangeDeclaration, QueueDeclaration, codec, definition_record,
    named_queue_record, topology_record,
};

/// A durable queue without its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedQueueImage {
    /// Which.
    pub id: QueueId,
    /// When the image was made.
    pub cut: Place,
    /// What it was declared as.
    pub declaration: QueueDeclaration,
    /// Whether its deliveries are paused.
    pub paused: bool,
    /// The sequence that its next entry will get.
    pub next_sequence: u64,
}

impl NamedQueueImage {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_number(out, self.id.0);
        put_cut(out, self.cut);
        named_queue_record::put_declaration(out, &self.declaration);
        out.push(u8::from(self.paused));
        put_number(out, self.next_sequence);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: QueueId(codec::count(fields)?),
            cut: cut(fields)?,
            declaration: named_queue_record::declaration(fields)?,
            paused: codec::flag(fields)?,
            next_sequence: codec::count(fields)?,
        })
    }
}

/// Durable exchanges and the bindings among what is durable, or part of them. All parts have the same cut.
#[derive(Clone, Debug, PartialEq)]
pub struct TopologyImage {
    /// When the image was made.
    pub cut: Place,
    /// Exchanges.
    pub exchanges: Vec<ExchangeDeclaration>,
    /// Bindings.
    pub bindings: Vec<BindingKey>,
}

impl TopologyImage {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_cut(out, self.cut);
        put_number(out, self.exchanges.len() as u64);
        self.exchanges.iter().for_each(|exchange| topology_record::put_exchange(out, exchange));
        put_number(out, self.bindings.len() as u64);
        for binding in &self.bindings {
            put_bytes(out, binding.source.as_bytes());
            topology_record::put_binding(out, binding);
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            cut: cut(fields)?,
            exchanges: several(fields, 4, topology_record::exchange)?,
            bindings: several(fields, 5, |fields| {
                let source = Arc::from(fields.text()?);
                topology_record::binding(source, fields)
            })?,
        })
    }
}

/// All definitions behind the slice before, up to `last`.
#[derive(Clone, Debug, PartialEq)]
pub struct DefinitionSlice {
    /// When the image was made.
    pub cut: Place,
    /// Class and key of the last one of the slice; `None` for the last slice.
    pub last: Option<(u8, Arc<str>)>,
    /// The definitions.
    pub rows: Vec<((u8, Arc<str>), Bytes)>,
}

impl DefinitionSlice {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_cut(out, self.cut);
        out.push(u8::from(self.last.is_some()));
        self.last.iter().for_each(|key| put_definition_key(out, key));
        put_number(out, self.rows.len() as u64);
        for (key, value) in &self.rows {
            put_definition_key(out, key);
            put_bytes(out, value);
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            cut: cut(fields)?,
            last: if codec::flag(fields)? { Some(definition_key(fields)?) } else { None },
            rows: several(fields, 3, |fields| {
                Ok((definition_key(fields)?, Bytes::copy_from_slice(fields.bytes()?)))
            })?,
        })
    }
}

fn put_definition_key(out: &mut Vec<u8>, (class, key): &(u8, Arc<str>)) {
    out.push(*class);
    put_bytes(out, key.as_bytes());
}

fn definition_key(fields: &mut Fields<'_>) -> Result<(u8, Arc<str>), Malformed> {
    Ok((fields.byte()?, Arc::from(fields.text()?)))
}

/// All keys of messages that came before behind the slice before, up to `last`.
#[derive(Clone, Debug, PartialEq)]
pub struct DuplicateSlice {
    /// When the image was made.
    pub cut: Place,
    /// The last key of the slice; `None` for the last slice.
    pub last: Option<(DuplicateScope, Arc<str>)>,
    /// The keys: where, which, and when they expire, UTC milliseconds.
    pub rows: Vec<(DuplicateScope, Arc<str>, Option<NonZeroU64>)>,
}

impl DuplicateSlice {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_cut(out, self.cut);
        out.push(u8::from(self.last.is_some()));
        if let Some((scope, key)) = &self.last {
            definition_record::put_scope(out, scope);
            put_bytes(out, key.as_bytes());
        }
        put_number(out, self.rows.len() as u64);
        for (scope, key, expires_ms) in &self.rows {
            definition_record::put_scope(out, scope);
            put_bytes(out, key.as_bytes());
            put_number(out, expires_ms.map_or(0, NonZeroU64::get));
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            cut: cut(fields)?,
            last: if codec::flag(fields)? { Some(duplicate_key(fields)?) } else { None },
            rows: several(fields, 4, |fields| {
                let (scope, key) = duplicate_key(fields)?;
                Ok((scope, key, NonZeroU64::new(fields.number()?)))
            })?,
        })
    }
}

fn duplicate_key(fields: &mut Fields<'_>) -> Result<(DuplicateScope, Arc<str>), Malformed> {
    Ok((definition_record::scope(fields)?, Arc::from(fields.text()?)))
}
