//! tercet-server

pub mod auth;
pub mod config;
pub mod logging;
