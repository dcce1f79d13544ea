//! tercet-server
