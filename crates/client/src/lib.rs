//! tercet-client
