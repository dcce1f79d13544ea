//! The data types of the wire (§4.2.5): integers, bits, short and long strings, tables.

pub(crate) mod argument;
pub(crate) mod reader;
pub(crate) mod writer;
