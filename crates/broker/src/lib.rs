//! tercet-broker
