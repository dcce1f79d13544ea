//! Field tables and arrays with RabbitMQ's type tags.
//!
//! A [`Table`] or [`Array`] stays encoded: it is validated once, to its last nested value, and then is a view that
//! iterates and looks up without an allocation. A [`TableBuf`] or [`ArrayBuf`] builds one.
//!
//! RabbitMQ's tags differ from those of the specification (which its errata admit): `B` u8, `s` i16, `u` u16, `i` u32,
//! `l` i64, `x` byte array, and no short string. `L` is read as i64 and never written.

mod builder;
mod table;
mod value;

pub use builder::{ArrayBuf, TableBuf};
pub use table::{Array, Entries, Table, Values};
pub use value::Value;
