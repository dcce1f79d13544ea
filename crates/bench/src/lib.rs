//! tercet-bench
