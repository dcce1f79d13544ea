//! The classes and methods of AMQP 0-9-1 with RabbitMQ's extensions.
//!
//! All of them stand in one table, [`definitions`]; the macro in [`table`] makes of it the structs, the [`Method`] that
//! is one of them, their decoding and encoding, and what [`MethodInfo`] says about each.

#[macro_use]
mod table;
mod definitions;
mod id;

pub use definitions::{METHODS, Method, access, basic, channel, confirm, connection, exchange, queue, tx};
pub use id::{FieldInfo, FieldKind, MethodId, MethodInfo, Sender};
