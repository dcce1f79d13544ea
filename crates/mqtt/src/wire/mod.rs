//! The data types of the wire (MQTT 5.0 §1.5): integers, variable byte integers, text and binary data.

pub(crate) mod reader;
pub(crate) mod sink;
pub(crate) mod text;
