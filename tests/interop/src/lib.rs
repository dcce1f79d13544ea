//! Behaviour over the wire
