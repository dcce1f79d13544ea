//! tercet-net
