//! tercet-server

pub mod config;
