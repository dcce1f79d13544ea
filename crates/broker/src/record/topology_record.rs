//! What happened to exchanges and bindings, and its bytes.
//!
//! Only durable exchanges have records, and of bindings those between what is durable itself. Both are known by their names. The
//! end of an exchange ends the bindings from it and to it, the end of a queue those to it, without records of their own.

use std::sync::Arc;

use bytes::Bytes;

use crate::record::RecordKind;
use crate::record::codec;
use crate::record::fields::{Fields, Malformed, put_bytes};

/// What an exchange was declared as; never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeDeclaration {
    /// Its name.
    pub name: Arc<str>,
    /// The name of its type, as `direct` or `x-consistent-hash`.
    pub kind: Arc<str>,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// The arguments: the fields of an AMQP table, encoded, without the table's length.
    pub arguments: Bytes,
}

/// What happened to a durable exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeRecord {
    /// It was declared.
    Declared(ExchangeDeclaration),
    /// It is gone, and with it every binding from it and to it.
    Deleted {
        /// Its name.
        name: Arc<str>,
    },
}

impl ExchangeRecord {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Declared(_) => RecordKind::ExchangeDeclared,
            Self::Deleted { .. } => RecordKind::ExchangeDeleted,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Declared(declaration) => put_exchange(out, declaration),
            Self::Deleted { name } => put_bytes(out, name.as_bytes()),
        }
    }

    pub(super) fn read(kind: RecordKind, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            RecordKind::ExchangeDeclared => Self::Declared(exchange(fields)?),
            _ => Self::Deleted { name: Arc::from(fields.text()?) },
        })
    }
}

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 1 << 1;

pub(super) fn put_exchange(out: &mut Vec<u8>, declaration: &ExchangeDeclaration) {
    put_bytes(out, declaration.name.as_bytes());
    put_bytes(out, declaration.kind.as_bytes());
    let auto_delete = if declaration.auto_delete { AUTO_DELETE } else { 0 };
    out.push(auto_delete | if declaration.internal { INTERNAL } else { 0 });
    put_bytes(out, &declaration.arguments);
}

pub(super) fn exchange(fields: &mut Fields<'_>) -> Result<ExchangeDeclaration, Malformed> {
    let (name, kind) = (Arc::from(fields.text()?), Arc::from(fields.text()?));
    let flags = fields.byte()?;
    if flags & !(AUTO_DELETE | INTERNAL) != 0 {
        return Err(Malformed::NoMeaning("a flag"));
    }
    Ok(ExchangeDeclaration {
        name,
        kind,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments: Bytes::copy_from_slice(fields.bytes()?),
    })
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindingDestination {
    /// To the queue of this name.
    Queue(Arc<str>),
    /// To the exchange of this name.
    Exchange(Arc<str>),
}

/// A binding: all of it is its identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingKey {
    /// The exchange that it leads from, by its name.
    pub source: Arc<str>,
    /// Where it leads.
    pub destination: BindingDestination,
    /// The binding key.
    pub key: Arc<str>,
    /// The arguments: the fields of an AMQP table, encoded, without the table's length.
    pub arguments: Bytes,
}

/// What happened to a durable binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingRecord {
    /// It was made.
    Bound(BindingKey),
    /// It is gone.
    Unbound(BindingKey),
}

impl BindingRecord {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Bound(_) => RecordKind::Bound,
            Self::Unbound(_) => RecordKind::Unbound,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let (Self::Bound(binding) | Self::Unbound(binding)) = self;
        put_bytes(out, binding.source.as_bytes());
        put_binding(out, binding);
    }

    pub(super) fn read(kind: RecordKind, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let source = Arc::from(fields.text()?);
        let binding = binding(source, fields)?;
        Ok(if kind == RecordKind::Bound { Self::Bound(binding) } else { Self::Unbound(binding) })
    }
}

/// Appends a binding but for its source.
pub(super) fn put_binding(out: &mut Vec<u8>, binding: &BindingKey) {
    let (destination, name) = match &binding.destination {
        BindingDestination::Queue(name) => (0, name),
        BindingDestination::Exchange(name) => (1, name),
    };
    out.push(destination);
    put_bytes(out, name.as_bytes());
    put_bytes(out, binding.key.as_bytes());
    put_bytes(out, &binding.arguments);
}

pub(super) fn binding(source: Arc<str>, fields: &mut Fields<'_>) -> Result<BindingKey, Malformed> {
    let to_exchange = codec::flag(fields)?;
    let name = Arc::from(fields.text()?);
    let destination =
        if to_exchange { BindingDestination::Exchange(name) } else { BindingDestination::Queue(name) };
    let key = Arc::from(fields.text()?);
    Ok(BindingKey { source, destination, key, arguments: Bytes::copy_from_slice(fields.bytes()?) })
}
