//! Behaviour of the core without sockets: clients are driven in virtual time, what they are sent is recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(unreachable_pub, dead_code, unused_imports)]

mod support;

mod replay;
