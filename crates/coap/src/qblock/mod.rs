//! Bodies in bursts of Non-confirmable messages (RFC 9177): the options Q-Block1 and Q-Block2.
//!
//! A body goes out in sets of [`Parameters::max_payloads`] blocks, each set without waiting for answers to its blocks; the
//! receiver says when a set is complete, or which of its blocks are missing. [`Burst`] is the sending side and [`Gathering`]
//! the receiving side of either option; [`Gatherings`] holds the bodies that a server receives. As with
//! [`block`](crate::block), how messages travel is not known here. Both sides have to know that the other one understands
//! the options, which are critical: a client tries, and falls back on 4.02.
//!
//! - Client with a body: each piece of a [`Burst`] in a request of its own token with Q-Block1, the same Request-Tag, and
//!   Size1. 2.31 goes to [`Burst::on_continue`], 4.08 in content format 272 through [`missing::read`] to
//!   [`Burst::on_missing`]; any other response is final.
//! - Server with an answer: each piece in a response with the request's token, Q-Block2, ETag and Size2. Further requests
//!   for the body carry one or more Q-Block2: [`Burst::on_request`].
//! - Client that reads: [`Gathering`], its answers as requests with Q-Block2.

mod burst;
mod gathering;
mod gatherings;
pub mod missing;
mod parameters;

pub use burst::Burst;
pub use gathering::{BadBlock, Gathered, Gathering, Overdue};
pub use gatherings::{Gatherings, Inform, QUpload};
pub use parameters::Parameters;
